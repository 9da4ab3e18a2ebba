// Clipper's feedback: POST /<application>/update with {"uid": …, "input": …, "label": …}. It is checked and acknowledged;
// as in Clipper, no selection policy uses it yet.
import { InvalidInputError } from "../../errors.ts";
import type { PredictCall, Predictor } from "../../query/predict.ts";
import type { Target } from "../../query/router.ts";
import { decodeInput } from "../../query/rows.ts";
import { ClipperJsonError, Fields } from "../clipper/fields.ts";
import { jsonErrorText, UPDATE } from "../clipper/schemas.ts";
import { applicationBefore, manifestOf } from "./clipper.ts";
import { problemOf } from "./clipper-errors.ts";
import { errorReply } from "./clipper-reply.ts";
import type { Dialect, Exchange, Reply } from "./dialect.ts";

const DONE: PredictCall = { abandon: () => undefined };

/** Errors of the body are plain text with status 400, as Clipper words them; all others have our shape. */
export function clipperUpdateDialect({ predictor }: { readonly predictor: Predictor }): Dialect {
  return {
    name: "clipper-update",
    match: (path) => applicationBefore("/update", path),
    answer: (exchange) => {
      const reply = acknowledge(predictor.resolve(exchange.target), exchange);
      exchange.release();
      exchange.reply(() => reply);
      return DONE;
    },
    refusal: errorReply,
  };
}

function acknowledge(target: Target, { body }: Exchange): Reply {
  try {
    const fields = new Fields(body);
    fields.long("uid");
    const input = fields.value("input");
    const manifest = manifestOf(target);
    if (manifest !== undefined) decodeInput(manifest, input, "input");
    fields.number("label");
    return { status: 200, body: "Feedback received? 1" };
  } catch (error) {
    const problem = problemText(error, target);
    if (problem === undefined) throw error;
    return { status: 400, body: jsonErrorText(problem, UPDATE) };
  }
}

function problemText(error: unknown, { application }: Target): string | undefined {
  if (error instanceof ClipperJsonError) return error.message;
  return error instanceof InvalidInputError ? problemOf(error, application.inputType) : undefined;
}
