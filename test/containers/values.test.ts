// Rows as the plain values that functions take: every digit, every datatype, every shape.
import { describe, expect, test } from "vitest";
import { encodeBytes, type Tensor } from "../../containers/tensors.ts";
import { bytesOf } from "../../containers/typed-arrays.ts";
import { decodeRows } from "../../containers/values.ts";

type Decoded = ReturnType<typeof decodeRows>;

function decode(described: Omit<Tensor, "name" | "data">, data: ArrayBufferView): Decoded {
  const tensor = { ...described, name: "x", data: bytesOf(data) };
  const { signal } = new AbortController();
  return decodeRows({ count: tensor.shape[0] ?? 0, inputs: [tensor], signal });
}

describe("numbers", () => {
  test("64-bit integers beyond 2^53 keep every digit as BigInts, others are numbers", () => {
    const signed = BigInt64Array.of(1n, -(2n ** 53n) + 1n, 2n ** 53n, -(2n ** 63n));
    expect(decode({ datatype: "INT64", shape: [2, 2] }, signed).values).toEqual([
      [1, -(2 ** 53) + 1],
      [2n ** 53n, -(2n ** 63n)],
    ]);
    const unsigned = BigUint64Array.of(2n ** 53n - 1n, 2n ** 64n - 1n);
    expect(decode({ datatype: "UINT64", shape: [2] }, unsigned).values).toEqual([
      2 ** 53 - 1,
      2n ** 64n - 1n,
    ]);
  });

  test("half floats of both kinds are numbers", () => {
    const values = [1, -2.5, 0.0078125, Infinity];
    expect(decode({ datatype: "FP16", shape: [4] }, Float16Array.from(values)).values).toEqual(values);
    const words = Uint16Array.of(0x3f80, 0xc020, 0x3c00, 0x7f80, 0x7fc0, 0x8000, 0x0001);
    expect(decode({ datatype: "BF16", shape: [7] }, words).values).toEqual([...values, NaN, -0, 2 ** -133]);
  });
});

describe("BYTES of several elements a row", () => {
  const texts = ["1", "[2]", "3", "{}"];
  const data = encodeBytes(texts.map((text) => Buffer.from(text)));

  test("are nested by the shape, as their content type says", () => {
    const shape = [2, 1, 2];
    const decoded = (contentType?: string): readonly unknown[] =>
      decode({ datatype: "BYTES", shape, ...(contentType === undefined ? {} : { contentType }) }, data)
        .values;
    expect(decoded("str")).toEqual([[["1", "[2]"]], [["3", "{}"]]]);
    expect(decoded("json")).toEqual([[[1, [2]]], [[3, {}]]]);
    expect(decoded()).toEqual([
      [[Buffer.from("1"), Buffer.from("[2]")]],
      [[Buffer.from("3"), Buffer.from("{}")]],
    ]);
  });

  test("that are not JSON fail their row alone", () => {
    const broken = encodeBytes(["1", "2", "3", "{"].map((text) => Buffer.from(text)));
    const { values, errors } = decode({ datatype: "BYTES", shape: [2, 2], contentType: "json" }, broken);
    expect(values[0]).toEqual([1, 2]);
    expect(errors?.[0]).toBeUndefined();
    expect(errors?.[1]).toMatchObject({ code: "MODEL_ERROR" });
  });

  test("ragged rows need no alignment, also in a buffer of Node's pool", () => {
    const rows = encodeBytes([[0.5], [], [1, 2]].map((row) => bytesOf(Float64Array.from(row))));
    const pooled = Buffer.concat([Buffer.of(0), rows]).subarray(1);
    const { values } = decode({ datatype: "BYTES", shape: [3], contentType: "fp64" }, pooled);
    expect(values).toEqual([[0.5], [], [1, 2]]);
  });
});
