// Stacked rows: cutting, joining, padding, and moving the batch axis there and back.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { StringElement } from "../../../containers/tensor-model/settings.ts";
import {
  fromModelLayout,
  fromWire,
  hasEqualRows,
  join,
  padRows,
  rowOf,
  rowsOf,
  type Stack,
  stringElement,
  toModelLayout,
  toWire,
} from "../../../containers/tensor-model/stack.ts";
import { encodeBytes } from "../../../containers/tensors.ts";

const stack = { data: Float32Array.of(1, 2, 3, 4, 5, 6), dims: [3, 2] };

describe("rows", () => {
  test("are views", () => {
    const row = rowOf(stack, 1);
    expect(row).toEqual({ data: Float32Array.of(3, 4), dims: [2] });
    expect((row.data as Float32Array).buffer).toBe(stack.data.buffer);
    expect(rowsOf(stack, 1, 3)).toEqual({ data: Float32Array.of(3, 4, 5, 6), dims: [2, 2] });
  });

  test("of scalars and strings", () => {
    expect(rowOf({ data: BigInt64Array.of(7n, 8n), dims: [2] }, 1)).toEqual({
      data: BigInt64Array.of(8n),
      dims: [],
    });
    expect(rowOf({ data: ["a", "b"], dims: [2, 1] }, 1)).toEqual({ data: ["b"], dims: [1] });
  });

  test("join to the stack they were cut from", () => {
    expect(join([0, 1, 2].map((row) => rowOf(stack, row)))).toEqual(stack);
    const texts = { data: ["a", "b", "c", "d"], dims: [2, 2] };
    expect(join([0, 1].map((row) => rowOf(texts, row)))).toEqual(texts);
  });

  test("are filled up with copies of the last one", () => {
    expect(padRows(stack, 5)).toEqual({ data: Float32Array.of(1, 2, 3, 4, 5, 6, 5, 6, 5, 6), dims: [5, 2] });
    expect(padRows(stack, 3)).toBe(stack);
  });

  test("are compared by their bytes", () => {
    expect(hasEqualRows({ data: Float32Array.of(Number.NaN, Number.NaN), dims: [2] })).toBe(true);
    expect(hasEqualRows(stack)).toBe(false);
    expect(hasEqualRows({ data: ["a", "a"], dims: [2, 1] })).toBe(true);
    expect(hasEqualRows({ data: ["a", "b"], dims: [2, 1] })).toBe(false);
  });
});

describe("batch axis", () => {
  test("moves behind other axes", () => {
    const batchFirst = { data: Int32Array.of(1, 2, 3, 4, 5, 6, 7, 8), dims: [2, 2, 2] };
    expect(toModelLayout(batchFirst, 1)).toEqual({
      data: Int32Array.of(1, 2, 5, 6, 3, 4, 7, 8),
      dims: [2, 2, 2],
    });
    expect(toModelLayout(batchFirst, 2)).toEqual({
      data: Int32Array.of(1, 5, 2, 6, 3, 7, 4, 8),
      dims: [2, 2, 2],
    });
    expect(toModelLayout(batchFirst, 0).data).toBe(batchFirst.data);
  });

  test("comes back for every shape and axis, also for strings", () => {
    const size = fc.integer({ min: 1, max: 4 });
    fc.assert(
      fc.property(size, fc.array(size, { maxLength: 3 }), fc.nat(3), (count, row, at) => {
        const axis = Math.min(at, row.length);
        const dims = [count, ...row];
        const length = dims.reduce((a, b) => a * b, 1);
        const numbers = { data: Float64Array.from({ length }, (_, index) => index), dims };
        const texts = { data: Array.from({ length }, (_, index) => `${index}`), dims };
        for (const original of [numbers, texts]) {
          const moved = toModelLayout(original, axis);
          expect(moved.dims[axis]).toBe(count);
          expect(fromModelLayout(moved, axis)).toEqual(original);
        }
      }),
    );
  });
});

function rows(...elements: readonly StringElement[]): Stack {
  return { data: elements, dims: [elements.length] };
}

describe("elements of string tensors", () => {
  test("are the text of just their bytes, whatever lies around them", () => {
    expect(stringElement(Buffer.from("one zwölf").subarray(4))).toBe("zwölf");
  });

  test("that are no text stay the bytes they are, and go back as they came", () => {
    const jpeg = Uint8Array.of(0xff, 0xd8, 0xff);
    const tensor = {
      name: "image",
      datatype: "BYTES",
      shape: [2],
      data: encodeBytes([jpeg, Buffer.from("é")]),
    } as const;
    const read = fromWire(tensor);
    expect(read.data).toEqual([jpeg, "é"]);
    expect(toWire(read, tensor).data).toEqual(tensor.data);
  });

  test("are equal in all rows when their bytes are", () => {
    expect(hasEqualRows(rows(Uint8Array.of(0xff), Buffer.of(0xff)))).toBe(true);
    expect(hasEqualRows(rows(Uint8Array.of(0xff), Uint8Array.of(0xfe)))).toBe(false);
    expect(hasEqualRows(rows("a", "a"))).toBe(true);
    expect(hasEqualRows(rows("a", "b"))).toBe(false);
  });
});
