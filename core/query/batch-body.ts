// The body of one batch: rows into one Open Inference Protocol request, and its reply back into outputs.
import {
  ERROR_TENSOR,
  isForeign,
  modelAtServer,
  PATHS,
  type Contract,
  type ContentType,
  type Datatype,
  type ItemError,
  type Manifest,
  type TensorSpec,
} from "../../containers/protocol.ts";
import {
  binaryHeader,
  decodeBytes,
  elementCount,
  encodeBytes,
  encodeHeader,
  sliceBinary,
  TensorFormatError,
  type Tensor,
  type TensorHeader,
} from "../../containers/tensors.ts";
import {
  DeadlineExceededError,
  InvalidModelOutputError,
  ModelError,
  type WindjammerError,
} from "../errors.ts";
import { refusalReason } from "../replicas/refusal.ts";
import type { InferReply } from "../replicas/transport.ts";
import { jsonBody, packOutput, parseReply } from "./json-body.ts";
import { BatchOutputs, type Row } from "./query.ts";
import { SpareMemory } from "./spare-memory.ts";

/** Headers kept per version; one stands for one shape and batch size, so real traffic needs few. */
const MAX_KEPT_HEADERS = 1024;

const MAX_KEPT_HEADER_BYTES = 8192;

/** Content type of a ragged row, by the type of its numbers. */
const RAGGED: Partial<Record<Datatype, ContentType>> = { INT32: "int32", FP32: "fp32", FP64: "fp64" };

export interface BatchBody {
  readonly body: Uint8Array;
  /** undefined: all JSON. */
  readonly headerLength: number | undefined;
  /** Its memory may serve the next batch, once the replica has answered. */
  readonly isReusable?: boolean;
}

type RowErrors = readonly (WindjammerError | undefined)[] | undefined;

/** What a replica answered: outputs of the whole batch, with the rows that failed; or the failure of them all. */
export type BatchReply =
  | {
      readonly kind: "outputs";
      readonly outputs: BatchOutputs;
      readonly errors: readonly (WindjammerError | undefined)[] | undefined;
    }
  | { readonly kind: "failed"; readonly error: WindjammerError };

/** Encodes and decodes the batches of one version. */
export class BatchCodec {
  readonly path: string;
  readonly #contract: Contract;
  /** The server takes JSON only. */
  readonly #isJson: boolean;
  /** Its answers may hold 64-bit integers. */
  readonly #isExact: boolean;
  readonly #hasRaggedInput: boolean;
  readonly #label: string;
  readonly #memory = new SpareMemory();
  readonly #requestHeaders = new Map<string, Uint8Array>();
  readonly #replyHeaders = new Map<string, readonly TensorHeader[]>();

  constructor(
    { contract, container }: Pick<Manifest, "contract" | "container">,
    model: string,
    version: string,
  ) {
    const foreign = isForeign(container) ? container : undefined;
    this.#contract = contract;
    this.#isJson = foreign?.tensors === "json";
    this.#isExact = contract.outputs.some(({ datatype }) => datatype === "INT64" || datatype === "UINT64");
    this.#hasRaggedInput = contract.inputs.some((input) => input.isRagged === true);
    this.#label = `model ${model} version ${version}`;
    const at = modelAtServer(container, model);
    this.path = PATHS.infer(at.name, at.version);
  }

  /** One request for `rows`, which share a key. */
  encode(rows: readonly Row[]): BatchBody {
    const [first] = rows;
    if (first === undefined) throw new RangeError("a batch has at least one row");
    const isRagged = this.#hasRaggedInput && rows.some((row) => !hasEqualShapes(row, first));
    const isFixedSize = !isRagged && this.#contract.inputs.every((input) => input.datatype !== "BYTES");
    if (isFixedSize && !this.#isJson) return this.#encodeFixed(rows, first);
    const tensors = this.#contract.inputs.map((input, index) => this.#tensor(input, index, rows));
    return this.#isJson ? { body: jsonBody(tensors), headerLength: undefined } : encodeWhole(tensors);
  }

  /** Rows are written straight behind a header that is kept per shape and batch size. */
  #encodeFixed(rows: readonly Row[], first: Row): BatchBody {
    const key = `${rows.length}|${this.#hasRaggedInput ? shapesKey(first) : first.key}`;
    const known = this.#requestHeaders.get(key);
    const header = known ?? this.#fixedHeader(rows.length, first);
    let rowBytes = 0;
    for (const tensor of first.tensors) rowBytes += tensor.data.byteLength;
    const body = this.#memory.take(header.byteLength + rowBytes * rows.length);
    body.set(header);
    let offset = header.byteLength;
    for (let index = 0; index < first.tensors.length; index++) {
      for (const row of rows) {
        const data = row.tensors[index]?.data ?? new Uint8Array();
        body.set(data, offset);
        offset += data.byteLength;
      }
    }
    // Not before: a row that cannot be written must not tell later batches how long rows are.
    if (known === undefined) keep(this.#requestHeaders, key, header);
    return { body, headerLength: header.byteLength, isReusable: true };
  }

  #fixedHeader(count: number, first: Row): Uint8Array {
    const inputs = this.#contract.inputs.map((input, index) => {
      const row = first.tensors[index];
      return {
        name: input.name,
        datatype: input.datatype,
        shape: this.#batchShape(row?.shape ?? [], count),
        parameters: { binary_data_size: (row?.data.byteLength ?? 0) * count },
      };
    });
    return encodeHeader({ inputs, parameters: { binary_data_output: true } });
  }

  /** The replica has read this body to its end. */
  release({ body, isReusable }: BatchBody): void {
    if (isReusable === true) this.#memory.give(body);
  }

  #tensor(input: TensorSpec, index: number, rows: readonly Row[]): Tensor {
    const parts = rows.map((row) => row.tensors[index]?.data ?? new Uint8Array());
    const [first] = rows;
    const shape = first?.tensors[index]?.shape ?? [];
    const raggedType = RAGGED[input.datatype];
    if (
      input.isRagged &&
      raggedType !== undefined &&
      rows.some((row) => row.tensors[index]?.shape[0] !== shape[0])
    ) {
      return {
        name: input.name,
        datatype: "BYTES",
        shape: [rows.length],
        data: encodeBytes(parts),
        contentType: raggedType,
      };
    }
    const contentType = input.contentType === undefined ? {} : { contentType: input.contentType };
    const data = Buffer.concat(parts);
    return {
      name: input.name,
      datatype: input.datatype,
      shape: this.#batchShape(shape, rows.length),
      data,
      ...contentType,
    };
  }

  #batchShape(row: readonly number[], count: number): readonly number[] {
    return this.#contract.isBatched ? [count, ...row] : row;
  }

  /** Reads a reply to a batch of `count` rows; whatever is wrong with it becomes a failure of the batch. */
  decode(reply: InferReply, count: number): BatchReply {
    if (reply.statusCode !== 200) return { kind: "failed", error: this.#refusal(reply) };
    try {
      const tensors = this.#replyTensors(reply);
      const errorTensor = tensors.find(
        (tensor) => tensor.contentType === "error" || tensor.name === ERROR_TENSOR,
      );
      const outputs = new BatchOutputs(
        this.#contract.outputs.map((spec) => this.#output(spec, tensors, count)),
        count,
      );
      const errors = errorTensor === undefined ? undefined : this.#itemErrors(errorTensor, count);
      return { kind: "outputs", outputs, errors: this.#checkElements(outputs, errors) };
    } catch (error) {
      if (error instanceof InvalidModelOutputError) return { kind: "failed", error };
      // Whatever a container sends, only this batch fails.
      const message = `the replica of ${this.#label} answered with something that is not an inference response: ${(error as Error).message}`;
      return { kind: "failed", error: new InvalidModelOutputError(message, { cause: error }) };
    }
  }

  /** Cuts BYTES outputs into elements, so that a wrong count shows here, and refuses JSON elements that are empty. */
  #checkElements(outputs: BatchOutputs, errors: RowErrors): RowErrors {
    let checked = errors;
    for (const tensor of outputs.tensors) {
      if (tensor.datatype !== "BYTES") continue;
      const elements = outputs.elements(tensor);
      if (tensor.contentType !== "json" || elements.length !== outputs.count) continue;
      for (const [index, element] of elements.entries()) {
        if (element.byteLength > 0 || checked?.[index] !== undefined) continue;
        const error = new InvalidModelOutputError(
          `${this.#label}: output ${tensor.name} is empty where JSON belongs`,
        );
        checked = (checked ?? Array.from({ length: outputs.count })).with(index, error);
      }
    }
    return checked;
  }

  #replyTensors(reply: InferReply): readonly Tensor[] {
    const { headerLength } = reply;
    if (headerLength === undefined) return this.#jsonTensors(reply.body);
    if (headerLength > reply.body.byteLength) throw new TensorFormatError("its JSON is cut off");
    const text = Buffer.from(reply.body.buffer, reply.body.byteOffset, headerLength).toString("latin1");
    let headers = this.#replyHeaders.get(text);
    if (headers === undefined) {
      headers = headersOf(this.#parse(Buffer.from(text, "latin1").toString("utf8")));
      if (text.length <= MAX_KEPT_HEADER_BYTES) keep(this.#replyHeaders, text, headers);
    }
    const slices = sliceBinary(headers, reply.body, headerLength);
    return headers.flatMap((header): Tensor[] => {
      const data = slices.get(header.name) ?? (header.data === undefined ? undefined : packOutput(header));
      return data === undefined ? [] : [tensorOf(header, data)];
    });
  }

  /** Of a server that speaks JSON, or that answered in it though it was asked for binary tensors. */
  #jsonTensors(body: Uint8Array): readonly Tensor[] {
    const text = Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString("utf8");
    return headersOf(this.#parse(text)).map((header) => tensorOf(header, packOutput(header)));
  }

  #parse(text: string): unknown {
    return parseReply(text, this.#isExact && text.includes('"data"'));
  }

  #output(spec: TensorSpec, tensors: readonly Tensor[], count: number): Tensor {
    const tensor = tensors.find((candidate) => candidate.name === spec.name);
    if (tensor === undefined) {
      throw new InvalidModelOutputError(`${this.#label} left out its output ${spec.name}`);
    }
    const isRagged =
      spec.isRagged === true && tensor.datatype === "BYTES" && tensor.contentType === RAGGED[spec.datatype];
    if (isRagged) return this.#counted(spec, tensor, count);
    if (tensor.datatype !== spec.datatype) {
      throw new InvalidModelOutputError(
        `${this.#label}: output ${spec.name} should be ${spec.datatype}, but is ${tensor.datatype}`,
      );
    }
    this.#counted(spec, tensor, count);
    const row = this.#contract.isBatched ? tensor.shape.slice(1) : tensor.shape;
    if (spec.hasUnknownShape !== true && !isOfShape(row, spec.shape)) {
      throw new InvalidModelOutputError(
        `${this.#label}: output ${spec.name} should have rows of shape [${spec.shape.join(",")}], but has [${row.join(",")}]`,
      );
    }
    return tensor;
  }

  #counted(spec: TensorSpec, tensor: Tensor, count: number): Tensor {
    if (!this.#contract.isBatched || tensor.shape[0] === count) return tensor;
    throw new InvalidModelOutputError(
      `${this.#label} returned ${tensor.shape[0] ?? 0} rows in output ${spec.name} for a batch of ${count}`,
    );
  }

  #itemErrors(tensor: Tensor, count: number): readonly (WindjammerError | undefined)[] {
    return decodeBytes(tensor.data, count).map((element) => {
      if (element.byteLength === 0) return undefined;
      const item = JSON.parse(Buffer.from(element).toString("utf8")) as ItemError;
      const message = `${this.#label}: ${item.message}`;
      return item.code === "INVALID_MODEL_OUTPUT"
        ? new InvalidModelOutputError(message, { details: { isWrongCount: item.isWrongCount === true } })
        : new ModelError(message);
    });
  }

  #refusal(reply: InferReply): WindjammerError {
    const text = Buffer.from(reply.body).toString("utf8").slice(0, 2000);
    const message = `${this.#label} failed with status ${reply.statusCode}: ${refusalReason(text) || "no reason given"}`;
    return reply.statusCode === 504 ? new DeadlineExceededError(message) : new ModelError(message);
  }
}

function encodeWhole(tensors: readonly Tensor[]): BatchBody {
  const header = encodeHeader({
    inputs: tensors.map(binaryHeader),
    parameters: { binary_data_output: true },
  });
  return {
    body: Buffer.concat([header, ...tensors.map((tensor) => tensor.data)]),
    headerLength: header.byteLength,
  };
}

function tensorOf({ name, datatype, shape, parameters }: TensorHeader, data: Uint8Array): Tensor {
  const contentType = parameters?.["content_type"];
  return { name, datatype, shape, data, ...(typeof contentType === "string" ? { contentType } : {}) };
}

function headersOf(parsed: unknown): readonly TensorHeader[] {
  const outputs =
    typeof parsed === "object" && parsed !== null && "outputs" in parsed ? parsed.outputs : undefined;
  if (!Array.isArray(outputs) || !outputs.every(isTensorHeader))
    throw new TensorFormatError("its outputs are malformed");
  return outputs;
}

function isTensorHeader(value: unknown): value is TensorHeader {
  if (typeof value !== "object" || value === null) return false;
  const { name, datatype, shape } = value as Partial<TensorHeader>;
  return (
    typeof name === "string" &&
    typeof datatype === "string" &&
    Array.isArray(shape) &&
    shape.every((size) => Number.isSafeInteger(size) && size >= 0) &&
    Number.isSafeInteger(elementCount(shape))
  );
}

function hasEqualShapes(row: Row, other: Row): boolean {
  return row.tensors.every((tensor, index) => {
    const shape = other.tensors[index]?.shape ?? [];
    return tensor.shape.length === shape.length && tensor.shape.every((size, axis) => size === shape[axis]);
  });
}

function shapesKey(row: Row): string {
  return row.tensors.map((tensor) => tensor.shape.join(",")).join(";");
}

/** Bounded by dropping the oldest entry. */
function keep<V>(map: Map<string, V>, key: string, value: V): void {
  if (map.size >= MAX_KEPT_HEADERS) {
    const [oldest] = map.keys();
    if (oldest !== undefined) map.delete(oldest);
  }
  map.set(key, value);
}

function isOfShape(row: readonly number[], shape: readonly number[]): boolean {
  return row.length === shape.length && row.every((size, axis) => shape[axis] === -1 || shape[axis] === size);
}
