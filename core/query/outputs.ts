// One query's output, from the packed tensors of its batch to JSON text. Text that a model wrote is never parsed.
import { isUtf8 } from "node:buffer";
import type { ContentType, Datatype, Manifest, TensorSpec } from "../../containers/protocol.ts";
import { DATATYPE_BYTES } from "../../containers/protocol.ts";
import { elementCount, type Tensor } from "../../containers/tensors.ts";
import { InvalidModelOutputError, isNodeError } from "../errors.ts";
import type { HalfView } from "./elements.ts";
import { floatText } from "./float-text.ts";
import { BatchOutputs } from "./query.ts";

/**
 * JSON text of the output of the query at `index`: the bare value of a single output, several as an object by name.
 *
 * - JSON content is spliced as the model wrote it: `1.0` stays `1.0`.
 * - Tensors are arrays nested by their shape, scalars for shape []; FP32 as its shortest decimal, 64-bit integers
 *   with all digits, BOOL as true or false, strings as strings, bytes as base64; where nobody says which of
 *   both they are, as strings, or `{"b64": …}` if they are no text. NaN and infinities are null.
 *
 * @throws InvalidModelOutputError when an output of the contract is not there, or its text too long for one string
 */
export function outputJson(manifest: Manifest, outputs: BatchOutputs, index: number): string {
  try {
    return rowText(manifest, outputs, index);
  } catch (error) {
    const isTooLong =
      error instanceof RangeError || (isNodeError(error) && error.code === "ERR_STRING_TOO_LONG");
    if (!isTooLong) throw error;
    throw new InvalidModelOutputError(
      "the model's output is longer than the 512 MiB of text that can be answered; have the model return less",
      { cause: error },
    );
  }
}

function rowText(manifest: Manifest, outputs: BatchOutputs, index: number): string {
  const specs = manifest.contract.outputs;
  const rows = manifest.contract.isBatched;
  const [only] = specs;
  if (only !== undefined && specs.length === 1) {
    return valueText({ outputs, tensor: find(outputs, only), spec: only, row: rows ? index : undefined });
  }
  const members = specs.map((spec) => {
    const tensor = find(outputs, spec);
    const text = valueText({ outputs, tensor, spec, row: rows ? index : undefined });
    return `${JSON.stringify(spec.name)}:${text}`;
  });
  return `{${members.join(",")}}`;
}

function find(outputs: BatchOutputs, spec: TensorSpec): Tensor {
  const tensor = outputs.tensors.find(({ name }) => name === spec.name);
  if (tensor !== undefined) return tensor;
  const names = outputs.tensors.map(({ name }) => `"${name}"`).join(", ");
  throw new InvalidModelOutputError(
    `the model's answer lacks the output "${spec.name}" of its contract; it holds ${names === "" ? "none" : names}`,
    { details: { output: spec.name } },
  );
}

/** One output of one query; `row` undefined: the whole tensor is the query's. */
interface OutputValue {
  readonly outputs: BatchOutputs;
  readonly tensor: Tensor;
  readonly spec: TensorSpec;
  readonly row: number | undefined;
}

/** A tensor's elements as a flat JSON list; JSON content as strings. What is not finite is null. */
export function flatText(tensor: Tensor): string {
  const count = elementCount(tensor.shape);
  if (tensor.datatype !== "BYTES") return nest(numbersText(tensor, 0, count), [count], 0, { next: 0 });
  const outputs = new BatchOutputs([tensor], 1);
  const shown = tensor.contentType === "json" ? { ...tensor, contentType: "str" } : tensor;
  const spec = { name: tensor.name, datatype: tensor.datatype, shape: [count] };
  return nest(bytesText({ outputs, tensor: shown, spec, row: undefined }, 0), [count], 0, { next: 0 });
}

type ElementText = (index: number) => string;

function valueText(value: OutputValue): string {
  const { tensor, row } = value;
  const shape = row === undefined ? tensor.shape : tensor.shape.slice(1);
  const count = elementCount(shape);
  const first = (row ?? 0) * count;
  const text = tensor.datatype === "BYTES" ? bytesText(value, first) : numbersText(tensor, first, count);
  return nest(text, shape, 0, { next: 0 });
}

/** Arrays nested by shape around the elements' texts. */
// oxlint-disable-next-line max-params
function nest(text: ElementText, shape: readonly number[], axis: number, at: { next: number }): string {
  const size = shape[axis];
  if (size === undefined) return text(at.next++);
  let list = "[";
  for (let index = 0; index < size; index += 1) {
    if (index > 0) list += ",";
    list += axis === shape.length - 1 ? text(at.next++) : nest(text, shape, axis + 1, at);
  }
  return `${list}]`;
}

function bytesText({ outputs, tensor, spec }: OutputValue, first: number): ElementText {
  const elements = outputs.elements(tensor);
  const content = (tensor.contentType ?? spec.contentType) as ContentType | undefined;
  const vector = content === undefined ? undefined : VECTORS[content];
  return (index) => {
    const element = elements[first + index] ?? new Uint8Array();
    if (vector !== undefined) {
      const length = element.byteLength / DATATYPE_BYTES[vector];
      const numbers: Tensor = { name: tensor.name, datatype: vector, shape: [length], data: element };
      return nest(numbersText(numbers, 0, length), [length], 0, { next: 0 });
    }
    const bytes = Buffer.from(element.buffer, element.byteOffset, element.byteLength);
    if (content === "json") return bytes.toString();
    if (content === "bytes") return `"${bytes.toString("base64")}"`;
    if (content === undefined && !isUtf8(bytes)) return `{"b64":"${bytes.toString("base64")}"}`;
    return JSON.stringify(bytes.toString());
  };
}

/** Element types of vectors that travel as one BYTES element (ragged rows). */
const VECTORS: Readonly<Partial<Record<ContentType, Exclude<Datatype, "BYTES">>>> = {
  int32: "INT32",
  fp32: "FP32",
  fp64: "FP64",
};

function numbersText(tensor: Tensor, first: number, count: number): ElementText {
  const datatype = tensor.datatype as Exclude<Datatype, "BYTES">;
  const width = DATATYPE_BYTES[datatype];
  const start = tensor.data.byteOffset + first * width;
  const isAligned = start % width === 0;
  const end = (first + count) * width;
  // A typed array needs aligned bytes; behind tensors of other widths they may not be.
  // Not slice(): that of a Buffer copies nothing.
  const buffer = isAligned
    ? tensor.data.buffer
    : new Uint8Array(tensor.data.subarray(first * width, end)).buffer;
  return READERS[datatype](buffer, isAligned ? start : 0, count);
}

type Reader = (buffer: ArrayBufferLike, offset: number, count: number) => ElementText;

type NumberArrayClass = new (
  buffer: ArrayBufferLike,
  offset: number,
  count: number,
) => ArrayLike<number | bigint>;

function plain(ArrayClass: NumberArrayClass): Reader {
  return (buffer, offset, count) => {
    const array = new ArrayClass(buffer, offset, count);
    return (index) => String(array[index]);
  };
}

const READERS: Readonly<Record<Exclude<Datatype, "BYTES">, Reader>> = {
  BOOL: (buffer, offset, count) => {
    const array = new Uint8Array(buffer, offset, count);
    return (index) => (array[index] === 0 ? "false" : "true");
  },
  INT8: plain(Int8Array),
  INT16: plain(Int16Array),
  INT32: plain(Int32Array),
  INT64: plain(BigInt64Array),
  UINT8: plain(Uint8Array),
  UINT16: plain(Uint16Array),
  UINT32: plain(Uint32Array),
  UINT64: plain(BigUint64Array),
  FP16: (buffer, offset, count) => {
    const view = new DataView(buffer, offset, count * 2) as HalfView;
    return (index) => floatText(view.getFloat16(index * 2, true), "FP16");
  },
  BF16: (buffer, offset, count) => {
    const upper = new Uint16Array(buffer, offset, count);
    const cell = new DataView(new ArrayBuffer(4));
    return (index) => {
      cell.setUint16(0, upper[index] ?? 0);
      return floatText(cell.getFloat32(0), "BF16");
    };
  },
  FP32: (buffer, offset, count) => {
    const array = new Float32Array(buffer, offset, count);
    return (index) => floatText(array[index] as number, "FP32");
  },
  FP64: (buffer, offset, count) => {
    const array = new Float64Array(buffer, offset, count);
    return (index) => {
      const value = array[index] as number;
      return Number.isFinite(value) ? String(value) : "null";
    };
  },
};
