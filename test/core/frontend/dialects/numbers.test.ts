// The number parser agrees bit for bit with JSON.parse, or leaves the body to it.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Manifest } from "../../../../containers/protocol.ts";
import type { JsonValue } from "../../../../containers/protocol.ts";
import { type NumberForm, numberLayout, NumberParser } from "../../../../core/frontend/dialects/numbers.ts";
import type { Row } from "../../../../core/query/query.ts";
import { decodeInput } from "../../../../core/query/rows.ts";
import { tensorManifest, valueManifest } from "../../query/fakes.ts";

const OWN: NumberForm = { one: "input", list: "input_batch", hasOptions: true };

interface ParserOptions {
  readonly maxRows?: number;
  readonly form?: NumberForm;
}

function parser(manifest: Manifest, { maxRows = 100, form = OWN }: ParserOptions = {}): NumberParser {
  const layout = numberLayout(manifest);
  if (layout === undefined) throw new Error("the manifest is not for the number parser");
  return new NumberParser(layout, { form, maxRows });
}

/** What JSON.parse and decodeInput make of the body; undefined: an error. */
function slowly(manifest: Manifest, text: string): readonly Row[] | undefined {
  try {
    const { input, input_batch: list } = JSON.parse(text) as { input?: JsonValue; input_batch?: JsonValue[] };
    if (input !== undefined) return [decodeInput(manifest, input, "input")];
    return list?.map((value) => decodeInput(manifest, value, "input"));
  } catch {
    return undefined;
  }
}

const digits = fc.stringMatching(/^(0|[1-9][0-9]{0,20})$/);
const numberText = fc
  .tuple(
    fc.constantFrom("", "", "-"),
    digits,
    fc.option(fc.stringMatching(/^[0-9]{1,22}$/), { nil: "" }),
    fc.option(fc.stringMatching(/^[eE][-+]?[0-9]{1,3}$/), { nil: "", freq: 1 }),
  )
  .map(
    ([sign, whole, fraction, exponent]) => sign + whole + (fraction === "" ? "" : `.${fraction}`) + exponent,
  );
const printed = fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => JSON.stringify(value));
const anyNumber = fc.oneof(
  numberText,
  printed,
  fc.integer().map(String),
  fc.constantFrom("-0", "0.1", "1e5", "1e-320"),
);
const space = fc.constantFrom("", "", " ", "\n\t ", "\r\n");

function arrayOf(element: fc.Arbitrary<string>, size: fc.ArrayConstraints): fc.Arbitrary<string> {
  return fc
    .tuple(fc.array(fc.tuple(space, element, space), size), space)
    .map(
      ([items, inner]) => `[${items.length === 0 ? inner : items.map((item) => item.join("")).join(",")}]`,
    );
}

describe("the number parser", () => {
  test.each(["doubles", "floats", "integers"] as const)(
    "reads %s as JSON.parse does, or not at all",
    (type) => {
      const manifest = valueManifest(type);
      const fast = parser(manifest);
      const element = type === "integers" ? fc.oneof(fc.integer().map(String), anyNumber) : anyNumber;
      const list = arrayOf(element, { maxLength: 12 });
      const body = fc.oneof(
        list.map((text) => `{"input":${text}}`),
        arrayOf(list, { minLength: 1, maxLength: 5 }).map((text) => ` { "input_batch" : ${text} } `),
      );
      let understood = 0;
      fc.assert(
        fc.property(body, (text) => {
          const parsed = fast.parse(Buffer.from(text));
          if (parsed === null) return;
          understood += 1;
          expect(parsed.rows).toEqual(slowly(manifest, text));
        }),
        { numRuns: 5000 },
      );
      expect(understood).toBeGreaterThan(500);
    },
  );

  test("reads every notation of a finite double", () => {
    const manifest = valueManifest("doubles");
    const fast = parser(manifest);
    fc.assert(
      fc.property(anyNumber, (text) => {
        const expected = Number(text);
        const parsed = fast.parse(Buffer.from(`{"input":[${text}]}`));
        if (!Number.isFinite(expected)) return parsed === null;
        const value = new Float64Array(
          parsed?.rows[0]?.tensors[0]?.data.slice().buffer ?? new ArrayBuffer(8),
        )[0];
        return Object.is(value, expected);
      }),
      { numRuns: 20_000 },
    );
  });

  test("reads tensors nested or flat, and only of the contract's shape", () => {
    const manifest = tensorManifest([{ name: "x", datatype: "FP32", shape: [2, 2, 2] }]);
    const fast = parser(manifest);
    const good = [
      "[1,2,3,4,5,6,7,8]",
      "[[[1,2],[3,4]],[[5,6],[7,8]]]",
      " [ [ [1 ,2], [3,4] ] , [[5,6],[7,8] ] ] ",
    ];
    for (const text of good) {
      expect(fast.parse(Buffer.from(`{"input":${text}}`))?.rows).toEqual(
        slowly(manifest, `{"input":${text}}`),
      );
      const batch = `{"input_batch":[${text},${text}]}`;
      expect(fast.parse(Buffer.from(batch))?.rows).toEqual(slowly(manifest, batch));
    }
    const bad = [
      "[1,2]",
      "[[1,2],[3,4]]",
      "[[[1,2],[3,4]],[[5,6],[7,8,9]]]",
      "[[[1,2],[3,4]],[[5,6]]]",
      "1",
      "[[[1,2],[3,4]]]",
    ];
    for (const text of bad) expect(fast.parse(Buffer.from(`{"input":${text}}`))).toBeNull();
  });

  test.each([1, 2, 4, "\t"])("reads bodies printed with an indent of %j", (indent) => {
    const manifest = valueManifest("doubles");
    const list = Array.from({ length: 3000 }, (_, index) => index / 8 - 100);
    for (const value of [{ input: list }, { input_batch: [list, [], list] }]) {
      const text = JSON.stringify(value, undefined, indent);
      const rows = parser(manifest).parse(Buffer.from(text))?.rows;
      expect(rows).toEqual(slowly(manifest, text));
      expect(parser(manifest).parse(Buffer.from(text.replaceAll("\n", "\r\n")))?.rows).toEqual(rows);
    }
    expect(parser(manifest).parse(Buffer.from('{"input":[1, \v2]}'))).toBeNull();
  });

  test("reads version and timeout in any order", () => {
    const fast = parser(valueManifest("floats"));
    const body = '{"timeout_ms": 12.5, "input": [1], "version":"2-beta"}';
    expect(fast.parse(Buffer.from(body))).toMatchObject({
      version: "2-beta",
      timeoutMs: 12.5,
      isBatch: false,
    });
  });

  test.each([
    "",
    "{",
    "{}",
    "[1]",
    '{"input":[1]',
    '{"input":[1]}x',
    '{"input":[1,]}',
    '{"input":[,1]}',
    '{"input":[1 2]}',
    '{"input":[01]}',
    '{"input":[1.]}',
    '{"input":[.5]}',
    '{"input":[+1]}',
    '{"input":[1e]}',
    '{"input":[-]}',
    '{"input":[NaN]}',
    '{"input":[null]}',
    '{"input":["1"]}',
    '{"input":[1],"input":[2]}',
    '{"input":[1],"input_batch":[[2]]}',
    '{"input":[1],"other":1}',
    '{"input":[1],}',
    '{"inp\\u0075t":[1]}',
    '{"input":[1e999]}',
    '{"input":[1],"version":2}',
    '{"input_batch":[]}',
    '{"input_batch":[[1],]}',
    '{"input":[1],"version":"\\"',
  ])("leaves %s to JSON.parse", (text) => {
    expect(parser(valueManifest("doubles")).parse(Buffer.from(text))).toBeNull();
  });

  test("leaves numbers to JSON.parse that the element type cannot hold", () => {
    expect(parser(valueManifest("floats")).parse(Buffer.from('{"input":[1e39]}'))).toBeNull();
    expect(parser(valueManifest("integers")).parse(Buffer.from('{"input":[1.5]}'))).toBeNull();
    expect(parser(valueManifest("integers")).parse(Buffer.from('{"input":[2147483648]}'))).toBeNull();
    expect(
      parser(valueManifest("integers")).parse(Buffer.from('{"input":[-2147483648,1.0,2e3]}')),
    ).not.toBeNull();
  });

  test("leaves more rows than a request may hold, and grows for long ones", () => {
    expect(
      parser(valueManifest("doubles"), { maxRows: 2 }).parse(Buffer.from('{"input_batch":[[1],[2],[3]]}')),
    ).toBeNull();
    const values = Array.from({ length: 700_000 }, (_, index) => index / 8);
    const fast = parser(valueManifest("doubles"));
    const text = JSON.stringify({ input: values });
    const data = fast.parse(Buffer.from(text))?.rows[0]?.tensors[0]?.data;
    expect(Buffer.from(new Float64Array(values).buffer).equals(data ?? new Uint8Array())).toBe(true);
    expect(fast.parse(Buffer.from('{"input":[1]}'))?.rows[0]?.tensors[0]?.shape).toEqual([1]);
  });

  test("reads lists of instances, and whatever small stands beside them", () => {
    const manifest = valueManifest("doubles");
    const instances = parser(manifest, { form: { list: "instances" } });
    const rows = [[1, 2.5], [], [-3]];
    const good = [
      { instances: rows },
      { signature_name: "serving_default", instances: rows, version: 3, timeout_ms: "x" },
      { instances: rows, parameters: { a: [{ b: null }, "]}", -1.5e3] }, input: [1] },
    ];
    for (const value of good) {
      for (const text of [JSON.stringify(value), JSON.stringify(value, undefined, 2)]) {
        const parsed = instances.parse(Buffer.from(text));
        expect(parsed).toMatchObject({ isBatch: true, version: undefined, timeoutMs: undefined });
        expect(parsed?.rows).toEqual(rows.map((row) => decodeInput(manifest, row, "")));
      }
    }
    const bad = [
      "[1,2]",
      '{"input":[1]}',
      '{"instances":[]}',
      '{"instances":[[1]],"instances":[[2]]}',
      '{"instances":[[1]],"x":tru}',
      '{"instances":[[1]],"x":}',
      '{"instances":[[1]],"x":[1}',
      '{"instances":[[1]],"x":1]}',
      '{"instances":[[1]],"x":"é"}',
      `{"instances":[[1]],"x":${"[".repeat(17)}${"]".repeat(17)}}`,
      `{"instances":[[1]],"x":"${"x".repeat(300)}"}`,
      '{"instances":[[1]],"x":"',
      '{"instances":[[1]],"x"',
    ];
    for (const text of bad) expect(instances.parse(Buffer.from(text)), text).toBeNull();
  });

  test("reads a bare list as one row where the dialect has it so", () => {
    const manifest = valueManifest("integers");
    const bare = parser(manifest, { form: { list: "instances", hasBareRow: true } });
    const parsed = bare.parse(Buffer.from(" [1, -2] "));
    expect(parsed).toMatchObject({ rows: [decodeInput(manifest, [1, -2], "")], isBatch: false });
    expect(bare.parse(Buffer.from('{"instances":[[1]]}'))).toMatchObject({ isBatch: true });
    for (const text of ["[1]x", "[[1]]", "[1", "1"]) expect(bare.parse(Buffer.from(text)), text).toBeNull();
  });

  test("leaves inputs to JSON.parse that are held to a schema", () => {
    const schemas = { input: { type: "array", maxItems: 2 } };
    expect(numberLayout({ ...valueManifest("doubles"), schemas })).toBeUndefined();
  });

  test("is only for one input of plain numbers", () => {
    expect(numberLayout(valueManifest("json"))).toBeUndefined();
    expect(numberLayout(tensorManifest([{ name: "x", datatype: "INT64", shape: [2] }]))).toBeUndefined();
    expect(numberLayout(tensorManifest([{ name: "x", datatype: "FP32", shape: [-1, 2] }]))).toBeUndefined();
    expect(numberLayout(tensorManifest([{ name: "x", datatype: "FP32", shape: [] }]))).toBeUndefined();
  });
});
