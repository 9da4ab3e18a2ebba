// What a preprocess function may give for a model's input: numbers that the datatype holds, and nothing else.
import { describe, expect, test } from "vitest";
import { readFeed } from "../../../containers/tensor-model/feeds.ts";
import type { NumericDatatype } from "../../../containers/typed-arrays.ts";

function read(datatype: NumericDatatype, values: unknown): unknown[] {
  const [row] = readFeed(values, [{ name: "x", datatype, shape: [-1], batchAxis: 0 }]);
  return Array.from<unknown>((row?.data ?? []) as ArrayLike<unknown>);
}

describe("elements of a feed", () => {
  test.each<[NumericDatatype, unknown[], unknown[]]>([
    ["UINT8", [0, 255, true], [0, 255, 1]],
    ["INT8", [-128, 127n], [-128, 127]],
    ["INT16", [-32_768, 32_767], [-32_768, 32_767]],
    ["UINT16", [65_535], [65_535]],
    ["INT32", [-(2 ** 31), 2 ** 31 - 1], [-(2 ** 31), 2 ** 31 - 1]],
    ["UINT32", [2 ** 32 - 1], [2 ** 32 - 1]],
    ["INT64", [-(2n ** 63n), 5, 2n ** 63n - 1n], [-(2n ** 63n), 5n, 2n ** 63n - 1n]],
    ["UINT64", [2n ** 64n - 1n], [2n ** 64n - 1n]],
    ["BOOL", [true, false, 1, 0], [1, 0, 1, 0]],
    ["FP32", [300.5, -1n, Infinity], [300.5, -1, Infinity]],
  ])("%s takes what it can hold", (datatype, values, expected) => {
    expect(read(datatype, values)).toEqual(expected);
  });

  test.each<[NumericDatatype, unknown, string]>([
    ["UINT8", [300, -1], 'input "x" takes UINT8 (0 to 255), preprocess returned 300 at 0'],
    ["UINT8", [3, -1], "returned -1 at 1"],
    ["UINT8", Float32Array.of(1, 256), "returned 256 at 1"],
    ["INT8", [128n], "INT8 (-128 to 127), preprocess returned 128 at 0"],
    ["INT32", [2 ** 31], "(-2147483648 to 2147483647), preprocess returned 2147483648 at 0"],
    ["INT64", [2 ** 63], "(-9223372036854775808 to 9223372036854775807)"],
    ["UINT64", [-1n], "returned -1 at 0"],
    ["UINT64", [1, 2n ** 64n], "returned 18446744073709551616 at 1"],
    ["BOOL", [2], "BOOL (0 to 1), preprocess returned 2 at 0"],
    ["INT16", [1.5], "returned 1.5 at 0"],
    ["INT16", [NaN], "returned NaN at 0"],
    ["FP32", ["1"], 'input "x" takes FP32, preprocess returned "1" at 0'],
  ])("%s refuses what it cannot hold (%#)", (datatype, values, message) => {
    expect(() => read(datatype, values)).toThrow(message);
  });
});

describe("string tensors", () => {
  const texts = { name: "x", datatype: "BYTES", shape: [-1], batchAxis: 0 } as const;
  const file = Uint8Array.of(0xff, 0xd8);

  test("take strings, and bytes as one element each", () => {
    expect(readFeed(["a", file], [texts])).toEqual([{ data: ["a", file], dims: [2] }]);
    expect(readFeed(file, [{ ...texts, shape: [] }])).toEqual([{ data: [file], dims: [] }]);
    expect(readFeed({ x: Buffer.from("b") }, [{ ...texts, shape: [] }])[0]?.dims).toEqual([]);
  });

  test("refuse anything else", () => {
    expect(() => readFeed([1], [texts])).toThrow(
      'input "x" takes strings, or bytes as a Uint8Array; preprocess returned a number',
    );
    expect(() => readFeed(Float32Array.of(1), [texts])).toThrow("takes strings");
  });
});
