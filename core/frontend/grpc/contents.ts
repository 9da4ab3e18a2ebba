// Tensors of gRPC messages, typed or raw, to packed bytes and back.
import { DATATYPE_BYTES, type Datatype } from "../../../containers/protocol.ts";
import { decodeBytes, elementCount, encodeBytes } from "../../../containers/tensors.ts";
import { InvalidInputError } from "../../errors.ts";
import { packData } from "../dialects/oip/json-data.ts";
import { dataOf, type JoinedTensor } from "../dialects/oip/output-tensors.ts";

type NumberArrayClass = new (
  buffer: ArrayBufferLike,
  offset: number,
  count: number,
) => ArrayLike<number | bigint> & { readonly buffer: ArrayBufferLike };

interface TypedField {
  /** Of InferTensorContents. */
  readonly name: string;
  readonly array: NumberArrayClass;
}

type Typed = Exclude<Datatype, "BYTES" | "FP16" | "BF16">;

const TYPED_FIELDS: Readonly<Record<Typed, TypedField>> = {
  BOOL: { name: "bool_contents", array: Uint8Array },
  INT8: { name: "int_contents", array: Int8Array },
  INT16: { name: "int_contents", array: Int16Array },
  INT32: { name: "int_contents", array: Int32Array },
  INT64: { name: "int64_contents", array: BigInt64Array },
  UINT8: { name: "uint_contents", array: Uint8Array },
  UINT16: { name: "uint_contents", array: Uint16Array },
  UINT32: { name: "uint_contents", array: Uint32Array },
  UINT64: { name: "uint64_contents", array: BigUint64Array },
  FP32: { name: "fp32_contents", array: Float32Array },
  FP64: { name: "fp64_contents", array: Float64Array },
};

/** InferTensorContents; 64-bit integers as decimal text. */
export type Contents = Readonly<Record<string, readonly unknown[]>>;

/** A typed input. */
export interface TypedInput {
  readonly name: string;
  readonly datatype: Datatype;
  readonly shape: readonly number[];
}

export function isHalf(datatype: Datatype): datatype is "FP16" | "BF16" {
  return datatype === "FP16" || datatype === "BF16";
}

/** @throws InvalidInputError when there are not as many elements as the shape takes, or they are none of the datatype */
export function packContents(contents: Contents | null, { name, datatype, shape }: TypedInput): Uint8Array {
  if (isHalf(datatype))
    throw new InvalidInputError(
      `input "${name}": ${datatype} has no typed contents; send raw_input_contents`,
    );
  const field = datatype === "BYTES" ? "bytes_contents" : TYPED_FIELDS[datatype].name;
  const values = contents?.[field] ?? [];
  const count = elementCount(shape);
  if (values.length !== count) {
    throw new InvalidInputError(
      `input "${name}": its shape takes ${count} elements, contents.${field} has ${values.length}`,
    );
  }
  if (datatype === "BYTES") return encodeBytes(values as readonly Uint8Array[]);
  // Infinities and NaN are elements here like all others.
  if (datatype === "FP32") return bytesOf(Float32Array.from(values as readonly number[]));
  if (datatype === "FP64") return bytesOf(Float64Array.from(values as readonly number[]));
  const isWide = datatype === "INT64" || datatype === "UINT64";
  const data = isWide ? values.map((value) => BigInt(String(value))) : values;
  return packData(data, { name, datatype, count, contentType: undefined });
}

function bytesOf({ buffer }: { readonly buffer: ArrayBufferLike }): Uint8Array {
  return new Uint8Array(buffer);
}

/** Typed contents of an output that is not FP16 or BF16. */
export function contentsOf(tensor: JoinedTensor): Contents {
  const { datatype, shape, size } = tensor;
  const data = dataOf(tensor);
  if (datatype === "BYTES")
    return { bytes_contents: decodeBytes(data, elementCount(shape)).map((element) => bufferOf(element)) };
  const { name, array } = TYPED_FIELDS[datatype as Typed];
  const aligned = data.byteOffset % DATATYPE_BYTES[datatype] === 0 ? data : new Uint8Array(data);
  const count = size / DATATYPE_BYTES[datatype];
  const values = Array.from(new array(aligned.buffer, aligned.byteOffset, count));
  if (datatype === "BOOL") return { [name]: values.map((value) => value !== 0) };
  return { [name]: datatype.endsWith("INT64") ? values.map(String) : values };
}

function bufferOf(data: Uint8Array): Buffer {
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength);
}
