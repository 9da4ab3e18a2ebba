// One inference, whatever it came by: queries out of its tensors, sent on the one way that all dialects share.
import type { Manifest } from "../../../../containers/protocol.ts";
import { NoModelLinkedError } from "../../../errors.ts";
import type { PredictCall, Predictor, PredictReply } from "../../../query/predict.ts";
import type { Row } from "../../../query/query.ts";
import type { Target } from "../../../query/router.ts";
import type { InferOptions } from "./infer-request.ts";

/** What was decoded of a request. */
export interface Inference extends InferOptions {
  readonly rows: readonly Row[];
}

/** A request to decode and send. */
export interface InferenceCall {
  readonly predictor: Predictor;
  readonly target: Target;
  /** `performance.now()` when it had arrived whole. */
  readonly arrivedAt: number;
  /** @throws WindjammerError for what is wrong with the request, which is counted */
  readonly decode: (manifest: Manifest) => Inference;
}

/** Sends the queries; a request that cannot be decoded is counted as one that failed. @throws WindjammerError */
export function sendInference(call: InferenceCall, reply: PredictReply): PredictCall {
  const { predictor, target, arrivedAt, decode } = call;
  let inference: Inference;
  try {
    if (target.manifest === undefined) throw target.error ?? new NoModelLinkedError("no model is linked");
    inference = decode(target.manifest);
  } catch (error) {
    predictor.refused({ target, error, arrivedAt });
    throw error;
  }
  const { rows, timeoutMs, priority } = inference;
  return predictor.predict({ target, inputs: rows, arrivedAt, timeoutMs, priority }, reply);
}
