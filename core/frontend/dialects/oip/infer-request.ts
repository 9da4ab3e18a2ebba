// The body of an inference request over REST: JSON, binary tensors behind a JSON header, or one raw tensor.
import type { Contract, JsonValue, Manifest, TensorSpec } from "../../../../containers/protocol.ts";
import { DATATYPE_BYTES, HEADERS } from "../../../../containers/protocol.ts";
import { elementCount } from "../../../../containers/tensors.ts";
import { InvalidInputError, InvalidJsonError, InvalidRequestError } from "../../../errors.ts";
import { LOWEST_PRIORITY } from "../../../query/query.ts";
import { describeValue } from "../../../query/rows.ts";
import { endOfString, parseJson } from "../../json-text.ts";
import { datatypeOf, type Fields, flag, natural, objectOf, parametersOf, shapeOf } from "./fields.ts";
import type { InputTensor } from "./input-rows.ts";
import type { NumberList } from "./data-cutter.ts";
import { type JsonTensor, packData, wrongCount } from "./json-data.ts";

/** An output that the caller asks for. */
interface RequestedOutput {
  readonly name: string;
  /** Most likely classes to give in place of the numbers; 0: the numbers. */
  readonly classes: number;
  /** Undefined: as `InferRequest.isBinary` says. */
  readonly isBinary: boolean | undefined;
}

/** A request of any form, read. */
export interface InferRequest {
  readonly id: string | undefined;
  readonly inputs: readonly InputTensor[];
  /** Empty: all. */
  readonly outputs: readonly RequestedOutput[];
  /** Outputs that say nothing else travel in binary. */
  readonly isBinary: boolean;
  readonly options: InferOptions;
}

/** What the reserved parameters ask for. */
export interface InferOptions {
  readonly timeoutMs: number | undefined;
  readonly priority: number | undefined;
}

const EXPECTED = '{"inputs": [{"name": …, "shape": […], "datatype": …, "data": […]}]}';

/**
 * @param headerText the request's inference-header-content-length
 * @param parse in place of `parseInferJson` for the header of binary tensors
 * @throws InvalidJsonError, InvalidRequestError, InvalidInputError
 */
// oxlint-disable-next-line max-params
export function readInferRequest(
  manifest: Manifest,
  body: Buffer,
  headerText: string | undefined,
  parse: typeof parseInferJson = parseInferJson,
): InferRequest {
  const length = headerLength(headerText, body.byteLength);
  if (length === 0) return rawRequest(manifest, body);
  const jsonBytes = length ?? body.byteLength;
  const parseIt = length === undefined ? parseInferJson : parse;
  const fields = parseIt(body.subarray(0, jsonBytes), hasWideIntegers(manifest));
  return requestOf(fields, { jsonBytes, tensors: body.subarray(jsonBytes), at: 0 });
}

function headerLength(text: string | undefined, most: number): number | undefined {
  if (text === undefined) return undefined;
  const length = /^\d{1,15}$/.test(text.trim()) ? Number(text) : Number.NaN;
  if (length <= most) return length;
  throw new InvalidRequestError(
    `${HEADERS.inferenceHeaderLength}: expected a number of bytes up to the body's ${most}, got ${describeValue(text)}`,
  );
}

/** Numbers of the inputs may be such that a double would round; false where no contract is known. */
export function hasWideIntegers(manifest: Manifest | undefined): boolean {
  return (
    manifest?.contract.inputs.some(({ datatype }) => datatype === "INT64" || datatype === "UINT64") ?? false
  );
}

/** As JSON, but takes the bare NaN and Infinity that some servers and clients write. @throws InvalidJsonError */
export function parseInferJson(body: Buffer, keepsIntegers: boolean): Fields {
  let value: JsonValue;
  try {
    value = parseJson(body, { expected: EXPECTED, keepsIntegers });
  } catch (error) {
    if (!(error instanceof InvalidJsonError) || !(body.includes("NaN") || body.includes("Infinity")))
      throw error;
    value = parseJson(withoutBareNumbers(body), { expected: EXPECTED, keepsIntegers });
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Fields;
  throw new InvalidRequestError(`expected a JSON object ${EXPECTED}, got ${describeValue(value)}`);
}

/** Bare numbers by their first byte, and what stands for them in JSON. */
const BARE: ReadonlyMap<number | undefined, readonly [bare: Buffer, inJson: Buffer]> = new Map(
  [
    ["NaN", "null"],
    ["Infinity", '"Infinity"'],
    ["-Infinity", '"-Infinity"'],
  ].map(([bare = "", inJson = ""]) => [bare.charCodeAt(0), [Buffer.from(bare), Buffer.from(inJson)]]),
);
const QUOTE = 0x22;

/** What is in strings stays. Each byte is looked at once, whatever is never closed. */
function withoutBareNumbers(body: Buffer): Buffer {
  const parts: Buffer[] = [];
  let taken = 0;
  for (let at = 0; at < body.length; at += 1) {
    if (body[at] === QUOTE) {
      at = endOfString(body, at);
      continue;
    }
    const [bare, inJson] = BARE.get(body[at]) ?? [];
    if (bare === undefined || inJson === undefined || !bare.equals(body.subarray(at, at + bare.length)))
      continue;
    parts.push(body.subarray(taken, at), inJson);
    taken = at + bare.length;
    at = taken - 1;
  }
  return Buffer.concat([...parts, body.subarray(taken)]);
}

/** What follows the JSON has to be some input's, all of it. @throws InvalidRequestError, InvalidInputError */
export function requestOf(fields: Fields, cursor: Cursor): InferRequest {
  const { inputs: listed, outputs: wanted, id } = fields;
  if (!Array.isArray(listed)) {
    throw new InvalidRequestError(`inputs: expected a list of tensors, got ${describeValue(listed)}`);
  }
  if (isGiven(id) && typeof id !== "string")
    throw new InvalidRequestError(`id: expected a string, got ${describeValue(id)}`);
  const inputs = listed.map((input: JsonValue, index) =>
    inputOf(objectOf(input, `inputs[${index}]`), cursor),
  );
  if (cursor.at !== cursor.tensors.byteLength) {
    throw new InvalidRequestError(
      `the binary inputs take ${cursor.at} bytes behind the header, and ${cursor.tensors.byteLength} came`,
    );
  }
  const parameters = parametersOf(fields, "parameters");
  return {
    id: typeof id === "string" ? id : undefined,
    inputs,
    outputs: outputsOf(wanted),
    isBinary: flag(parameters["binary_data_output"], "binary_data_output") ?? false,
    options: optionsOf(parameters),
  };
}

/** Where the next binary input begins. */
interface Cursor {
  /** Length of the header. */
  readonly jsonBytes: number;
  readonly tensors: Buffer;
  /** Lists of numbers that were cut out of the JSON: an input's `data` is a place among them. */
  readonly lists?: readonly NumberList[];
  at: number;
}

function inputOf(fields: Fields, cursor: Cursor): InputTensor {
  const { name } = fields;
  if (typeof name !== "string")
    throw new InvalidRequestError(`an input's name: expected a string, got ${describeValue(name)}`);
  const parameters = parametersOf(fields, `input "${name}": parameters`);
  const tensor = { name, datatype: datatypeOf(fields), shape: shapeOf(fields) };
  const contentType = parameters["content_type"];
  const content = typeof contentType === "string" ? { contentType } : {};
  const data = fields["data"] ?? undefined;
  if (isGiven(parameters["shared_memory_region"]))
    throw new InvalidRequestError(`input "${name}": shared memory is not supported; send the data`);
  const size = parameters["binary_data_size"] ?? undefined;
  if ((size === undefined) === (data === undefined)) {
    throw new InvalidRequestError(
      `input "${name}": expected either data or parameters.binary_data_size, got ${size === undefined ? "none" : "both"}`,
    );
  }
  if (size !== undefined) return { ...tensor, ...content, data: slice(name, size, cursor) };
  const count = elementCount(tensor.shape);
  // Memory is reserved by the shape, which costs the caller nothing to write.
  if (count > cursor.jsonBytes)
    throw new InvalidInputError(`input "${name}": its shape takes ${count} elements, data has fewer`);
  const packed = packedOf(data, { ...tensor, count, contentType: content.contentType }, cursor);
  // What was base64 is bytes now.
  return { ...tensor, ...(contentType === "base64" ? {} : content), data: packed };
}

/** @throws InvalidInputError */
function packedOf(data: JsonValue | undefined, tensor: JsonTensor, { lists }: Cursor): Uint8Array {
  const list = typeof data === "number" ? lists?.[data] : undefined;
  if (list === undefined) return packData(data, tensor);
  const { name, datatype, count } = tensor;
  if (list.datatype !== datatype || list.count !== count) throw wrongCount(name, count, list.count);
  return list.data;
}

function isGiven(value: JsonValue | undefined): boolean {
  return value !== undefined && value !== null;
}

function slice(name: string, size: JsonValue, cursor: Cursor): Uint8Array {
  const start = cursor.at;
  const left = cursor.tensors.byteLength - start;
  if (typeof size !== "number" || !Number.isSafeInteger(size) || size < 0 || size > left) {
    throw new InvalidRequestError(
      `input "${name}": expected a binary_data_size up to the ${left} bytes that are left of the body, got ${describeValue(size)}`,
    );
  }
  cursor.at += size;
  return cursor.tensors.subarray(start, cursor.at);
}

function outputsOf(value: JsonValue | undefined): readonly RequestedOutput[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value))
    throw new InvalidRequestError(`outputs: expected a list, got ${describeValue(value)}`);
  return value.map((output: JsonValue, index) => {
    const fields = objectOf(output, `outputs[${index}]`);
    const { name } = fields;
    if (typeof name !== "string")
      throw new InvalidRequestError(`outputs[${index}].name: expected a string, got ${describeValue(name)}`);
    const parameters = parametersOf(fields, `output "${name}": parameters`);
    if (isGiven(parameters["shared_memory_region"]))
      throw new InvalidRequestError(`output "${name}": shared memory is not supported`);
    const classes = natural(parameters["classification"], `output "${name}": classification`) ?? 0;
    return { name, classes, isBinary: flag(parameters["binary_data"], `output "${name}": binary_data`) };
  });
}

/**
 * The whole body is the model's only input, a batch of one. Outputs come back in binary.
 * @throws InvalidRequestError for models to whom this is not possible
 */
function rawRequest({ contract }: Manifest, body: Buffer): InferRequest {
  const spec = rawInput(contract);
  if (spec === undefined) {
    throw new InvalidRequestError(
      "a raw request (inference-header-content-length: 0) is possible where the model has one input with at most one free dimension, and a BYTES input one element",
    );
  }
  const isText = spec.datatype === "BYTES";
  const batch = contract.isBatched ? [1] : [];
  const shape = isText ? spec.shape : rawShape(spec, body.byteLength);
  const data = isText ? withLength(body) : body;
  const input = { name: spec.name, datatype: spec.datatype, shape: [...batch, ...shape], data };
  const options = { timeoutMs: undefined, priority: undefined };
  return { id: undefined, inputs: [input], outputs: [], isBinary: true, options };
}

function rawInput({ inputs: [spec, second] }: Contract): TensorSpec | undefined {
  if (spec === undefined || second !== undefined) return undefined;
  if (spec.datatype === "BYTES") return elementCount(spec.shape) === 1 ? spec : undefined;
  return spec.shape.filter((size) => size === -1).length <= 1 ? spec : undefined;
}

function rawShape(spec: TensorSpec, bytes: number): readonly number[] {
  const fixed = elementCount(spec.shape.filter((size) => size !== -1)) * DATATYPE_BYTES[spec.datatype];
  return spec.shape.map((size) => (size === -1 ? Math.floor(bytes / fixed) || 0 : size));
}

function withLength(body: Buffer): Uint8Array {
  const packed = Buffer.allocUnsafe(4 + body.byteLength);
  packed.writeUInt32LE(body.byteLength);
  body.copy(packed, 4);
  return packed;
}

/** @throws InvalidRequestError */
export function optionsOf(parameters: Fields): InferOptions {
  const timeoutUs = natural(parameters["timeout"], "timeout");
  const priority = natural(parameters["priority"], "priority");
  return {
    timeoutMs:
      timeoutUs === undefined || timeoutUs === 0 ? undefined : Math.min(timeoutUs / 1000, MAX_TIMEOUT_MS),
    priority: priority === undefined || priority === 0 ? undefined : Math.min(priority, LOWEST_PRIORITY),
  };
}

/** 24 days, the most that a timer takes. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;
