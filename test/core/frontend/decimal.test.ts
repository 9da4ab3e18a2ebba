// Decimals of many digits become the doubles and floats that reading their text gives, to the bit.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { JsonCursor } from "../../../core/frontend/json-cursor.ts";
import { NumberReader } from "../../../core/frontend/number-reader.ts";

const cursor = new JsonCursor();
const doubles = new NumberReader("FP64", cursor);
const floats = new NumberReader("FP32", cursor);

/** Numbers in a list, read. */
function read(reader: NumberReader, texts: readonly string[]): readonly number[] {
  cursor.begin(Buffer.from(`${texts.join(",")}]`));
  reader.begin();
  reader.list();
  return Array.from(reader.numbers);
}

function expectRead(text: string): void {
  const value = Number(text);
  // Behind a short one and behind a long one.
  expect(read(doubles, [text, text, "1"]), text).toEqual([value, value, 1]);
  if (Math.abs(value) < 3.4e38)
    expect(read(floats, [text, text, "1"]), text).toEqual([Math.fround(value), Math.fround(value), 1]);
}

const sign = fc.constantFrom("", "-");
const finite = fc.double({ noNaN: true, noDefaultInfinity: true });
/** Of the size that weights and pixels have. */
const usual = fc.double({ min: -1000, max: 1000, noNaN: true });
const float = fc.float({ noNaN: true, noDefaultInfinity: true });

describe("a decimal", () => {
  test.each([
    [
      "a double as JavaScript and Python print it",
      fc.oneof(finite, usual).map((value) => JSON.stringify(value)),
    ],
    ["a float as a double", fc.oneof(float, usual.map(Math.fround)).map((value) => JSON.stringify(value))],
    [
      "so many digits",
      fc.tuple(usual, fc.integer({ min: 14, max: 22 })).map(([value, digits]) => value.toPrecision(digits)),
    ],
    [
      "any digits, point and exponent",
      fc
        .tuple(
          sign,
          fc.stringMatching(/^(0|[1-9][0-9]{0,20})$/),
          fc.stringMatching(/^[0-9]{1,24}$/),
          fc.integer({ min: -30, max: 30 }),
        )
        .map(
          ([minus, whole, fraction, power]) =>
            `${minus}${whole}.${fraction}${power % 3 === 0 ? "" : `e${power}`}`,
        ),
    ],
  ])("of %s is read to the bit", (_what, texts) => {
    fc.assert(fc.property(texts, expectRead), { numRuns: 5000 });
  });

  test("in the middle between two floats, or next to it, goes to the right one", () => {
    fc.assert(
      fc.property(usual.map(Math.fround), fc.integer({ min: -3, max: 3 }), (one, steps) => {
        const bits = new Float32Array([one]);
        new Int32Array(bits.buffer)[0] = (new Int32Array(bits.buffer)[0] ?? 0) + 1;
        const middle = new Float64Array([(one + (bits[0] ?? 0)) / 2]);
        const words = new BigInt64Array(middle.buffer);
        words[0] = (words[0] ?? 0n) + BigInt(steps);
        for (const digits of [15, 16, 17, 18]) expectRead((middle[0] ?? 0).toPrecision(digits));
      }),
      { numRuns: 3000 },
    );
  });

  test("in the middle between two doubles goes to the even one", () => {
    for (const text of [
      "9007199254740993",
      "9007199254740995",
      "9007199254740993.0",
      "4503599627370496.5",
      "4503599627370497.5",
    ])
      expectRead(text);
    for (const text of [
      "0.00000000000000000",
      "-0.0",
      "0e99",
      "0e-99",
      "1e22",
      "1e23",
      "123456789012345678",
      "0.1e-400",
    ])
      expectRead(text);
  });
});
