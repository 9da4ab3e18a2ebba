// The Open Inference Protocol's binary body (JSON header, then packed little-endian tensors): write it, read it.
// Imports only protocol.ts, since frontend and container share it.
import { DATATYPE_BYTES, type Datatype, type TensorSpec } from "./protocol.ts";

/** One tensor of a call. `data` is packed, little-endian, row-major; a BYTES element is uint32 length + bytes. */
export interface Tensor {
  readonly name: string;
  readonly datatype: Datatype;
  readonly shape: readonly number[];
  readonly data: Uint8Array;
  readonly contentType?: string;
}

/** Says what is wrong with a body; callers turn it into their own error. */
export class TensorFormatError extends Error {
  override readonly name = "TensorFormatError";
}

/** One tensor as it stands in the JSON header of a body. */
export interface TensorHeader {
  readonly name: string;
  readonly datatype: Datatype;
  readonly shape: readonly number[];
  readonly parameters?: Readonly<Record<string, unknown>>;
  readonly data?: unknown;
}

export function elementCount(shape: readonly number[]): number {
  let count = 1;
  for (const size of shape) count *= size;
  return count;
}

/** `count` rows of zeros or empty elements, free dimensions 0: what stands for an output that no row has. */
export function emptyTensor(spec: TensorSpec, count: number): Tensor {
  const { name, datatype, contentType } = spec;
  const shape = [count, ...spec.shape.map((size) => Math.max(size, 0))];
  // An empty BYTES element is its length alone: four zero bytes.
  const data = new Uint8Array(elementCount(shape) * (DATATYPE_BYTES[datatype] || 4));
  const tensor = { name, datatype, shape, data };
  return contentType === undefined ? tensor : { ...tensor, contentType };
}

/** The header entry of a tensor that travels in binary. */
export function binaryHeader(tensor: Tensor): TensorHeader {
  return {
    name: tensor.name,
    datatype: tensor.datatype,
    shape: tensor.shape,
    parameters: {
      ...(tensor.contentType === undefined ? {} : { content_type: tensor.contentType }),
      binary_data_size: tensor.data.byteLength,
    },
  };
}

const encoder = new TextEncoder();

/**
 * JSON header (an object, or its text) as bytes, padded with spaces to a multiple of 8, so that the tensors behind
 * it can be viewed as typed arrays without a copy.
 */
export function encodeHeader(header: object | string): Uint8Array {
  const json = encoder.encode(typeof header === "string" ? header : JSON.stringify(header));
  const padded = new Uint8Array((json.byteLength + 7) & ~7).fill(0x20);
  padded.set(json);
  return padded;
}

/** Packs elements of a BYTES tensor. */
export function encodeBytes(elements: readonly Uint8Array[]): Uint8Array {
  let size = 0;
  for (const element of elements) size += 4 + element.byteLength;
  const packed = new Uint8Array(size);
  const view = new DataView(packed.buffer);
  let offset = 0;
  for (const element of elements) {
    view.setUint32(offset, element.byteLength, true);
    packed.set(element, offset + 4);
    offset += 4 + element.byteLength;
  }
  return packed;
}

/**
 * Views of the elements of a BYTES tensor.
 * @throws TensorFormatError when there are not exactly `count`
 */
export function decodeBytes(data: Uint8Array, count: number): Uint8Array[] {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const elements: Uint8Array[] = [];
  let offset = 0;
  while (offset < data.byteLength) {
    // A body of zeros would else make millions of empty elements before anybody counts them.
    if (elements.length === count) throw new TensorFormatError(`expected ${count} BYTES elements, got more`);
    if (offset + 4 > data.byteLength) throw new TensorFormatError("a BYTES element is cut off");
    const end = offset + 4 + view.getUint32(offset, true);
    if (end > data.byteLength) throw new TensorFormatError("a BYTES element is cut off");
    elements.push(data.subarray(offset + 4, end));
    offset = end;
  }
  if (elements.length !== count)
    throw new TensorFormatError(`expected ${count} BYTES elements, got ${elements.length}`);
  return elements;
}

/**
 * Cuts the binary tensors named by `headers` out of `body`, as views. Entries without `binary_data_size` (JSON
 * data) are skipped: they are the caller's.
 * @throws TensorFormatError when sizes do not add up to the body
 */
export function sliceBinary(
  headers: readonly TensorHeader[],
  body: Uint8Array,
  offset: number,
): Map<string, Uint8Array> {
  const slices = new Map<string, Uint8Array>();
  let at = offset;
  for (const header of headers) {
    const size = header.parameters?.["binary_data_size"];
    if (size === undefined) continue;
    if (typeof size !== "number" || !Number.isInteger(size) || size < 0 || at + size > body.byteLength) {
      throw new TensorFormatError(
        `tensor ${header.name}: binary_data_size ${JSON.stringify(size)} does not fit the body`,
      );
    }
    const width = DATATYPE_BYTES[header.datatype];
    if (width > 0 && elementCount(header.shape) * width !== size) {
      throw new TensorFormatError(
        `tensor ${header.name}: ${header.datatype} [${header.shape.join(",")}] takes ${elementCount(header.shape) * width} bytes, got ${size}`,
      );
    }
    slices.set(header.name, body.subarray(at, at + size));
    at += size;
  }
  if (at !== body.byteLength)
    throw new TensorFormatError(`${body.byteLength - at} bytes too many behind the tensors`);
  return slices;
}
