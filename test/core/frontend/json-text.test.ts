// JSON bodies: where they break, how deep they nest, which integers survive.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { MAX_JSON_DEPTH } from "../../../core/config.ts";
import { InvalidJsonError } from "../../../core/errors.ts";
import { isDeeperThan, parseJson } from "../../../core/frontend/json-text.ts";

const options = { expected: "{}", keepsIntegers: false };

/** Offset of the error; undefined: none. */
function offsetOf(text: string): number | undefined {
  try {
    parseJson(Buffer.from(text), options);
    return undefined;
  } catch (error) {
    expect(error).toBeInstanceOf(InvalidJsonError);
    return (error as InvalidJsonError).details["offset"] as number;
  }
}

function nested(levels: number): Buffer {
  return Buffer.from('[{"a":'.repeat(levels / 2) + "1" + "}]".repeat(levels / 2));
}

describe("malformed JSON", () => {
  test("is said to break at the first character that cannot stand there", () => {
    const damaged = fc
      .tuple(
        fc.json({ maxDepth: 3 }),
        fc.nat(),
        fc.constantFrom("{", "}", "[", "]", ",", ":", '"', "x", "1", " ", "t", "-"),
        fc.boolean(),
      )
      .map(([text, at, char, isInserted]) => {
        const place = at % (text.length + 1);
        return text.slice(0, place) + char + text.slice(isInserted ? place : place + 1);
      })
      .filter((text) => text.trim() !== "");
    fc.assert(
      fc.property(damaged, (text) => {
        const offset = offsetOf(text);
        if (offset === undefined) return;
        const before = text.slice(0, offset);
        if (before.trim() === "") return;
        // What comes before is fine as far as it goes: it parses, or breaks only because it ends.
        expect([undefined, before.length]).toContain(offsetOf(before));
      }),
      { numRuns: 5000 },
    );
  });

  test.each([
    ["[1,tru]", 6],
    ["[nul", 4],
    ['{"a":}', 5],
    ['{"a":1,}', 7],
    ['{"a" 1}', 5],
    ["[1 2]", 3],
    ["[-]", 2],
    ["@", 0],
    ['["\\x"]', 3],
    ['["a', 3],
    ["[1]]", 3],
    ['["[", x]', 6],
  ])("%s breaks at %i", (text, offset) => {
    expect(offsetOf(text)).toBe(offset);
  });

  test("with a long string in it is not too much", () => {
    expect(offsetOf(`{"a":"${"y".repeat(5_000_000)}","b":x}`)).toBe(5_000_012);
  });
});

test("a mistake late in a large body is found where V8 does not say where it is", () => {
  const list = `[${"1.25,true,".repeat(1_000_000)}x]`;
  expect(() => JSON.parse(list) as unknown).toThrow(/^(?!.*position)/);
  expect(offsetOf(list)).toBe(10_000_001);
});

test("an offset counts characters, as in the text", () => {
  expect(offsetOf('["äöü😀",x]')).toBe(9);
  expect(offsetOf('\u{feff}["ä",x]')).toBe(5);
});

describe("depth", () => {
  test("counts brackets outside strings", () => {
    expect(isDeeperThan(nested(MAX_JSON_DEPTH), MAX_JSON_DEPTH)).toBe(false);
    expect(isDeeperThan(nested(MAX_JSON_DEPTH + 2), MAX_JSON_DEPTH)).toBe(true);
    expect(isDeeperThan(Buffer.from(`["${"[".repeat(100)}\\"${"{".repeat(100)}\\\\",[1]]`), 2)).toBe(false);
    expect(isDeeperThan(Buffer.from(`[${"[],".repeat(1000)}[]]`), 2)).toBe(false);
  });

  test("of a whole body of brackets is refused, not followed", () => {
    expect(() => parseJson(Buffer.alloc(5_000_000, "["), options)).toThrow("nests deeper than 64 levels");
  });

  test("agrees with JSON.parse on any value", () => {
    const depth = (value: unknown): number =>
      typeof value === "object" && value !== null ? 1 + Math.max(0, ...Object.values(value).map(depth)) : 0;
    fc.assert(
      fc.property(fc.json({ maxDepth: 6 }), (text) => {
        const levels = depth(JSON.parse(text));
        expect(isDeeperThan(Buffer.from(text), levels)).toBe(false);
        if (levels > 0) expect(isDeeperThan(Buffer.from(text), levels - 1)).toBe(true);
      }),
    );
  });
});

test("integers beyond 2^53 are kept on demand, other numbers as ever", () => {
  const text = Buffer.from('[9007199254740993,-9007199254740993,1e300,5,1.5,"9007199254740993"]');
  expect(parseJson(text, { expected: "", keepsIntegers: true })).toEqual([
    9007199254740993n,
    -9007199254740993n,
    1e300,
    5,
    1.5,
    "9007199254740993",
  ]);
});

test("integers beyond 2^53 are kept whichever way they are written, and what has a fraction is none", () => {
  const text = Buffer.from(
    "[9007199254740993.0,9.007199254740993e15,90071992547409930e-1,-1e0000000000018,1.8446744073709551615E+19,9007199254740993.5]",
  );
  expect(parseJson(text, { expected: "", keepsIntegers: true })).toEqual([
    9007199254740993n,
    9007199254740993n,
    9007199254740993n,
    -1000000000000000000n,
    18446744073709551615n,
    9007199254740994,
  ]);
  const value = fc.bigInt({ min: 2n ** 53n, max: 2n ** 64n - 1n });
  fc.assert(
    fc.property(value, fc.nat(18), fc.boolean(), (exact, places, isNegative) => {
      const digits = String(exact);
      const at = Math.max(1, digits.length - places);
      const fraction = digits.slice(at) === "" ? "" : `.${digits.slice(at)}`;
      const written = `${isNegative ? "-" : ""}${digits.slice(0, at)}${fraction}e${digits.length - at}`;
      const parsed = parseJson(Buffer.from(`[${written}]`), { expected: "", keepsIntegers: true });
      expect(parsed).toEqual([isNegative ? -exact : exact]);
    }),
  );
});

test("integers too long for 64 bits stay numbers, however long they are", () => {
  const long = "9".repeat(1_000_000);
  const text = Buffer.from(
    `[18446744073709551615,-9223372036854775808,100000000000000000000,1${"0".repeat(30)},${long}]`,
  );
  expect(parseJson(text, { expected: "", keepsIntegers: true })).toEqual([
    18446744073709551615n,
    -9223372036854775808n,
    1e20,
    1e30,
    Infinity,
  ]);
});
