// Vertex AI's contract for one model: {"instances": […]} at the path that AIP_PREDICT_ROUTE names.
import type { Dialect } from "./dialect.ts";
import { answerInstances, type InstanceParts, INSTANCES } from "./instances.ts";
import { NumberParsers } from "./numbers.ts";
import { oipRefusal } from "./oip/oip.ts";

/** @param predictRoute path of predictions, "/predict" */
export function vertexDialect(parts: InstanceParts, predictRoute: string): Dialect {
  const numbers = new NumberParsers({ form: INSTANCES, maxRows: parts.maxInputs });
  return {
    name: "vertex",
    match: (path) => (path === predictRoute ? path : undefined),
    answer: (exchange) =>
      answerInstances({ ...parts, target: parts.predictor.resolveOnly(undefined), exchange, numbers }),
    refusal: oipRefusal,
  };
}
