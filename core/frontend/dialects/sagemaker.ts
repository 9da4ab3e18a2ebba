// SageMaker's contract for one model: POST /invocations, in JSON or CSV.
import type { JsonValue } from "../../../containers/protocol.ts";
import { parseJson } from "../json-text.ts";
import type { Dialect } from "./dialect.ts";
import {
  answerInstances,
  EXPECTED_INSTANCES,
  type InstanceParts,
  INSTANCES,
  type Instances,
  instancesOf,
} from "./instances.ts";
import { NumberParsers } from "./numbers.ts";
import { oipRefusal } from "./oip/oip.ts";

/** Which application, where the server has several. */
const TARGET_HEADER = "x-amzn-sagemaker-target-model";

export function sagemakerDialect(parts: InstanceParts): Dialect {
  const form = { ...INSTANCES, hasBareRow: true };
  const numbers = new NumberParsers({ form, maxRows: parts.maxInputs });
  return {
    name: "sagemaker",
    match: (path) => (path === "/invocations" ? path : undefined),
    answer: (exchange) => {
      const target = parts.predictor.resolveOnly(exchange.header(TARGET_HEADER));
      const isCsv = /^text\/csv\b/i.test(exchange.header("content-type") ?? "");
      const reading = isCsv ? { read: readCsv } : { read: readJson, numbers };
      return answerInstances({ ...parts, target, exchange, ...reading });
    },
    refusal: oipRefusal,
  };
}

/** A body without `instances` is one input, answered with one output. */
function readJson(body: Buffer, keepsIntegers: boolean): Instances {
  const value = parseJson(body, { expected: EXPECTED_INSTANCES, keepsIntegers });
  return instancesOf(value) ?? { values: [value], isOne: true };
}

/** A line is a list of numbers. */
function readCsv(body: Buffer): Instances {
  const lines = body
    .toString("utf8")
    .split(/\r?\n/)
    .filter((line) => line.trim() !== "");
  const values = lines.map((line): JsonValue => line.split(",").map((cell) => cellOf(cell.trim())));
  return { values, isOne: false };
}

function cellOf(text: string): number | string {
  const number = Number(text);
  return text === "" || Number.isNaN(number) ? text : number;
}
