// The replies of the Clipper dialect as JSON text.
import type { Manifest } from "../../../containers/protocol.ts";
import { errorBody, toWindjammerError, type WindjammerError } from "../../errors.ts";
import type { Outcome } from "../../query/query.ts";
import { outputJson } from "../../query/rows.ts";
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

/** One query's reply, or why it failed. */
type Entry = { readonly text: string; readonly error?: WindjammerError };

/**
 * One input: its object, or the error with its status. A list: all objects in order with status 200, failed inputs as
 * `{"query_id", "error", "message", "details"}` among them; when all failed, the status is the first one's. A list of
 * one is answered as one input, as Clipper does.
 */
export function clipperReply(answer: ClipperAnswer): Reply {
  const { outcomes, firstId, manifest, isBatch } = answer;
  const [first] = outcomes;
  if (first !== undefined && (outcomes.length === 1 || !isBatch)) {
    const { text, error } = entryOf(first, firstId, manifest);
    return error === undefined ? { status: 200, body: text } : errorReply(error);
  }
  const entries = outcomes.map((outcome, index) => entryOf(outcome, firstId + index, manifest));
  const body = `{"batch_predictions":[${entries.map(({ text }) => text).join(",")}]}`;
  const error = entries[0]?.error;
  if (error === undefined || entries.some((entry) => entry.error === undefined)) return { status: 200, body };
  return { status: error.statusCode, body, retryAfterS: error.retryAfterS };
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
