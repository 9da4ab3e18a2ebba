// What KServe V1, SageMaker and Vertex AI have in common: a list of inputs in, a list of outputs back.
import type { JsonValue, Manifest } from "../../../containers/protocol.ts";
import { giveBack } from "../../../containers/spent-memory.ts";
import { BatchTooLargeError, InvalidRequestError } from "../../errors.ts";
import { outputJson } from "../../query/outputs.ts";
import type { PredictCall, Predictor } from "../../query/predict.ts";
import type { Outcome, Row } from "../../query/query.ts";
import type { Target } from "../../query/router.ts";
import { decodeInput, describeValue } from "../../query/rows.ts";
import { parseJson } from "../json-text.ts";
import type { Exchange } from "./dialect.ts";
import type { NumberForm, NumberParsers } from "./numbers.ts";
import { hasWideIntegers } from "./oip/infer-request.ts";
import { type Inference, sendInference } from "./oip/infer.ts";

export interface InstanceParts {
  readonly predictor: Predictor;
  /** Most instances in one request. */
  readonly maxInputs: number;
}

/** As KServe V1 and Vertex AI have it. */
export const INSTANCES: NumberForm = { list: "instances" };

export const EXPECTED_INSTANCES = '{"instances": [ … ]}';

/** A request to answer with `{"predictions": [ … ]}`. */
export interface InstanceCall extends InstanceParts {
  readonly target: Target;
  readonly exchange: Exchange;
  /** Reads bodies of plain numbers in place of `read`. */
  readonly numbers?: NumberParsers;
  /** The inputs of a body, as JSON values. Default: its `instances`. */
  readonly read?: (body: Buffer, keepsIntegers: boolean) => Instances;
}

export interface Instances {
  readonly values: readonly JsonValue[];
  /** The body was one input, and its answer is one output. */
  readonly isOne: boolean;
}

/** A body that was read. */
interface Read {
  readonly rows: readonly Row[];
  readonly isOne: boolean;
  /** What the rows are in, where it may go with them. */
  readonly memory?: Uint8Array;
}

/** Inputs are what the query API takes as `input`; one that fails fails the request. @throws WindjammerError */
export function answerInstances(call: InstanceCall): PredictCall {
  const { predictor, target, exchange } = call;
  const { manifest } = target;
  let isOne = false;
  let memory: Uint8Array | undefined;
  const decode = (of: Manifest): Inference => {
    const decoded = decodeBody(call, of);
    ({ isOne, memory } = decoded);
    return { rows: decoded.rows, timeoutMs: undefined, priority: undefined };
  };
  try {
    return sendInference({ predictor, target, arrivedAt: exchange.arrivedAt, decode }, (outcomes) => {
      exchange.reply(() => {
        const texts = outcomes.map((outcome) => textOf(manifest, outcome));
        return { status: 200, body: isOne ? (texts[0] ?? "null") : `{"predictions":[${texts.join(",")}]}` };
      });
      if (memory !== undefined) giveBack(memory);
    });
  } finally {
    // Rows are copies.
    exchange.release();
  }
}

function decodeBody(
  { exchange: { body }, maxInputs, numbers, read = readInstances }: InstanceCall,
  manifest: Manifest,
): Read {
  const parsed = numbers?.parse(manifest, body) ?? null;
  if (parsed !== null) return { ...parsed, isOne: !parsed.isBatch };
  const { values, isOne } = read(body, hasWideIntegers(manifest));
  if (values.length > maxInputs) throw tooMany(values.length, maxInputs);
  const rows = values.map((value, index) =>
    decodeInput(manifest, plainValue(manifest, value), isOne ? "input" : `instances[${index}]`),
  );
  return { rows, isOne };
}

/** @throws InvalidJsonError, InvalidRequestError */
function readInstances(body: Buffer, keepsIntegers: boolean): Instances {
  const instances = instancesOf(parseJson(body, { expected: EXPECTED_INSTANCES, keepsIntegers }));
  if (instances !== undefined) return instances;
  throw new InvalidRequestError(`instances: expected ${EXPECTED_INSTANCES}`);
}

/** The list of a body that has one. */
export function instancesOf(value: JsonValue): Instances | undefined {
  if (typeof value !== "object" || value === null || !Object.hasOwn(value, "instances")) return undefined;
  const { instances } = value as { readonly instances?: JsonValue };
  if (Array.isArray(instances)) return { values: instances, isOne: false };
  throw new InvalidRequestError(`instances: expected a list, got ${describeValue(instances)}`);
}

/** TensorFlow's clients wrap bytes. */
function plainValue({ inputType }: Manifest, value: JsonValue): JsonValue {
  const isWrapped =
    inputType === "bytes" && typeof value === "object" && value !== null && Object.hasOwn(value, "b64");
  return isWrapped ? (value as { readonly b64: JsonValue }).b64 : value;
}

function textOf(manifest: Manifest | undefined, outcome: Outcome): string {
  if (outcome.kind === "error") throw outcome.error;
  if (outcome.kind === "default") return outcome.output;
  return manifest === undefined ? "null" : outputJson(manifest, outcome.outputs, outcome.index);
}

function tooMany(count: number, limit: number): BatchTooLargeError {
  return new BatchTooLargeError(
    `the request holds ${count} instances and may hold ${limit}; send it in parts`,
    { details: { inputs: count, limit } },
  );
}
