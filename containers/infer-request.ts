// Reads the body of an infer call: checks it against the contract and cuts it into the batch's tensors.
import { type Contract, DATATYPE_BYTES, type TensorSpec } from "./protocol.ts";
import { packJson, parseJson, RAGGED_TYPES, raggedContentType } from "./json-data.ts";
import { makeReplyChoice, type ReplyChoice } from "./reply-choice.ts";
import { asList, asObject, badRequest, type JsonFields, parametersOf, quoted } from "./request-error.ts";
import { decodeBytes, elementCount, type Tensor, TensorFormatError } from "./tensors.ts";
import type { NumericDatatype } from "./typed-arrays.ts";

export interface InferRequest {
  readonly count: number;
  /** In the order of the contract; views of the body where they came in binary. */
  readonly inputs: readonly Tensor[];
  readonly reply: ReplyChoice;
}

type Entry = Omit<Tensor, "data"> & {
  readonly raggedType: NumericDatatype | undefined;
} & (
    | { readonly kind: "binary"; readonly offset: number; readonly size: number }
    | { readonly kind: "json"; readonly data: unknown }
  );

interface Plan {
  readonly count: number;
  readonly entries: readonly Entry[];
  /** Bytes behind the header. */
  readonly size: number;
  readonly reply: ReplyChoice;
}

const MAX_CACHED_HEADERS = 256;
const MAX_CACHED_HEADER_BYTES = 8192;

/** Reads requests for one contract. */
export class RequestReader {
  readonly #contract: Contract;
  readonly #hasWideIntegers: boolean;
  /** Header text → what it says. A header is a function of the batch size, so there are few of them. */
  readonly #plans = new Map<string, Plan>();

  constructor(contract: Contract) {
    this.#contract = contract;
    this.#hasWideIntegers = contract.inputs.some(({ datatype }) => /^U?INT64$/.test(datatype));
  }

  /**
   * @param headerLength bytes of JSON in front of the tensors; undefined: the whole body is JSON
   * @throws RequestError (400) saying what is wrong with the body
   */
  read(body: Uint8Array, headerLength: number | undefined): InferRequest {
    try {
      return this.#read(body, headerLength);
    } catch (error) {
      // Out of stack: only nesting far beyond any tensor's does that.
      if (error instanceof RangeError) throw badRequest("the request is nested too deeply");
      throw error;
    }
  }

  #read(body: Uint8Array, headerLength: number | undefined): InferRequest {
    const length = headerLength ?? body.byteLength;
    const plan = this.#plan(Buffer.from(body.buffer, body.byteOffset, length), headerLength !== undefined);
    if (length + plan.size !== body.byteLength)
      throw badRequest(
        `the tensors take ${plan.size} bytes behind the header, the body has ${body.byteLength - length}`,
      );
    return {
      count: plan.count,
      inputs: plan.entries.map((entry) => cut(entry, body, length)),
      reply: plan.reply,
    };
  }

  #plan(header: Buffer, isBinary: boolean): Plan {
    const isCacheable = isBinary && header.byteLength <= MAX_CACHED_HEADER_BYTES;
    const key = isCacheable ? header.toString("latin1") : "";
    const known = isCacheable ? this.#plans.get(key) : undefined;
    if (known !== undefined) return known;
    const plan = makePlan(this.#parse(header), this.#contract, isBinary);
    if (isCacheable && plan.reply.id === undefined && plan.entries.every(({ kind }) => kind === "binary")) {
      if (this.#plans.size >= MAX_CACHED_HEADERS) this.#plans.clear();
      this.#plans.set(key, plan);
    }
    return plan;
  }

  #parse(header: Buffer): JsonFields {
    try {
      return asObject(parseJson(header.toString("utf8"), this.#hasWideIntegers), "the request");
    } catch (error) {
      if (error instanceof SyntaxError) throw badRequest(`the request is not valid JSON: ${error.message}`);
      throw error;
    }
  }
}

function cut(entry: Entry, body: Uint8Array, headerLength: number): Tensor {
  const { name, datatype, shape, contentType } = entry;
  const data = entry.kind === "binary" ? binaryData(entry, body, headerLength) : jsonData(entry);
  return contentType === undefined
    ? { name, datatype, shape, data }
    : { name, datatype, shape, data, contentType };
}

function binaryData(entry: Entry & { kind: "binary" }, body: Uint8Array, headerLength: number): Uint8Array {
  const start = headerLength + entry.offset;
  const data = body.subarray(start, start + entry.size);
  if (entry.datatype !== "BYTES") return data;
  return inTensor(entry.name, () => {
    const elements = decodeBytes(data, elementCount(entry.shape));
    const width = entry.raggedType === undefined ? 1 : DATATYPE_BYTES[entry.raggedType];
    const odd = elements.find((element) => element.byteLength % width !== 0);
    if (odd !== undefined)
      throw new TensorFormatError(
        `a row of ${odd.byteLength} bytes cannot hold ${entry.contentType} numbers`,
      );
    return data;
  });
}

function jsonData(entry: Entry & { kind: "json" }): Uint8Array {
  return inTensor(entry.name, () => packJson(entry.data, entry, entry.raggedType));
}

function inTensor<T>(name: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof TensorFormatError) throw badRequest(`input ${quoted(name)}: ${error.message}`);
    throw error;
  }
}

function makePlan(request: JsonFields, contract: Contract, isBinary: boolean): Plan {
  const listed = asList(request["inputs"], '"inputs"').map((input) => asObject(input, "an input"));
  const entries = new Map<string, Entry>();
  let size = 0;
  for (const input of listed) {
    const entry = makeEntry(input, contract, size);
    if (entries.has(entry.name)) throw badRequest(`input ${quoted(entry.name)} is given twice`);
    entries.set(entry.name, entry);
    if (entry.kind === "binary") size += entry.size;
  }
  const ordered = contract.inputs.map(({ name }) => {
    const entry = entries.get(name);
    if (entry === undefined) throw badRequest(`input ${quoted(name)} is missing`);
    return entry;
  });
  return {
    count: batchSize(ordered, contract),
    entries: ordered,
    size,
    reply: makeReplyChoice(request, contract, isBinary),
  };
}

function batchSize(entries: readonly Entry[], contract: Contract): number {
  const [first] = entries;
  const count = first?.shape[0] ?? 0;
  const other = entries.find(({ shape }) => shape[0] !== count);
  if (other !== undefined)
    throw badRequest(
      `input ${quoted(other.name)} has ${other.shape[0]} rows, input ${quoted(first?.name ?? "")} has ${count}`,
    );
  if (count === 0) throw badRequest("the batch is empty");
  if (contract.maxBatchSize !== undefined && count > contract.maxBatchSize)
    throw badRequest(`the batch has ${count} rows; this model takes ${contract.maxBatchSize} at most`);
  return count;
}

function makeEntry(input: JsonFields, contract: Contract, offset: number): Entry {
  const { name } = input;
  const spec = contract.inputs.find((known) => known.name === name);
  if (spec === undefined)
    throw badRequest(
      `unknown input ${quoted(name)}; the inputs are ${contract.inputs.map((known) => quoted(known.name)).join(", ")}`,
    );
  const parameters = parametersOf(input);
  const tensor = matchSpec(input, parameters, spec);
  const size = parameters["binary_data_size"];
  if ((size === undefined) === (input["data"] === undefined))
    throw badRequest(`input ${quoted(name)} must have either "data" or parameters.binary_data_size`);
  if (size === undefined) return { ...tensor, kind: "json", data: input["data"] };
  if (typeof size !== "number" || !Number.isSafeInteger(size) || size < 0)
    throw badRequest(`input ${quoted(name)}: binary_data_size ${quoted(size)} is not a number of bytes`);
  const expected = elementCount(tensor.shape) * DATATYPE_BYTES[tensor.datatype];
  if (tensor.datatype !== "BYTES" && expected !== size)
    throw badRequest(
      `input ${quoted(name)}: ${tensor.datatype} [${tensor.shape.join(",")}] takes ${expected} bytes, binary_data_size is ${size}`,
    );
  return { ...tensor, kind: "binary", offset, size };
}

type Described = Omit<Tensor, "data"> & { readonly raggedType: NumericDatatype | undefined };

/** Datatype, shape and content type of an input, checked against the contract. */
function matchSpec(input: JsonFields, parameters: JsonFields, spec: TensorSpec): Described {
  const { name } = spec;
  const { datatype, shape } = input;
  const given = parameters["content_type"];
  if (!isShape(shape)) throw badRequest(`input ${quoted(name)}: shape ${quoted(shape)} is not a shape`);
  if (spec.isRagged === true && datatype === "BYTES") return raggedRows(spec, shape, given);
  if (datatype !== spec.datatype)
    throw badRequest(`input ${quoted(name)} takes ${spec.datatype}, got ${quoted(datatype)}`);
  if (given !== undefined && given !== spec.contentType)
    throw badRequest(
      `input ${quoted(name)} has content type ${quoted(spec.contentType ?? "none")}, got ${quoted(given)}`,
    );
  if (!fits(shape, spec.shape))
    throw badRequest(
      `input ${quoted(name)} takes shape [${[-1, ...spec.shape].join(",")}], got [${shape.join(",")}]`,
    );
  const tensor = { name, datatype: spec.datatype, shape, raggedType: undefined };
  return spec.contentType === undefined ? tensor : { ...tensor, contentType: spec.contentType };
}

function raggedRows(spec: TensorSpec, shape: readonly number[], given: unknown): Described {
  const { name } = spec;
  const contentType = raggedContentType(spec.datatype);
  if (contentType !== undefined && given === contentType && shape.length === 1)
    return { name, datatype: "BYTES", shape, contentType, raggedType: RAGGED_TYPES[contentType] };
  throw badRequest(
    `input ${quoted(name)}: rows of different lengths are BYTES [n] with content_type ${quoted(contentType)}`,
  );
}

function isShape(value: unknown): value is readonly number[] {
  return (
    Array.isArray(value) &&
    value.every((size) => Number.isSafeInteger(size) && size >= 0) &&
    Number.isSafeInteger(elementCount(value as number[]))
  );
}

function fits(shape: readonly number[], row: readonly number[]): boolean {
  return (
    shape.length === row.length + 1 && row.every((size, axis) => size === -1 || size === shape[axis + 1])
  );
}
