// Tensor data as JSON: every datatype both ways, and what does not fit.
import { describe, expect, test } from "vitest";
import { jsonText, packJson, parseJson, raggedContentType } from "../../containers/json-data.ts";
import type { Datatype } from "../../containers/protocol.ts";
import { decodeBytes, TensorFormatError } from "../../containers/tensors.ts";

describe("packJson and jsonText", () => {
  test.each<[Datatype, unknown[], unknown[]]>([
    ["FP32", [0.5, -1, null, 3], [0.5, -1, null, 3]],
    ["FP64", [0.1, 1e300, "Infinity", "-Infinity"], [0.1, 1e300, null, null]],
    ["BOOL", [true, false, 1, 0], [true, false, true, false]],
    ["INT8", [-128, 127], [-128, 127]],
    ["UINT8", [0, 255], [0, 255]],
    ["INT16", [-32_768, 32_767], [-32_768, 32_767]],
    ["UINT16", [0, 65_535], [0, 65_535]],
    ["INT32", [-(2 ** 31), 2 ** 31 - 1], [-(2 ** 31), 2 ** 31 - 1]],
    ["UINT32", [0, 2 ** 32 - 1], [0, 2 ** 32 - 1]],
    ["BYTES", ["a", "", "grüße"], ["a", "", "grüße"]],
  ])("%s", (datatype, values, back) => {
    const shape = [values.length];
    const data = packJson(values, { datatype, shape });
    expect(JSON.parse(jsonText({ name: "x", datatype, shape, data }))).toEqual(back);
  });

  test("64-bit integers keep every digit", () => {
    for (const [datatype, text] of [
      ["INT64", "[-9223372036854775808,9223372036854775807,9007199254740993,1]"],
      ["UINT64", "[18446744073709551615,0,9007199254740993,1]"],
    ] as const) {
      const data = packJson(parseJson(text, true), { datatype, shape: [4] });
      expect(jsonText({ name: "x", datatype, shape: [4], data })).toBe(text);
    }
  });

  test("nested lists of any depth are taken in row-major order", () => {
    const data = packJson([[[1, 2]], [[3, 4]]], { datatype: "INT8", shape: [2, 1, 2] });
    expect([...data]).toEqual([1, 2, 3, 4]);
  });

  test("ragged rows are lists of lists", () => {
    const data = packJson([[1.5], [], [2, 3]], { datatype: "BYTES", shape: [3] }, "FP64");
    expect(decodeBytes(data, 3).map(({ byteLength }) => byteLength)).toEqual([8, 0, 16]);
    expect(jsonText({ name: "x", datatype: "BYTES", shape: [3], data, contentType: "fp64" })).toBe(
      "[[1.5],[],[2,3]]",
    );
  });

  test.each<[Datatype, unknown, string]>([
    ["FP32", [1, "a"], 'element 1 is "a", which is not FP32'],
    ["FP32", [true], "element 0 is true"],
    ["INT8", [128], "element 0 is 128, which is not INT8"],
    ["UINT16", [-1], "element 0 is -1"],
    ["INT32", [1.5], "element 0 is 1.5"],
    ["INT32", [null], "element 0 is null"],
    ["INT64", [2 ** 63], "which is not INT64"],
    ["UINT64", [-1], "which is not UINT64"],
    ["BOOL", [2], "element 0 is 2"],
    ["BYTES", [1], "BYTES elements are strings in JSON"],
    ["FP16", [1], "send it as binary tensor data"],
    ["FP32", 1, '"data" must be a list'],
    ["FP32", [[1], 2, [3]], "the shape takes"],
  ])("%s refuses %j", (datatype, data, message) => {
    const shape = [Array.isArray(data) && !Array.isArray(data[0]) ? data.length : 1];
    const pack = (): Uint8Array => packJson(data, { datatype, shape });
    expect(pack).toThrow(TensorFormatError);
    expect(pack).toThrow(message);
  });
});

describe("parseJson", () => {
  test("only whole numbers beyond 2^53 become BigInts", () => {
    expect(parseJson("[1, 9007199254740993, 1e300, 1.5, -9007199254740993]", true)).toEqual([
      1,
      9007199254740993n,
      1e300,
      1.5,
      -9007199254740993n,
    ]);
    expect(parseJson("[9007199254740993]", false)).toEqual([9007199254740992]);
  });

  test("what is longer than any 64-bit integer stays a number, and fits only floats", () => {
    const digits = `1${"0".repeat(20)}`;
    const values = parseJson(`[${digits}, -${digits}, ${"9".repeat(1_000_000)}]`, true);
    expect(values).toEqual([1e20, -1e20, Infinity]);
    const pack = (datatype: Datatype): Uint8Array => packJson(values, { datatype, shape: [3] });
    expect(() => pack("INT64")).toThrow("element 0 is 100000000000000000000, which is not INT64");
    expect(new Float64Array(pack("FP64").buffer)).toEqual(Float64Array.of(1e20, -1e20, Infinity));
  });
});

test("ragged rows have content types of their own", () => {
  expect(raggedContentType("FP32")).toBe("fp32");
  expect(raggedContentType("INT64")).toBeUndefined();
});
