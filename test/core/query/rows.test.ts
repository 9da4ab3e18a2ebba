// What comes in as JSON and goes out as JSON: contract checks, packing, exact numbers.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { ContentType, Datatype, JsonValue, Manifest, TensorSpec } from "../../../containers/protocol.ts";
import { encodeBytes, type Tensor } from "../../../containers/tensors.ts";
import { InvalidInputError, InvalidModelOutputError } from "../../../core/errors.ts";
import { floatText } from "../../../core/query/float-text.ts";
import { BatchOutputs } from "../../../core/query/query.ts";
import { outputJson } from "../../../core/query/outputs.ts";
import { decodeInput, describeValue } from "../../../core/query/rows.ts";
import { tensorManifest, valueManifest } from "./fakes.ts";

function messageOf(manifest: Manifest, value: unknown): string {
  try {
    decodeInput(manifest, value as JsonValue, "input");
  } catch (error) {
    expect(error).toBeInstanceOf(InvalidInputError);
    return (error as Error).message;
  }
  return "";
}

function tensor(datatype: Datatype, shape: readonly number[], contentType?: ContentType): Manifest {
  return tensorManifest([
    { name: "x", datatype, shape, ...(contentType === undefined ? {} : { contentType }) },
  ]);
}

function dataOf(manifest: Manifest, value: unknown): Uint8Array {
  return decodeInput(manifest, value as JsonValue, "input").tensors[0]?.data ?? new Uint8Array();
}

describe("inputs of Clipper's types", () => {
  test.each([
    ["integers", [1, -2, 2 ** 31 - 1], new Int32Array([1, -2, 2 ** 31 - 1])],
    ["floats", [1, 0.1, -3e38], new Float32Array([1, 0.1, -3e38])],
    ["doubles", [1, 0.1, 1.5e300], new Float64Array([1, 0.1, 1.5e300])],
    ["doubles", [], new Float64Array()],
  ] as const)("%s %j are packed little-endian", (type, value, expected) => {
    const row = decodeInput(valueManifest(type), value, "input");
    expect(row).toEqual({
      key: "",
      tensors: [{ shape: [value.length], data: new Uint8Array(expected.buffer) }],
    });
  });

  test.each([
    ["strings", "grüße", encodeBytes([Buffer.from("grüße")])],
    ["bytes", "AAEC/w==", encodeBytes([Buffer.from([0, 1, 2, 255])])],
    ["bytes", "", encodeBytes([Buffer.from("")])],
    ["json", { a: [1, null, "x"] }, encodeBytes([Buffer.from('{"a":[1,null,"x"]}')])],
    ["json", null, encodeBytes([Buffer.from("null")])],
  ] as const)("%s %j are one element", (type, value, expected) => {
    expect(decodeInput(valueManifest(type), value, "input")).toEqual({
      key: "",
      tensors: [{ shape: [], data: expected }],
    });
  });

  test.each([
    ["integers", [1, 2.5], "input[1]: expected an integer from -2147483648 to 2147483647, got 2.5"],
    ["integers", [2 ** 31], "input[0]: expected an integer from -2147483648 to 2147483647, got 2147483648"],
    ["integers", ["1"], 'input[0]: expected an integer from -2147483648 to 2147483647, got "1"'],
    ["floats", [1e39], "input[0]: expected a finite number within the range of FP32, got 1e+39"],
    ["doubles", [1, "x"], 'input[1]: expected a finite number, got "x"'],
    ["doubles", [1, null], "input[1]: expected a finite number, got null"],
    ["doubles", [Infinity], "input[0]: expected a finite number, got a number beyond the range of a double"],
    ["doubles", [[1]], "input[0]: expected a finite number, got an array of 1"],
    ["doubles", 5, "input: expected an array (FP64 [any]), each element a finite number, got 5"],
    [
      "doubles",
      { a: 1 },
      "input: expected an array (FP64 [any]), each element a finite number, got an object",
    ],
    ["strings", 5, "input: expected a string, got 5"],
    ["strings", ["a"], "input: expected a string, got an array of 1"],
    ["bytes", "AAE", 'input: expected a base64 string (RFC 4648, padded), got "AAE"'],
    ["bytes", "A-_=", 'input: expected a base64 string (RFC 4648, padded), got "A-_="'],
    ["bytes", "=AAA", 'input: expected a base64 string (RFC 4648, padded), got "=AAA"'],
    [
      "json",
      { a: [1, { b: Infinity }] },
      "input.a[1].b: expected a finite number, got a number beyond the range of a double",
    ],
  ] as const)("%s refuse %j, naming the place", (type, value, message) => {
    expect(messageOf(valueManifest(type), value)).toBe(message);
  });

  test("a value that is shown is cut", () => {
    const message = messageOf(valueManifest("doubles"), ["y".repeat(5000)]);
    expect(message.length).toBeLessThan(130);
    expect(message).toContain("…");
  });

  test("long base64 does not overflow the stack", () => {
    const bytes = Buffer.alloc(6_000_000, 7);
    expect(dataOf(valueManifest("bytes"), bytes.toString("base64")).length).toBe(bytes.length + 4);
  });
});

describe("tensors", () => {
  const matrix = tensor("FP32", [2, 3]);
  const packed = new Uint8Array(new Float32Array([1, 2, 3, 4, 5, 6]).buffer);

  test.each([
    [
      "nested",
      [
        [1, 2, 3],
        [4, 5, 6],
      ],
    ],
    ["flat", [1, 2, 3, 4, 5, 6]],
    [
      "by name",
      {
        x: [
          [1, 2, 3],
          [4, 5, 6],
        ],
        other: 1,
      },
    ],
  ])("are taken %s", (_name, value) => {
    expect(decodeInput(matrix, value as JsonValue, "input")).toEqual({
      key: "",
      tensors: [{ shape: [2, 3], data: packed }],
    });
  });

  test.each([
    [[[1, 2, 3]], "input: expected an array of 2 (FP32 [2,3]), got an array of 1"],
    [
      [
        [1, 2],
        [3, 4],
      ],
      "input[0]: expected an array of 3 (FP32 [2,3]), got an array of 2",
    ],
    [
      [
        [1, 2, 3],
        [4, 5],
      ],
      "input[1]: expected an array of 3, as the one before it, got an array of 2",
    ],
    [[[1, 2, 3], 4], "input[1]: expected an array of 3, as the one before it, got 4"],
    [
      [
        [1, 2, 3],
        [4, "x", 6],
      ],
      'input[1][1]: expected a finite number within the range of FP32, got "x"',
    ],
    [[1, 2, 3, 4, 5], "input: expected 6 elements (FP32 [2,3]), got an array of 5"],
    [[1, 2, 3, 4, 5, [6]], "input[5]: expected a finite number within the range of FP32, got an array of 1"],
    [
      [
        [[1], [2], [3]],
        [[4], [5], [6]],
      ],
      "input[0][0]: expected a finite number within the range of FP32, got an array of 1",
    ],
    [
      { y: 1 },
      "input: expected an array (FP32 [2,3]), each element a finite number within the range of FP32, got an object",
    ],
  ])("refuse %j", (value, message) => {
    expect(messageOf(matrix, value)).toBe(message);
  });

  test("free dimensions are taken from the value and separate batches", () => {
    const free = tensor("INT32", [-1, 2]);
    expect(
      decodeInput(
        free,
        [
          [1, 2],
          [3, 4],
          [5, 6],
        ],
        "input",
      ),
    ).toMatchObject({ key: "3,2", tensors: [{ shape: [3, 2] }] });
    expect(decodeInput(free, [1, 2, 3, 4], "input")).toMatchObject({
      key: "2,2",
      tensors: [{ shape: [2, 2] }],
    });
    expect(messageOf(free, [1, 2, 3])).toBe(
      "input: expected a multiple of 2 elements (INT32 [any,2]), got an array of 3",
    );
    expect(messageOf(tensor("INT32", [-1, -1]), [1, 2])).toContain("arrays nested 2 deep");
  });

  test("several inputs are an object by name", () => {
    const specs: TensorSpec[] = [
      { name: "ids", datatype: "INT64", shape: [-1] },
      { name: "flag", datatype: "BOOL", shape: [] },
    ];
    const both = tensorManifest(specs);
    const row = decodeInput(both, { ids: [1, 2], flag: true }, "input");
    expect(row.key).toBe("2;");
    expect(row.tensors).toEqual([
      { shape: [2], data: new Uint8Array(new BigInt64Array([1n, 2n]).buffer) },
      { shape: [], data: new Uint8Array([1]) },
    ]);
    expect(messageOf(both, { ids: [1] })).toBe(
      'input: the input "flag" is missing; the model takes "ids": INT64 [any], "flag": BOOL []',
    );
    expect(messageOf(both, [1])).toContain("expected an object of the inputs");
    expect(messageOf(both, { ids: [1], flag: 1 })).toBe("input.flag: expected true or false, got 1");
    expect(messageOf(both, { ids: [1.5], flag: true })).toContain(
      "input.ids[0]: expected an integer from -9223372036854775808",
    );
  });

  test("BYTES that nobody says more of are text, or bytes as { b64 }", () => {
    const manifest = tensorManifest([{ name: "x", datatype: "BYTES", shape: [-1] }]);
    const expected = encodeBytes([element("größer"), Uint8Array.of(0xff, 0xd8)]);
    expect(dataOf(manifest, ["größer", { b64: "/9g=" }])).toEqual(expected);
    expect(dataOf(manifest, { x: ["größer", { b64: "/9g=" }] })).toEqual(expected);
    for (const wrong of [1, null, { b64: "/9g" }, { b64: 1 }, { b64: "", more: 1 }, { text: "" }])
      expect(messageOf(manifest, [wrong])).toMatch(/^input\[0\]: expected a string, or \{"b64": …\}/);
    const text = tensorManifest([{ name: "x", datatype: "BYTES", shape: [-1], contentType: "str" }]);
    expect(messageOf(text, [{ b64: "/9g=" }])).toBe("input[0]: expected a string, got an object");
  });

  test.each([
    ["INT8", 127, 128],
    ["INT16", -32_768, -32_769],
    ["UINT8", 255, -1],
    ["UINT16", 65_535, 65_536],
    ["UINT32", 2 ** 32 - 1, 2 ** 32],
    ["INT64", 2n ** 63n - 1n, 2n ** 63n],
    ["UINT64", 2n ** 64n - 1n, -1],
    ["FP16", 65_504, 65_520],
    ["FP32", 3.4028234663852886e38, 3.4028235677973366e38],
    ["BF16", 3.3895313892515355e38, 3.4e38],
  ] as const)("%s holds %s and refuses %s", (datatype, largest, tooLarge) => {
    const spec: TensorSpec = { name: "output", datatype, shape: [1] };
    const manifest = tensorManifest([spec], [spec]);
    const data = dataOf(manifest, [largest]);
    const batch = new BatchOutputs([{ name: "output", datatype, shape: [1, 1], data }], 1);
    const text = outputJson(manifest, batch, 0);
    if (typeof largest === "bigint") expect(text).toBe(`[${largest}]`);
    else expect(Number(text.slice(1, -1)) / largest).toBeCloseTo(1, 2);
    expect(messageOf(manifest, [tooLarge])).toContain("input[0]: expected");
  });
});

function outputs(manifest: Manifest, tensors: readonly Tensor[], index = 0): string {
  return outputJson(manifest, new BatchOutputs(tensors, 2), index);
}

function one(spec: Omit<TensorSpec, "name">): Manifest {
  return tensorManifest([{ name: "x", datatype: "FP32", shape: [1] }], [{ name: "y", ...spec }]);
}

function element(text: string): Uint8Array {
  return Buffer.from(text);
}

describe("outputs", () => {
  test("JSON content is spliced as the model wrote it", () => {
    const data = encodeBytes([Buffer.from("1.0"), Buffer.from('{"id":12345678901234567890}')]);
    const manifest = one({ datatype: "BYTES", shape: [], contentType: "json" });
    const y: Tensor = { name: "y", datatype: "BYTES", shape: [2], data };
    expect(outputs(manifest, [y], 0)).toBe("1.0");
    expect(outputs(manifest, [y], 1)).toBe('{"id":12345678901234567890}');
  });

  test("tensors are nested by their shape; shape [] is a scalar", () => {
    const data = new Uint8Array(new Float32Array([0.1, 2, NaN, -0.5, Infinity, 1e-7, 3, 4]).buffer);
    const nested: Tensor = { name: "y", datatype: "FP32", shape: [2, 2, 2], data };
    expect(outputs(one({ datatype: "FP32", shape: [2, 2] }), [nested], 0)).toBe("[[0.1,2],[null,-0.5]]");
    expect(outputs(one({ datatype: "FP32", shape: [2, 2] }), [nested], 1)).toBe("[[null,1e-7],[3,4]]");
    const scalar: Tensor = {
      name: "y",
      datatype: "INT64",
      shape: [2],
      data: new Uint8Array(new BigInt64Array([5n, -(2n ** 62n)]).buffer),
    };
    expect(outputs(one({ datatype: "INT64", shape: [] }), [scalar], 1)).toBe("-4611686018427387904");
    const empty: Tensor = { name: "y", datatype: "FP32", shape: [2, 0], data: new Uint8Array() };
    expect(outputs(one({ datatype: "FP32", shape: [-1] }), [empty], 1)).toBe("[]");
  });

  test("strings, bytes, booleans and ragged vectors have their forms", () => {
    const bytes = (contentType: ContentType, elements: readonly Uint8Array[]): string =>
      outputs(one({ datatype: "BYTES", shape: [], contentType }), [
        { name: "y", datatype: "BYTES", shape: [2], data: encodeBytes(elements) },
      ]);
    expect(bytes("str", [element('a"b\n'), element("")])).toBe('"a\\"b\\n"');
    expect(bytes("bytes", [new Uint8Array([0, 255]), element("")])).toBe('"AP8="');
    expect(bytes("fp64", [new Uint8Array(new Float64Array([0.1, 1e300]).buffer), element("")])).toBe(
      "[0.1,1e+300]",
    );
    expect(bytes("int32", [element(""), element("")])).toBe("[]");
    const flags: Tensor = { name: "y", datatype: "BOOL", shape: [2, 2], data: new Uint8Array([1, 0, 0, 0]) };
    expect(outputs(one({ datatype: "BOOL", shape: [2] }), [flags])).toBe("[true,false]");
  });

  test("BYTES that nobody says more of are text, and { b64 } where they are none", () => {
    const data = encodeBytes([element("größer"), Uint8Array.of(0xff, 0xd8)]);
    const manifest = one({ datatype: "BYTES", shape: [] });
    const y: Tensor = { name: "y", datatype: "BYTES", shape: [2], data };
    expect(outputs(manifest, [y], 0)).toBe('"größer"');
    expect(outputs(manifest, [y], 1)).toBe('{"b64":"/9g="}');
  });

  test("several outputs are an object by name, unaligned ones too", () => {
    const manifest = tensorManifest(
      [{ name: "x", datatype: "FP32", shape: [1] }],
      [
        { name: "flag", datatype: "BOOL", shape: [] },
        { name: "score", datatype: "FP32", shape: [1] },
      ],
    );
    const body = new Uint8Array(1 + 2 + 8);
    body.set(new Uint8Array(new Float32Array([0.25, 0.75]).buffer), 3);
    body[2] = 1;
    const tensors: Tensor[] = [
      { name: "score", datatype: "FP32", shape: [2, 1], data: body.subarray(3) },
      { name: "flag", datatype: "BOOL", shape: [2], data: body.subarray(1, 3) },
    ];
    expect(outputs(manifest, tensors, 1)).toBe('{"flag":true,"score":[0.75]}');
    expect(() => outputs(manifest, tensors.slice(0, 1))).toThrow(InvalidModelOutputError);
  });
});

test("an output longer than any string is an error of the model", () => {
  const length = 2 ** 29;
  const data = new Uint8Array(4 + length);
  new DataView(data.buffer).setUint32(0, length, true);
  const huge: Tensor = { name: "output", datatype: "BYTES", shape: [1], data, contentType: "json" };
  expect(() => outputJson(valueManifest("doubles"), new BatchOutputs([huge], 1), 0)).toThrow(
    /^the model's output is longer than the 512 MiB/,
  );
});

test("values and places of any length are told in few words", () => {
  const message = messageOf(valueManifest("json"), { [`k${"y".repeat(100_000)}`]: Infinity });
  expect(message).toMatch(/^input\.kyyy.*y…: expected a finite number/);
  expect(message.length).toBeLessThan(300);
  expect(describeValue(10n ** 100_000n)).toBe("an integer of more than 128 bits");
  expect(describeValue(2n ** 64n)).toBe("18446744073709551616");
  expect(describeValue("y".repeat(100_000)).length).toBeLessThan(70);
});

describe("FP32 as text", () => {
  test("is the shortest decimal that reads back as the same float32", () => {
    expect(
      [0.1, 0.2, 1 / 3, 16_777_216, 1e10, 3.4028234663852886e38, 1e-45, 5.877e-39, -2.5e-20].map((value) =>
        floatText(Math.fround(value), "FP32"),
      ),
    ).toEqual([
      "0.1",
      "0.2",
      "0.33333334",
      "16777216",
      "10000000000",
      "3.4028235e+38",
      "1e-45",
      "5.877e-39",
      "-2.5e-20",
    ]);
  });

  test("reads back exactly, whatever the bits", () => {
    const bits = fc.integer({ min: 0, max: 2 ** 32 - 1 });
    fc.assert(
      fc.property(bits, (pattern) => {
        const value = new Float32Array(new Uint32Array([pattern]).buffer)[0] ?? 0;
        const text = floatText(value, "FP32");
        if (!Number.isFinite(value)) return text === "null";
        const digits = text.replace(/e.*/, "").replace(/[-.]/g, "").replace(/^0+/, "").replace(/0+$/, "");
        return Math.fround(Number(text)) === value && (digits.length <= 9 || Number.isInteger(value));
      }),
      { numRuns: 20_000 },
    );
  });

  test("gives back decimals of up to six digits as they were", () => {
    const decimal = fc.tuple(fc.integer({ min: 1, max: 999_999 }), fc.integer({ min: -30, max: 25 }));
    fc.assert(
      fc.property(decimal, ([digits, exponent]) => {
        const value = Number(`${digits}e${exponent}`);
        return Number(floatText(Math.fround(value), "FP32")) === value;
      }),
      { numRuns: 20_000 },
    );
  });
});
