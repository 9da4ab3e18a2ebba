// Typed arrays by datatype: views of packed tensor data, copied only where they are not aligned.
import { type Datatype, DATATYPE_BYTES } from "./protocol.ts";

export type NumericArray =
  | Float32Array
  | Float64Array
  | Float16Array
  | Int8Array
  | Int16Array
  | Int32Array
  | BigInt64Array
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | BigUint64Array;

export type NumericDatatype = Exclude<Datatype, "BYTES">;

type Construct = new (buffer: ArrayBufferLike, byteOffset?: number, length?: number) => NumericArray;

/** BOOL elements are bytes of 0 and 1; BF16, which JavaScript has no array for, are raw 16-bit words. */
export const TYPED_ARRAYS: Readonly<Record<NumericDatatype, Construct>> = {
  BOOL: Uint8Array,
  UINT8: Uint8Array,
  UINT16: Uint16Array,
  UINT32: Uint32Array,
  UINT64: BigUint64Array,
  INT8: Int8Array,
  INT16: Int16Array,
  INT32: Int32Array,
  INT64: BigInt64Array,
  FP16: Float16Array,
  BF16: Uint16Array,
  FP32: Float32Array,
  FP64: Float64Array,
};

/** Least and greatest element, of the datatypes whose arrays would wrap others silently. */
export const INTEGER_BOUNDS: Readonly<
  Partial<Record<NumericDatatype, readonly [number | bigint, number | bigint]>>
> = {
  BOOL: [0, 1],
  UINT8: [0, 0xff],
  UINT16: [0, 0xffff],
  UINT32: [0, 0xffff_ffff],
  UINT64: [0, 2n ** 64n - 1n],
  INT8: [-0x80, 0x7f],
  INT16: [-0x8000, 0x7fff],
  INT32: [-0x8000_0000, 0x7fff_ffff],
  INT64: [-(2n ** 63n), 2n ** 63n - 1n],
  BF16: [0, 0xffff],
};

export function isWithinBounds(value: number | bigint, datatype: NumericDatatype): boolean {
  const [least, most] = INTEGER_BOUNDS[datatype] ?? [-Infinity, Infinity];
  return value >= least && value <= most;
}

/** Typed array over `data`; a copy only where the bytes are not aligned to the element size. */
export function typedView(data: Uint8Array, datatype: NumericDatatype): NumericArray {
  const width = DATATYPE_BYTES[datatype];
  const aligned = data.byteOffset % width === 0 ? data : new Uint8Array(data);
  return new TYPED_ARRAYS[datatype](aligned.buffer, aligned.byteOffset, aligned.byteLength / width);
}

/** The bytes of a typed array, not copied. */
export function bytesOf(array: ArrayBufferView): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}
