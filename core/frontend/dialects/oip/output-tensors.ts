// What came of a request's queries, joined again into one tensor an output: the rows of a batch stay where they are.
import type { Datatype, Manifest, TensorSpec } from "../../../../containers/protocol.ts";
import { DATATYPE_BYTES } from "../../../../containers/protocol.ts";
import { elementCount, emptyTensor, encodeBytes, type Tensor } from "../../../../containers/tensors.ts";
import { InvalidModelOutputError, InvalidRequestError } from "../../../errors.ts";
import { BatchOutputs, type DefaultReason, type Outcome } from "../../../query/query.ts";
import { decodeInput } from "../../../query/rows.ts";
import { RAGGED_TYPES, tensorOf } from "./input-rows.ts";

/** One output of the whole request. */
export interface JoinedTensor {
  readonly name: string;
  readonly datatype: Datatype;
  readonly shape: readonly number[];
  readonly contentType: string | undefined;
  /** Packed data, in parts. */
  readonly chunks: readonly Uint8Array[];
  readonly size: number;
}

/** The outputs of a request all of whose queries were answered. */
export interface Joined {
  readonly tensors: readonly JoinedTensor[];
  /** Of the version that answered; undefined: no query was. */
  readonly version: string | undefined;
  /** Set when the default output stands in for a row's. */
  readonly standIn: { readonly reason: DefaultReason; readonly explanation: string } | undefined;
}

type Answer = Extract<Outcome, { readonly kind: "ok" }>;

/**
 * Joins the outputs named by `names`, all when there are none.
 * @throws the first query's error, when one failed: the protocol has none for single rows; InvalidRequestError for an
 * output that the model does not have; InvalidModelOutputError for rows that do not fit into one tensor
 */
export function joinOutputs(
  manifest: Manifest,
  outcomes: readonly Outcome[],
  names: readonly string[],
): Joined {
  const specs = outputSpecs(manifest, names);
  let standIn: Joined["standIn"];
  const answers = outcomes.map((outcome, row): Answer => {
    if (outcome.kind === "error") throw outcome.error;
    if (outcome.kind === "ok") return outcome;
    standIn ??= { reason: outcome.reason, explanation: outcome.explanation };
    return { kind: "ok", outputs: defaultOutputs(manifest, outcome, row), index: 0, version: "" };
  });
  const version = answers.find((answer) => answer.version !== "")?.version;
  return { tensors: specs.map((spec) => join(manifest, spec, answers)), version, standIn };
}

/** @throws InvalidRequestError */
export function outputSpecs(manifest: Manifest, names: readonly string[]): readonly TensorSpec[] {
  const { outputs } = manifest.contract;
  if (names.length === 0) return outputs;
  if (new Set(names).size !== names.length)
    throw new InvalidRequestError("outputs: expected each output once");
  return names.map((name) => {
    const spec = outputs.find((output) => output.name === name);
    if (spec !== undefined) return spec;
    const known = outputs.map((output) => `"${output.name}"`).join(", ");
    const shown = JSON.stringify(name.slice(0, 100));
    throw new InvalidRequestError(`unexpected inference output ${shown}; the model gives ${known}`);
  });
}

/** The application's default output as the tensors of the contract. @throws what it stands in for, when it cannot be */
function defaultOutputs(
  manifest: Manifest,
  outcome: Extract<Outcome, { readonly kind: "default" }>,
  row: number,
): BatchOutputs {
  const { contract } = manifest;
  const { schemas: _, ...rest } = manifest;
  try {
    const asInput = {
      ...rest,
      inputType: "tensor" as const,
      contract: { ...contract, inputs: contract.outputs },
    };
    const { tensors } = decodeInput(asInput, JSON.parse(outcome.output), `default output of row ${row}`);
    const batch = contract.isBatched ? [1] : [];
    const named = contract.outputs.map((spec, index) => tensorOf(spec, tensors[index], batch));
    return new BatchOutputs(named, 1);
  } catch {
    throw outcome.error;
  }
}

/** Rows of one batch that follow each other there as they do in the request. */
interface Run {
  readonly outputs: BatchOutputs;
  readonly first: number;
  count: number;
}

function runsOf(answers: readonly Answer[]): readonly Run[] {
  const runs: Run[] = [];
  for (const { outputs, index } of answers) {
    const last = runs.at(-1);
    if (last?.outputs === outputs && last.first + last.count === index) last.count += 1;
    else runs.push({ outputs, first: index, count: 1 });
  }
  return runs;
}

function join(manifest: Manifest, spec: TensorSpec, answers: readonly Answer[]): JoinedTensor {
  const { isBatched } = manifest.contract;
  const [first] = answers;
  if (first === undefined) return whole(emptyTensor(spec, 0), spec);
  if (!isBatched) return whole(outputOf(first.outputs, spec), spec);
  const runs = runsOf(answers);
  const tensors = runs.map(({ outputs }) => outputOf(outputs, spec));
  const [one] = tensors as [Tensor];
  const { name, datatype, contentType = spec.contentType } = one;
  const isUniform = tensors.every((tensor) => tensor.datatype === datatype && hasSameRows(tensor, one));
  if (!isUniform) return ragged(spec, runs, tensors);
  const chunks = runs.map((run, index) => rowsOf(run, tensors[index] as Tensor));
  const shape = [answers.length, ...one.shape.slice(1)];
  return { name, datatype, shape, contentType, chunks, size: sizeOf(chunks) };
}

function whole({ name, datatype, shape, data, contentType }: Tensor, spec: TensorSpec): JoinedTensor {
  const content = contentType ?? spec.contentType;
  return { name, datatype, shape, contentType: content, chunks: [data], size: data.byteLength };
}

function outputOf(outputs: BatchOutputs, spec: TensorSpec): Tensor {
  const tensor = outputs.tensors.find(({ name }) => name === spec.name);
  if (tensor !== undefined) return tensor;
  throw new InvalidModelOutputError(`the model's answer lacks the output "${spec.name}" of its contract`);
}

function hasSameRows(tensor: Tensor, other: Tensor): boolean {
  return (
    tensor.shape.length === other.shape.length &&
    tensor.shape.every((size, axis) => axis === 0 || size === other.shape[axis])
  );
}

/** The bytes of a run's rows, as a view. */
function rowsOf({ outputs, first, count }: Run, tensor: Tensor): Uint8Array {
  const perRow = elementCount(tensor.shape.slice(1));
  if (tensor.datatype !== "BYTES") {
    const rowBytes = perRow * DATATYPE_BYTES[tensor.datatype];
    return tensor.data.subarray(first * rowBytes, (first + count) * rowBytes);
  }
  const elements = outputs.elements(tensor);
  const start = elements[first * perRow];
  const last = elements[(first + count) * perRow - 1];
  if (start === undefined || last === undefined || perRow === 0) return new Uint8Array();
  const from = start.byteOffset - 4 - tensor.data.byteOffset;
  return tensor.data.subarray(from, last.byteOffset + last.byteLength - tensor.data.byteOffset);
}

/** Vectors of different lengths travel as BYTES, one element a row; other rows have to be equal to fit together. */
function ragged(spec: TensorSpec, runs: readonly Run[], tensors: readonly Tensor[]): JoinedTensor {
  const contentType = spec.shape.length === 1 ? RAGGED_TYPES[spec.datatype] : undefined;
  if (contentType === undefined) {
    throw new InvalidModelOutputError(
      `the rows of output "${spec.name}" differ in shape and make no tensor; send the inputs one by one`,
      { details: { output: spec.name } },
    );
  }
  const elements = runs.flatMap((run, index) => vectorsOf(run, tensors[index] as Tensor));
  const data = encodeBytes(elements);
  const shape = [elements.length];
  return { name: spec.name, datatype: "BYTES", shape, contentType, chunks: [data], size: data.byteLength };
}

function vectorsOf(run: Run, tensor: Tensor): readonly Uint8Array[] {
  if (tensor.datatype === "BYTES")
    return run.outputs.elements(tensor).slice(run.first, run.first + run.count);
  return Array.from({ length: run.count }, (_, row) =>
    rowsOf({ outputs: run.outputs, first: run.first + row, count: 1 }, tensor),
  );
}

function sizeOf(chunks: readonly Uint8Array[]): number {
  let size = 0;
  for (const chunk of chunks) size += chunk.byteLength;
  return size;
}

/** The data in one piece: itself where it is one. */
export function dataOf({ chunks, size }: Pick<JoinedTensor, "chunks" | "size">): Uint8Array {
  const [only] = chunks;
  return chunks.length === 1 && only !== undefined ? only : Buffer.concat(chunks, size);
}
