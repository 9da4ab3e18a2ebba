// Rows stacked into one tensor, batch axis first: cut, join, move the axis, to and from the wire.
import { isUtf8 } from "node:buffer";
import type { TensorSpec } from "../protocol.ts";
import { decodeBytes, elementCount, encodeBytes, type Tensor } from "../tensors.ts";
import { bytesOf, typedView } from "../typed-arrays.ts";
import type { RowTensor, StringElement, TensorData } from "./settings.ts";

/** `dims` has the rows on its first axis. */
export interface Stack {
  readonly data: TensorData;
  readonly dims: readonly number[];
}

/** A view where the bytes are aligned. */
export function fromWire(tensor: Tensor): Stack {
  const { datatype, data, shape } = tensor;
  if (datatype !== "BYTES") return { data: typedView(data, datatype), dims: shape };
  return { data: decodeBytes(data, elementCount(shape)).map(stringElement), dims: shape };
}

/** Text as a string; other bytes, which would come out as other ones, as they are. */
export function stringElement(bytes: Uint8Array): StringElement {
  if (!isUtf8(bytes)) return bytes;
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8");
}

/** Bytes of an element of a string tensor. */
export function elementBytes(element: StringElement): Uint8Array {
  return typeof element === "string" ? Buffer.from(element) : element;
}

/** Not copied, but for strings. */
export function toWire({ data, dims }: Stack, spec: TensorSpec): Tensor {
  const { name, datatype, contentType } = spec;
  const bytes = ArrayBuffer.isView(data) ? bytesOf(data) : encodeBytes(data.map(elementBytes));
  const tensor = { name, datatype, shape: dims, data: bytes };
  return contentType === undefined ? tensor : { ...tensor, contentType };
}

/** One row, as a view. */
export function rowOf({ data, dims }: Stack, row: number): RowTensor {
  const inner = dims.slice(1);
  const size = elementCount(inner);
  return { data: cut(data, row * size, (row + 1) * size), dims: inner };
}

/** Some rows, as a view. */
export function rowsOf({ data, dims }: Stack, start: number, end: number): Stack {
  const inner = dims.slice(1);
  const size = elementCount(inner);
  return { data: cut(data, start * size, end * size), dims: [end - start, ...inner] };
}

/** Joins rows of equal dims. @throws RangeError for an empty list */
export function join(rows: readonly RowTensor[]): Stack {
  const [first] = rows;
  if (first === undefined) throw new RangeError("no rows to join");
  const dims = [rows.length, ...first.dims];
  if (rows.length === 1) return { data: first.data, dims };
  if (!ArrayBuffer.isView(first.data))
    return { data: rows.flatMap(({ data }) => data as readonly StringElement[]), dims };
  const size = elementCount(first.dims);
  const joined = allocate(first.data, size * rows.length);
  for (const [index, { data }] of rows.entries()) write(joined, data, index * size);
  return { data: joined, dims };
}

/** Fills up to `count` rows with copies of the last one. */
export function padRows(stack: Stack, count: number): Stack {
  const [length = 0] = stack.dims;
  if (length >= count) return stack;
  return join(Array.from({ length: count }, (_, row) => rowOf(stack, Math.min(row, length - 1))));
}

/** True when every row holds the same. */
export function hasEqualRows(stack: Stack): boolean {
  const [count = 0] = stack.dims;
  const first = rowOf(stack, 0).data;
  for (let row = 1; row < count; row += 1) if (!areEqual(first, rowOf(stack, row).data)) return false;
  return true;
}

/** Moves the first axis to `axis`, as the model has it. Copies where that changes the order of the elements. */
export function toModelLayout({ data, dims }: Stack, axis: number): RowTensor {
  const [count = 0, ...inner] = dims;
  const moved = [...inner.slice(0, axis), count, ...inner.slice(axis)];
  return {
    data: swap(data, [count, elementCount(inner.slice(0, axis)), elementCount(inner.slice(axis))]),
    dims: moved,
  };
}

/** The reverse of `toModelLayout`. */
export function fromModelLayout({ data, dims }: RowTensor, axis: number): Stack {
  const before = dims.slice(0, axis);
  const count = dims[axis] ?? 0;
  const after = dims.slice(axis + 1);
  return {
    data: swap(data, [elementCount(before), count, elementCount(after)]),
    dims: [count, ...before, ...after],
  };
}

/** [a, b, size] to [b, a, size]. */
function swap(data: TensorData, [a, b, size]: readonly [number, number, number]): TensorData {
  if (a <= 1 || b <= 1) return data;
  const swapped = allocate(data, data.length);
  for (let i = 0; i < a; i += 1)
    for (let j = 0; j < b; j += 1) {
      const from = (i * b + j) * size;
      write(swapped, cut(data, from, from + size), (j * a + i) * size);
    }
  return swapped;
}

function cut(data: TensorData, start: number, end: number): TensorData {
  return ArrayBuffer.isView(data) ? data.subarray(start, end) : data.slice(start, end);
}

/** Of the same kind, filled with zeros or empty strings. */
export function allocate(like: TensorData, length: number): TensorData {
  if (!ArrayBuffer.isView(like)) return Array.from({ length }, () => "");
  const TypedArray = like.constructor as new (
    length: number,
  ) => Exclude<TensorData, readonly StringElement[]>;
  return new TypedArray(length);
}

function write(target: TensorData, source: TensorData, offset: number): void {
  if (ArrayBuffer.isView(target)) {
    (target as { set(values: ArrayLike<unknown>, offset: number): void }).set(source, offset);
  } else {
    (target as StringElement[]).splice(offset, source.length, ...(source as readonly StringElement[]));
  }
}

function areEqual(a: TensorData, b: TensorData): boolean {
  if (ArrayBuffer.isView(a) && ArrayBuffer.isView(b)) return Buffer.compare(bytesOf(a), bytesOf(b)) === 0;
  if (ArrayBuffer.isView(a) || ArrayBuffer.isView(b)) return false;
  return a.every((element, index) => {
    const other = b[index] ?? "";
    return element === other || Buffer.compare(elementBytes(element), elementBytes(other)) === 0;
  });
}
