// The quick way to read an inference request gives what the whole way gives: the same bytes, or the same error.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DATATYPES, type Datatype, type Manifest } from "../../../../containers/protocol.ts";
import { DataCutter } from "../../../../core/frontend/dialects/oip/data-cutter.ts";
import { InferReader } from "../../../../core/frontend/dialects/oip/infer-reader.ts";
import { type InferRequest, readInferRequest } from "../../../../core/frontend/dialects/oip/infer-request.ts";
import { WindjammerError } from "../../../../core/errors.ts";
import { tensorManifest } from "../../query/fakes.ts";

const fp32 = tensorManifest([{ name: "x", datatype: "FP32", shape: [2] }]);
/** 64-bit integers are read exactly, and so is all else in their requests. */
const int64 = tensorManifest([
  { name: "x", datatype: "INT64", shape: [2] },
  { name: "y", datatype: "FP64", shape: [2] },
]);
const text = tensorManifest([{ name: "x", datatype: "BYTES", shape: [] }]);

/** What came of reading, to be compared. */
function told(read: () => InferRequest): unknown {
  try {
    const { inputs, ...rest } = read();
    return {
      ...rest,
      inputs: inputs.map((input) =>
        Object.assign({}, input, { data: Buffer.from(input.data).toString("hex") }),
      ),
    };
  } catch (error) {
    if (!(error instanceof WindjammerError)) throw error;
    return [error.constructor.name, error.code, error.message, error.details];
  }
}

interface Sent {
  readonly body: Buffer;
  readonly headerText?: string;
}

const RUNS = 1500;

/** Kept, as by a server: one body must not show in the next. */
const reader = new InferReader();
const cutter = new DataCutter();

function expectSame(manifest: Manifest, { body, headerText }: Sent): void {
  const whole = told(() => readInferRequest(manifest, body, headerText));
  const quick = told(() => reader.read(manifest, body, headerText));
  const again = told(() => reader.read(manifest, body, headerText));
  const message = body.toString("latin1").slice(0, 2000);
  expect(quick, message).toEqual(whole);
  expect(again, message).toEqual(whole);
}

const pick = fc.constantFrom;

const number = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: -200, max: 300 }).map(String) },
  {
    weight: 4,
    arbitrary: fc.double({ noNaN: true, noDefaultInfinity: true }).map((one) => JSON.stringify(one)),
  },
  { weight: 2, arbitrary: pick("0", "1", "-0", "1.0", "2e3", "1E+2", "0.1", "-1.5", "1e-320", "0.000001") },
  {
    weight: 1,
    arbitrary: pick(
      "127",
      "-128",
      "255",
      "256",
      "32767",
      "65535",
      "2147483647",
      "2147483648",
      "4294967295",

      "9007199254740991",
      "9007199254740993",
      "-9007199254740993",
      "9223372036854775807",
      "9223372036854775808",

      "18446744073709551615",
      "18446744073709551616",
      "9007199254740993.0",
      "1e18",
      "123456789012345678901234567890",
    ),
  },
  {
    weight: 1,
    arbitrary: pick("3.4028235e38", "3.5e38", "1e39", "1e308", "1e309", "-1e999", "16777217", "5e-324"),
  },
);
const element = fc.oneof(
  { weight: 60, arbitrary: number },
  { weight: 3, arbitrary: pick("true", "false") },
  {
    weight: 1,
    arbitrary: pick(
      "null",
      "NaN",
      "-Infinity",
      '"NaN"',
      '"Infinity"',
      '"x"',
      "{}",
      "[]",
      "01",
      "+1",
      ".5",
      "1.",
      "1e",
      "-",
      "--1",
      "tru",
      "trues",
      "t",
      "1x",
      "0x1",
      "1 2",
      "",
      '"\\u0031"',
      "1_000",
      "\u00a01",
    ),
  },
);
const flag = pick("true", "false", "1", "0", "1.0", "-0");
const space = fc.oneof(
  { weight: 8, arbitrary: pick("") },
  { weight: 1, arbitrary: pick(" ", "\n\t ", "\r\n", "\v") },
);

function listOf(items: readonly (readonly [string, string, string])[]): string {
  return `[${items.map((item) => item.join("")).join(",")}]`;
}

const flatList = (of: fc.Arbitrary<string>): fc.Arbitrary<string> =>
  fc.array(fc.tuple(space, of, space), { maxLength: 8 }).map(listOf);

/** Lists as the shape has them, in any nesting. */
function dataOf(datatype: string, count: number): fc.Arbitrary<string> {
  const of = datatype === "BOOL" ? fc.oneof(flag, flag, element) : element;
  const good = datatype === "BOOL" ? flag : fc.integer({ min: 0, max: 100 }).map(String);
  const exactly = { minLength: count, maxLength: count };
  const items = (one: fc.Arbitrary<string>): fc.Arbitrary<string> =>
    fc.array(fc.tuple(space, one, space), exactly).map(listOf);
  const nested = fc
    .array(fc.oneof(good, number), exactly)
    .map((all) => `[${all.map((one, index) => (index % 2 === 0 ? `[${one}` : `${one}]`)).join(",")}]`);
  return fc.oneof(
    { weight: 6, arbitrary: items(good) },
    { weight: 6, arbitrary: items(number) },
    { weight: 3, arbitrary: items(of) },
    { weight: 3, arbitrary: count % 2 === 0 ? nested : items(number) },
    { weight: 2, arbitrary: flatList(of) },
    { weight: 1, arbitrary: fc.array(flatList(of), { maxLength: 3 }).map((all) => `[${all.join(",")}]`) },
    {
      weight: 1,
      arbitrary: pick("null", "5", '"x"', "[[[]]]", `${"[".repeat(40)}1${"]".repeat(40)}`, "[1", "]", "0"),
    },
  );
}

const datatypes = fc.oneof(
  { weight: 4, arbitrary: pick("FP32", "FP64", "INT64", "INT32", "BOOL") },
  { weight: 3, arbitrary: pick<string>(...DATATYPES) },
  { weight: 1, arbitrary: pick("", "FLOAT", "fp32", "FP\\u0033\\u0032") },
);

const PARAMETERS = [
  '{"content_type":"np"}',
  '{"content_type":"base64"}',
  '{"content_type":null,"binary_data_size":null}',
  '{"binary_data_size":8}',
  '{"shared_memory_region":"r"}',
  "[]",
  "null",
  '{"data":[1,2]}',
] as const;

/** Members as text, in any order now and then; some twice, some never. */
function members(usual: readonly string[], odd: fc.Arbitrary<readonly string[]>): fc.Arbitrary<string> {
  return fc
    .tuple(odd, fc.shuffledSubarray([...usual]), fc.boolean(), fc.integer({ min: 0, max: 9 }), space)
    .map(([more, shuffled, isDouble, chance, gap]) => {
      const all = chance < 6 ? [...usual] : chance < 9 ? [...shuffled, ...more] : [...more, ...usual];
      if (chance === 7 && isDouble && all[0] !== undefined) all.push(all[0]);
      return `{${gap}${all.join(`${gap},${gap}`)}${gap}}`;
    });
}

const oddMember = pick(
  '"unknown":[1,2]',
  '"d\\u0061ta":[9,9]',
  '"extra":{"data":[1],"inputs":[{}]}',
  '"é":1',
  '"x":NaN',

  '"data":[1,2]',
  '"datatype":"INT64"',
  '"shape":[1,2]',
  '"__proto__":{"data":[1]}',
  '"k":"]}\\""',
  '"":0',
);
const oddInput = fc.array(
  fc.oneof(
    oddMember,
    pick(...PARAMETERS).map((one) => `"parameters":${one}`),
  ),
  { maxLength: 2 },
);

const input = fc
  .tuple(pick("x", "x", "x", "y", "z", 'a\\"b', "ü"), datatypes, fc.integer({ min: 0, max: 4 }))
  .chain(([name, datatype, rows]) =>
    dataOf(datatype, rows * 2).chain((data) =>
      members(
        [`"name":"${name}"`, `"shape":[${rows},2]`, `"datatype":"${datatype}"`, `"data":${data}`],
        oddInput,
      ),
    ),
  );

const oddTop = fc.array(
  fc.oneof(
    oddMember,
    pick(
      '"id":"42"',
      '"id":"é\\n"',
      '"id":7',
      '"parameters":{"timeout":1000,"priority":2}',
      '"parameters":3',
      '"outputs":[{"name":"output","parameters":{"binary_data":true}}]',
      '"outputs":[{}]',
      '"inputs":[]',

      '"id":"\\"inputs\\":[{\\"data\\":[1]}]"',
      '"parameters":{"binary_data_output":true}',
      '"id":"\ud83d\ude00"',
    ),
  ),
  { maxLength: 2 },
);

const request = fc
  .array(input, { minLength: 1, maxLength: 2 })
  .chain((inputs) => members([`"inputs":[${inputs.join(",")}]`], oddTop))
  .map((body) => Buffer.from(body));

/** The same with a byte more, less or other, a mark in front, or an end too early. */
const damaged = fc
  .tuple(
    request,
    fc.integer({ min: 0, max: 5 }),
    fc.nat(),
    pick(0x20, 0x22, 0x2c, 0x5b, 0x5d, 0x7d, 0x31, 0xc3, 0xff, 0),
  )
  .map(([body, kind, place, byte]) => {
    const at = place % body.length;
    const [before, behind] = [body.subarray(0, at), body.subarray(at)];
    if (kind === 0) return before;
    if (kind === 1) return Buffer.concat([before, Buffer.of(byte), behind]);
    if (kind === 2) return Buffer.concat([before, behind.subarray(1)]);
    if (kind === 3) return Buffer.concat([Buffer.of(0xef, 0xbb, 0xbf), body]);
    if (kind === 4) return Buffer.concat([body, Buffer.of(byte)]);
    return Buffer.concat([before, Buffer.of(byte), behind.subarray(1)]);
  });

function headerOf(size: number): string {
  return `{"id":"é","inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","parameters":{"binary_data_size":${size}}}]}`;
}

function indented(data: unknown): Buffer {
  const tensor = { name: "x", datatype: "FP32", shape: [50_000, 2], data };
  return Buffer.from(JSON.stringify({ inputs: [tensor] }, undefined, 1));
}

describe("an inference request", () => {
  test("is read as by JSON.parse, whatever its members, types and numbers", () => {
    let cut = 0;
    let read = 0;
    fc.assert(
      fc.property(request, pick(fp32, int64, text), (body, manifest) => {
        expectSame(manifest, { body });
        if (cutter.cut(body) !== null) cut += 1;
        if (!Array.isArray(told(() => readInferRequest(manifest, body, undefined)))) read += 1;
      }),
      { numRuns: RUNS },
    );
    expect(cut).toBeGreaterThan(RUNS / 10);
    expect(read).toBeGreaterThan(RUNS / 10);
  });

  test("is refused as by JSON.parse when a byte of it is wrong", () => {
    fc.assert(
      fc.property(damaged, pick(fp32, int64), (body, manifest) => expectSame(manifest, { body })),
      { numRuns: RUNS },
    );
  });

  test("with binary tensors is read by a header that came before as by a new one", () => {
    const headers = [
      headerOf(8),
      headerOf(7),
      headerOf(8),
      '{"inputs":[',
      "[]",
      `${headerOf(8)} `,
      "\ufeff{}",
    ];
    for (const one of [...headers, ...headers]) {
      for (const bytes of [8, 7, 9]) {
        const json = Buffer.from(one);
        const body = Buffer.concat([json, Buffer.alloc(bytes, bytes)]);
        expectSame(fp32, { body, headerText: String(json.length) });
      }
    }
    expectSame(fp32, { body: Buffer.alloc(8, 1), headerText: "0" });
    expectSame(fp32, { body: Buffer.alloc(8, 1), headerText: "9" });
  });

  test.each([
    ["flat", (numbers: readonly number[]) => numbers],
    ["nested", (numbers: readonly number[]) => [numbers.slice(0, 50_000), numbers.slice(50_000)]],
  ])("of 100,000 numbers, %s, is read from its bytes, and leaves nothing behind", (_name, nest) => {
    const numbers = Array.from({ length: 100_000 }, (_, index) => (index - 50_000) / 64);
    expect(cutter.cut(indented(nest(numbers)))?.lists[0]?.count).toBe(100_000);
    expectSame(fp32, { body: indented(nest(numbers)) });
    expectSame(fp32, { body: indented([1, 2]) });
  });

  test.each<[Datatype, string]>([
    ["FP32", "[1.5,-2e3]"],
    ["FP64", "[[0.1],[1e300]]"],
    ["INT8", "[-128,127]"],
    ["INT16", "[-32768,32767]"],
    ["INT32", "[-2147483648,2147483647]"],
    ["INT64", "[-9007199254740991,9007199254740991]"],
    ["UINT8", "[0,255]"],
    ["UINT16", "[0,65535]"],
    ["UINT32", "[0,4294967295]"],
    ["UINT64", "[1.0,9007199254740991]"],
    ["BOOL", "[true,0]"],
  ])("of %s is read from its bytes", (datatype, data) => {
    const manifest = tensorManifest([{ name: "x", datatype, shape: [2] }]);
    const body = Buffer.from(
      `{"inputs":[{"name":"x","shape":[1,2],"datatype":"${datatype}","data":${data}}],"id":"7"}`,
    );
    expect(cutter.cut(body)).toMatchObject({ lists: [{ datatype, count: 2 }] });
    expectSame(manifest, { body });
  });
});
