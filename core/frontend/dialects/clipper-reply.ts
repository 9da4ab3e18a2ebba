// The replies of the Clipper dialect as JSON text.
import type { InputType, Manifest } from "../../../containers/protocol.ts";
import {
  BatchTooLargeError,
  InvalidModelOutputError,
  toWindjammerError,
  type WindjammerError,
} from "../../errors.ts";
import type { Outcome } from "../../query/query.ts";
import { outputJson } from "../../query/outputs.ts";
import { CLIPPER_EXPLANATIONS } from "../../query/predict.ts";
import { clipperForm, type ErrorForm, windjammerForm } from "./clipper-errors.ts";
import type { Reply } from "./dialect.ts";

/** What came of a request's queries. */
export interface ClipperAnswer {
  readonly outcomes: readonly Outcome[];
  readonly firstId: number;
  /** Undefined when there was no model. */
  readonly manifest: Manifest | undefined;
  /** The request held a list. */
  readonly isBatch: boolean;
  /** Words of Clipper's alone where it has any; default ours, which say more. */
  readonly form?: ClipperForm;
}

/** `clipper`: errors in Clipper's shape, and its texts of default outputs to the letter. */
export type ClipperForm = "windjammer" | "clipper";

const ERROR_FORMS: Readonly<Record<ClipperForm, ErrorForm>> = {
  windjammer: windjammerForm,
  clipper: clipperForm,
};

/**
 * A reply may have so many characters (256 Mi). It is held as one string, which cannot have more than twice as many,
 * and is once more in memory as bytes on its way out.
 */
const MAX_REPLY_LENGTH = 2 ** 28;

/** One query's reply, or why it failed. */
type Entry = { readonly text: string; readonly error?: WindjammerError; readonly status?: number };

/**
 * One input: its object, or the error with its status. A list: all objects in order with status 200, failed inputs as
 * `{"query_id", "error", "message", "details"}` among them; when all failed, the status is the first one's. A list of
 * one is answered as one input, as Clipper does.
 *
 * @param maxLength most characters of the whole reply
 * @throws BatchTooLargeError, InvalidModelOutputError when the outputs are larger than one reply may be
 */
export function clipperReply(answer: ClipperAnswer, maxLength: number = MAX_REPLY_LENGTH): Reply {
  const { outcomes, firstId, isBatch } = answer;
  const [first] = outcomes;
  if (first === undefined || (outcomes.length > 1 && isBatch)) return listReply(answer, maxLength);
  const { text, error } = entryOf(answer, first, firstId);
  if (text.length > maxLength) throw outputTooLarge(text.length, maxLength);
  return error === undefined
    ? { status: 200, body: text }
    : errorReply(error, answer.form, answer.manifest?.inputType);
}

function listReply(answer: ClipperAnswer, maxLength: number): Reply {
  const { outcomes, firstId } = answer;
  const texts: string[] = [];
  let hasPrediction = outcomes.length === 0;
  let length = 0;
  let firstError: WindjammerError | undefined;
  let firstStatus = 200;
  for (const [index, outcome] of outcomes.entries()) {
    const { text, error, status = 200 } = entryOf(answer, outcome, firstId + index);
    length += text.length + 1;
    if (length > maxLength) throw batchTooLarge(outcomes.length, index, maxLength);
    texts.push(text);
    if (firstError === undefined) firstStatus = status;
    firstError ??= error;
    hasPrediction ||= error === undefined;
  }
  const body = `{"batch_predictions":[${texts.join(",")}]}`;
  if (hasPrediction || firstError === undefined) return { status: 200, body };
  return { status: firstStatus, body, retryAfterS: firstError.retryAfterS };
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

/** A whole request that failed. @param inputType of the application, where it is known */
export function errorReply(
  error: WindjammerError,
  form: ClipperForm = "windjammer",
  inputType?: InputType,
): Reply {
  const { status, body } = ERROR_FORMS[form](error, inputType);
  return { status, body: JSON.stringify(body), retryAfterS: error.retryAfterS };
}

function entryOf(answer: ClipperAnswer, outcome: Outcome, id: number): Entry {
  const { manifest } = answer;
  if (outcome.kind === "error") return failed(answer, id, outcome.error);
  if (outcome.kind === "default") return { text: defaultText(outcome, id, answer.form) };
  try {
    const output = manifest === undefined ? "null" : outputJson(manifest, outcome.outputs, outcome.index);
    return { text: `{"query_id":${id},"output":${output},"default":false}` };
  } catch (error) {
    return failed(answer, id, toWindjammerError(error));
  }
}

function defaultText(
  { output, reason, explanation }: Extract<Outcome, { kind: "default" }>,
  id: number,
  form: ClipperForm = "windjammer",
): string {
  const plain = form === "clipper" ? CLIPPER_EXPLANATIONS.get(reason) : undefined;
  const details = plain === undefined ? "" : `,"default_details":${JSON.stringify(explanation)}`;
  return `{"query_id":${id},"output":${output},"default":true,"default_explanation":${JSON.stringify(plain ?? explanation)},"default_reason":"${reason}"${details}}`;
}

function failed({ form = "windjammer", manifest }: ClipperAnswer, id: number, error: WindjammerError): Entry {
  const { status, body } = ERROR_FORMS[form](error, manifest?.inputType);
  return { text: JSON.stringify({ query_id: id, ...body }), error, status };
}
