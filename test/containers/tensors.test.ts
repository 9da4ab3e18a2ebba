// The binary body shared by frontend and container: headers, BYTES elements, slices.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  binaryHeader,
  decodeBytes,
  elementCount,
  emptyTensor,
  encodeBytes,
  encodeHeader,
  sliceBinary,
  TensorFormatError,
  type TensorHeader,
} from "../../containers/tensors.ts";

describe("encodeHeader", () => {
  test("pads to a multiple of 8 and stays the same JSON", () => {
    for (let length = 0; length < 20; length += 1) {
      const header = { name: "é".repeat(length) };
      const bytes = encodeHeader(header);
      expect(bytes.byteLength % 8).toBe(0);
      expect(JSON.parse(Buffer.from(bytes).toString("utf8"))).toEqual(header);
      expect(encodeHeader(JSON.stringify(header))).toEqual(bytes);
    }
  });
});

describe("BYTES", () => {
  test("any elements come back as they were", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array()), (elements) => {
        const decoded = decodeBytes(encodeBytes(elements), elements.length);
        expect(decoded.map((element) => Array.from(element))).toEqual(
          elements.map((element) => Array.from(element)),
        );
      }),
    );
  });

  test("elements are views, also of data in the middle of a buffer", () => {
    const packed = encodeBytes([Uint8Array.of(1, 2), Uint8Array.of(3)]);
    const body = new Uint8Array(packed.byteLength + 3);
    body.set(packed, 3);
    const [first] = decodeBytes(body.subarray(3), 2);
    expect(first?.buffer).toBe(body.buffer);
    expect(first).toEqual(Uint8Array.of(1, 2));
  });

  test("every cut of the data, and every other count, is refused", () => {
    const packed = encodeBytes([Uint8Array.of(1, 2), new Uint8Array(0), Uint8Array.of(3)]);
    for (let end = 0; end < packed.byteLength; end += 1)
      expect(() => decodeBytes(packed.subarray(0, end), 3)).toThrow(TensorFormatError);
    for (const count of [0, 1, 2, 4]) expect(() => decodeBytes(packed, count)).toThrow(TensorFormatError);
  });

  test("a body of zeros is refused at the first element too many", () => {
    expect(() => decodeBytes(new Uint8Array(2 ** 26), 2)).toThrow("expected 2 BYTES elements, got more");
  });
});

describe("sliceBinary", () => {
  const headers: TensorHeader[] = [
    { name: "a", datatype: "INT16", shape: [2], parameters: { binary_data_size: 4 } },
    { name: "json", datatype: "FP32", shape: [1], data: [1] },
    { name: "b", datatype: "BYTES", shape: [1], parameters: { binary_data_size: 5 } },
  ];

  test("cuts binary tensors in order and leaves JSON data out", () => {
    const body = Uint8Array.from({ length: 11 }, (_, index) => index);
    const slices = sliceBinary(headers, body, 2);
    expect([...slices]).toEqual([
      ["a", body.subarray(2, 6)],
      ["b", body.subarray(6, 11)],
    ]);
  });

  test.each([10, 12])("refuses a body of %i bytes where 11 are meant", (length) => {
    expect(() => sliceBinary(headers, new Uint8Array(length), 2)).toThrow(TensorFormatError);
  });

  test.each([-1, 0.5, "4", 3])("refuses a size of %j for two INT16", (size) => {
    const header = {
      name: "a",
      datatype: "INT16",
      shape: [2],
      parameters: { binary_data_size: size },
    } as const;
    expect(() => sliceBinary([header], new Uint8Array(4), 0)).toThrow(/tensor a/);
  });
});

test("binaryHeader names the content type only where there is one", () => {
  const tensor = { name: "a", datatype: "FP32", shape: [1], data: new Uint8Array(4) } as const;
  expect(binaryHeader(tensor).parameters).toEqual({ binary_data_size: 4 });
  expect(binaryHeader({ ...tensor, contentType: "json" }).parameters).toEqual({
    content_type: "json",
    binary_data_size: 4,
  });
});

test("emptyTensor has rows of zeros, or of empty elements", () => {
  const numbers = emptyTensor({ name: "y", datatype: "INT64", shape: [2, 3] }, 4);
  expect(numbers).toMatchObject({ shape: [4, 2, 3], data: new Uint8Array(4 * 6 * 8) });
  expect(emptyTensor({ name: "y", datatype: "FP32", shape: [-1] }, 4).shape).toEqual([4, 0]);
  const texts = emptyTensor({ name: "y", datatype: "BYTES", shape: [2], contentType: "str" }, 3);
  expect(texts.contentType).toBe("str");
  expect(decodeBytes(texts.data, elementCount(texts.shape))).toEqual(
    Array.from({ length: 6 }, () => new Uint8Array(0)),
  );
});
