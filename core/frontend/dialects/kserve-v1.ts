// KServe's first protocol, which is TensorFlow Serving's: POST /v1/models/<name>:predict with {"instances": […]}.
import { RouteNotFoundError } from "../../errors.ts";
import type { Dialect } from "./dialect.ts";
import { answerInstances, type InstanceParts, INSTANCES } from "./instances.ts";
import { NumberParsers } from "./numbers.ts";
import { oipRefusal } from "./oip/oip.ts";

const PREDICT = /^\/v1\/models\/([^/:]+)(?:\/versions\/([^/:]+))?:predict$/;

export function kserveV1Dialect(parts: InstanceParts): Dialect {
  const numbers = new NumberParsers({ form: INSTANCES, maxRows: parts.maxInputs });
  return {
    name: "kserve-v1",
    match: (path) => (path.endsWith(":predict") && PREDICT.test(path) ? path : undefined),
    answer: (exchange) => {
      const [, name = "", version] = PREDICT.exec(exchange.target) ?? [];
      const target = parts.predictor.resolveModel(decoded(name), version && decoded(version));
      return answerInstances({ ...parts, target, exchange, numbers });
    },
    refusal: oipRefusal,
  };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new RouteNotFoundError("the path holds a % that is no percent-encoding");
  }
}
