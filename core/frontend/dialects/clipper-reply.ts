// The replies of the Clipper dialect as JSON text.
import type { Manifest } from "../../../containers/protocol.ts";
import { errorBody } from "../../error-replies.ts";
import {
  BatchTooLargeError,
  InvalidModelOutputError,
  toWindjammerError,
  type WindjammerError,
} from "../../errors.ts";
import type { Outcome } from "../../query/query.ts";
import { outputJson } from "../../query/outputs.ts";
import type { Reply } from "./dialect.ts";

/** What came of a request's queries. */
export interface ClipperAnswer {
  readonly outcomes: readonly Outcome[];
  readonly firstId: number;
  /** Undefined when there was no model. */
  readonly manifest: Manifest | undefined;
  /** The request held a list. */
  readonly isBatch: boolean;
}

/**
 * A reply may have so many characters (256 Mi). It is held as one string, which cannot have more than twice as many,
 * and is once more in memory as bytes on its way out.
 */
const MAX_REPLY_LENGTH = 2 ** 28;

/** One query's reply, or why it failed. */
type Entry = { readonly text: string; readonly error?: WindjammerError };

/**
 * One input: its object, or the error with its status. A list: all objects in order with status 200, failed inputs as
 * `{"query_id", "error", "message", "details"}` among them; when all failed, the status is the first one's. A list of
 * one is answered as one input, as Clipper does.
 *
 * @param maxLength most characters of the whole reply
 * @throws BatchTooLargeError, InvalidModelOutputError when the outputs are larger than one reply may be
 */
export function clipperReply(answer: ClipperAnswer, maxLength: number = MAX_REPLY_LENGTH): Reply {
  const { outcomes, firstId, manifest, isBatch } = answer;
  const [first] = outcomes;
  if (first === undefined || (outcomes.length > 1 && isBatch)) return listReply(answer, maxLength);
  const { text, error } = entryOf(first, firstId, manifest);
  if (text.length > maxLength) throw outputTooLarge(text.length, maxLength);
  return error === undefined ? { status: 200, body: text } : errorReply(error);
}

function listReply({ outcomes, firstId, manifest }: ClipperAnswer, maxLength: number): Reply {
  const texts: string[] = [];
  let hasPrediction = outcomes.length === 0;
  let length = 0;
  let firstError: WindjammerError | undefined;
  for (const [index, outcome] of outcomes.entries()) {
    const { text, error } = entryOf(outcome, firstId + index, manifest);
    length += text.length + 1;
    if (length > maxLength) throw batchTooLarge(outcomes.length, index, maxLength);
    texts.push(text);
    firstError ??= error;
    hasPrediction ||= error === undefined;
  }
  const body = `{"batch_predictions":[${texts.join(",")}]}`;
  if (hasPrediction || firstError === undefined) return { status: 200, body };
  return { status: firstError.statusCode, body, retryAfterS: firstError.retryAfterS };
}

function outputTooLarge(length: number, limit: number): InvalidModelOutputError {
  return new InvalidModelOutputError(
    `the model's output is ${length} characters of JSON and a reply may have ${limit}; have the model return less`,
    { details: { length, limit } },
  );
}

function batchTooLarge(inputs: number, fitting: number, limit: number): BatchTooLargeError {
  return new BatchTooLargeError(
    `the outputs of ${inputs} inputs are together more than the ${limit} characters that a reply may have, the first ${fitting} fit; send the inputs in parts`,
    { details: { inputs, fitting, limit } },
  );
}

/** An error in Windjammer's own shape, which is the dialect's too. */
export function errorReply(error: WindjammerError): Reply {
  return { status: error.statusCode, body: JSON.stringify(errorBody(error)), retryAfterS: error.retryAfterS };
}

function entryOf(outcome: Outcome, id: number, manifest: Manifest | undefined): Entry {
  if (outcome.kind === "error") return failed(id, outcome.error);
  if (outcome.kind === "default") {
    const explanation = JSON.stringify(outcome.explanation);
    return {
      text: `{"query_id":${id},"output":${outcome.output},"default":true,"default_explanation":${explanation},"default_reason":"${outcome.reason}"}`,
    };
  }
  try {
    const output = manifest === undefined ? "null" : outputJson(manifest, outcome.outputs, outcome.index);
    return { text: `{"query_id":${id},"output":${output},"default":false}` };
  } catch (error) {
    return failed(id, toWindjammerError(error));
  }
}

function failed(id: number, error: WindjammerError): Entry {
  return { text: JSON.stringify({ query_id: id, ...errorBody(error) }), error };
}
