// Tensor data as JSON (`data` of the Open Inference Protocol) to packed bytes and back.
import { type ContentType, DATATYPE_BYTES, type Datatype } from "./protocol.ts";
import { decodeBytes, elementCount, encodeBytes, type Tensor, TensorFormatError } from "./tensors.ts";
import { bytesOf, isWithinBounds, type NumericDatatype, TYPED_ARRAYS, typedView } from "./typed-arrays.ts";

/** Element types of ragged rows. */
export const RAGGED_TYPES: Readonly<Record<string, NumericDatatype>> = {
  int32: "INT32",
  fp32: "FP32",
  fp64: "FP64",
};

/** Content type of ragged rows of `datatype`; undefined: such rows cannot be ragged. */
export function raggedContentType(datatype: Datatype): ContentType | undefined {
  return (["int32", "fp32", "fp64"] as const).find((name) => RAGGED_TYPES[name] === datatype);
}

/** Of the longest 64-bit integer, sign included. */
const MAX_INTEGER_LENGTH = 20;

const encoder = new TextEncoder();

/**
 * Parses a request. With `isExact`, whole numbers beyond 2^53 of up to 20 characters become BigInts: for requests that may hold 64-bit
 * integers, since the reviver costs several times the parse.
 * @throws SyntaxError
 */
export function parseJson(text: string, isExact: boolean): unknown {
  if (!isExact) return JSON.parse(text);
  return JSON.parse(text, ((_key: string, value: unknown, context?: { source?: string }) => {
    if (typeof value !== "number" || Number.isSafeInteger(value)) return value;
    const source = context?.source ?? "";
    // A longer one fits no datatype as an integer, and converting a megabyte of digits takes seconds.
    return source.length <= MAX_INTEGER_LENGTH && /^-?\d+$/.test(source) ? BigInt(source) : value;
  }) as (key: string, value: unknown) => unknown);
}

/**
 * Packs nested or flat `data` of a tensor. `raggedType` is set for BYTES that hold ragged rows: `data` then is a
 * list of number lists.
 * @throws TensorFormatError
 */
export function packJson(
  data: unknown,
  tensor: { readonly datatype: Datatype; readonly shape: readonly number[] },
  raggedType?: NumericDatatype,
): Uint8Array {
  if (!Array.isArray(data)) throw new TensorFormatError(`"data" must be a list, got ${kindOf(data)}`);
  const count = elementCount(tensor.shape);
  if (raggedType !== undefined) return packRagged(data, count, raggedType);
  if (tensor.datatype === "BYTES") return encodeBytes(flatten(data, count).map(utf8));
  return packNumbers(flatten(data, count), tensor.datatype);
}

function packRagged(rows: readonly unknown[], count: number, datatype: NumericDatatype): Uint8Array {
  checkCount(rows.length, count);
  return encodeBytes(
    rows.map((row) => {
      if (!Array.isArray(row))
        throw new TensorFormatError(`a row must be a list of numbers, got ${kindOf(row)}`);
      return packNumbers(row, datatype);
    }),
  );
}

function packNumbers(values: readonly unknown[], datatype: NumericDatatype): Uint8Array {
  refuseHalf(datatype, "send it");
  const array = new TYPED_ARRAYS[datatype](new ArrayBuffer(values.length * DATATYPE_BYTES[datatype]));
  const writable = array as { [index: number]: number | bigint };
  const convert = CONVERSIONS[datatype] ?? integer;
  for (const [index, value] of values.entries()) {
    const element = convert(value, datatype);
    if (element === undefined)
      throw new TensorFormatError(`element ${index} is ${shown(value)}, which is not ${datatype}`);
    writable[index] = element;
  }
  return bytesOf(array);
}

function refuseHalf(datatype: NumericDatatype, what: string): void {
  if (datatype === "FP16" || datatype === "BF16")
    throw new TensorFormatError(`JSON cannot hold ${datatype}; ${what} as binary tensor data`);
}

/** An element as a typed array takes it; undefined: it does not fit the datatype. */
type Conversion = (value: unknown, datatype: NumericDatatype) => number | bigint | undefined;

const CONVERSIONS: Partial<Record<NumericDatatype, Conversion>> = {
  FP32: floating,
  FP64: floating,
  BOOL: boolean,
  INT64: wide,
  UINT64: wide,
};

// null, and names in quotes, stand for what JSON has no numbers for: other servers' clients send them.
function floating(value: unknown): number | undefined {
  if (typeof value === "number") return value;
  if (typeof value === "bigint") return Number(value);
  if (value === null || value === "NaN") return Number.NaN;
  if (value === "Infinity") return Number.POSITIVE_INFINITY;
  return value === "-Infinity" ? Number.NEGATIVE_INFINITY : undefined;
}

function boolean(value: unknown): number | undefined {
  if (value === true || value === 1) return 1;
  return value === false || value === 0 ? 0 : undefined;
}

function wide(value: unknown, datatype: NumericDatatype): bigint | undefined {
  if (typeof value === "bigint") return isWithinBounds(value, datatype) ? value : undefined;
  const element = integer(value, datatype);
  return element === undefined ? undefined : BigInt(element);
}

function integer(value: unknown, datatype: NumericDatatype): number | undefined {
  return typeof value === "number" && Number.isInteger(value) && isWithinBounds(value, datatype)
    ? value
    : undefined;
}

function utf8(value: unknown): Uint8Array {
  if (typeof value === "string") return encoder.encode(value);
  throw new TensorFormatError(`BYTES elements are strings in JSON, got ${kindOf(value)}`);
}

/** Deeper nesting than any tensor has; keeps the recursion bounded. */
const MAX_DEPTH = 64;

function flatten(data: readonly unknown[], count: number): readonly unknown[] {
  const flat: readonly unknown[] = data.some(Array.isArray) ? data.flat(MAX_DEPTH) : data;
  checkCount(flat.length, count);
  return flat;
}

function checkCount(got: number, expected: number): void {
  if (got !== expected)
    throw new TensorFormatError(`the shape takes ${expected} elements, "data" has ${got}`);
}

/**
 * JSON text of a tensor's `data`: a flat list. 64-bit integers keep all digits, what is not finite becomes null,
 * ragged rows are lists of numbers.
 * @throws TensorFormatError for FP16 and BF16
 */
export function jsonText(tensor: Tensor): string {
  const { datatype, data } = tensor;
  if (datatype !== "BYTES") return numbersText(data, datatype);
  const elements = decodeBytes(data, elementCount(tensor.shape));
  const raggedType = RAGGED_TYPES[tensor.contentType ?? ""];
  const texts = elements.map((item) =>
    raggedType === undefined
      ? JSON.stringify(bufferOf(item).toString("utf8"))
      : numbersText(item, raggedType),
  );
  return `[${texts.join(",")}]`;
}

function bufferOf(data: Uint8Array): Buffer {
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength);
}

function numbersText(data: Uint8Array, datatype: NumericDatatype): string {
  refuseHalf(datatype, "ask for it");
  if (datatype === "BOOL") return `[${Array.from(data, (value) => value !== 0).join(",")}]`;
  const array = typedView(data, datatype);
  const isFloat = datatype === "FP32" || datatype === "FP64";
  return isFloat ? JSON.stringify(Array.from<unknown>(array)) : `[${array.join(",")}]`;
}

function kindOf(value: unknown): string {
  if (value === null) return "null";
  return Array.isArray(value) ? "a list" : typeof value;
}

function shown(value: unknown): string {
  const text = typeof value === "bigint" ? `${value}` : (JSON.stringify(value) ?? "nothing");
  return text.length > 40 ? `${text.slice(0, 40)}…` : text;
}
