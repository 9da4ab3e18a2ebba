// Triton's generate extension: POST /v2/models/<name>/generate and /generate_stream, one text in and one out.
import type { JsonValue, Manifest, TensorSpec } from "../../../../containers/protocol.ts";
import { elementCount } from "../../../../containers/tensors.ts";
import { InvalidRequestError } from "../../../errors.ts";
import { flatText } from "../../../query/outputs.ts";
import type { PredictCall } from "../../../query/predict.ts";
import type { Outcome } from "../../../query/query.ts";
import { decodeInput, describeValue } from "../../../query/rows.ts";
import type { Dialect, Exchange, Reply } from "../dialect.ts";
import { type Fields, parametersOf } from "./fields.ts";
import { hasWideIntegers, optionsOf, parseInferJson } from "./infer-request.ts";
import { InferReader } from "./infer-reader.ts";
import { type Inference, sendInference } from "./infer.ts";
import { answerInfer, modelPath, MODELS, type OipParts, oipRefusal } from "./oip.ts";
import { dataOf, joinOutputs, type JoinedTensor } from "./output-tensors.ts";

const GENERATE = "/generate";
const STREAM = "/generate_stream";
const TEXT_INPUT = "text_input";
const TEXT_OUTPUT = "text_output";

/** A model of ours gives one answer, so that a stream is one event. */
export function generateDialect({ predictor, maxInputs }: Omit<OipParts, "reader">): Dialect {
  const parts = { predictor, maxInputs, reader: new InferReader() };
  return {
    name: "generate",
    match: (path) =>
      path.startsWith(MODELS) && (path.endsWith(GENERATE) || path.endsWith(STREAM)) ? path : undefined,
    answer: (exchange) => answer(parts, exchange),
    refusal: oipRefusal,
  };
}

function answer(parts: OipParts, exchange: Exchange): PredictCall {
  const isStream = exchange.target.endsWith(STREAM);
  const operation = isStream ? STREAM : GENERATE;
  const { name, version } = modelPath(exchange.target, operation);
  const target = parts.predictor.resolveModel(name, version);
  const { manifest } = target;
  const fields = parseInferJson(exchange.body, hasWideIntegers(manifest));
  const wrap = isStream ? asEvent : (reply: Reply): Reply => reply;
  // MLServer's calls of these names take the body of infer.
  if (Array.isArray(fields["inputs"])) return answerInfer(parts, exchange, { operation, wrap });
  const { predictor } = parts;
  const { arrivedAt } = exchange;
  const decode = (of: Manifest): Inference => inferenceOf(of, fields);
  return sendInference({ predictor, target, arrivedAt, decode }, (outcomes, requestId) => {
    exchange.reply(() => {
      if (manifest === undefined) throw new TypeError("a reply to no request");
      const modelVersion = target.version?.version ?? "";
      const body = textReply({ manifest, outcomes, fields, modelName: name, modelVersion });
      return wrap({ status: 200, body, headers: ["x-request-id", String(requestId)] });
    });
  });
}

/** Binary tensors have no place in an event. @throws InvalidRequestError */
function asEvent({ body, status, headers = [] }: Reply): Reply {
  if (typeof body !== "string")
    throw new InvalidRequestError("a stream of events holds JSON only; ask for no binary output");
  return { status, headers, contentType: "text/event-stream; charset=utf-8", body: `data: ${body}\n\n` };
}

function inferenceOf(manifest: Manifest, fields: Fields): Inference {
  const parameters = parametersOf(fields, "parameters");
  const row = decodeInput(manifest, inputOf(manifest, fields), TEXT_INPUT);
  // Triton takes the reserved ones beside the inputs too.
  return { rows: [row], ...optionsOf({ ...fields, ...parameters }) };
}

/** What the model takes of the request, as any other dialect would get it. */
function inputOf(manifest: Manifest, fields: Fields): JsonValue {
  const { inputs } = manifest.contract;
  const text = fields[TEXT_INPUT];
  if (manifest.inputType === "tensor") {
    const only =
      inputs.length === 1 && !inputs.some(({ name }) => name === TEXT_INPUT) ? inputs[0] : undefined;
    const given = inputs.flatMap((spec): [string, JsonValue][] => {
      const value = fields[spec === only ? TEXT_INPUT : spec.name] ?? fields[spec.name];
      return value === undefined ? [] : [[spec.name, shaped(spec, value)]];
    });
    return Object.fromEntries(given);
  }
  if (manifest.inputType === "json") {
    const { id: _, ...rest } = fields;
    return rest;
  }
  if (typeof text !== "string")
    throw new InvalidRequestError(`${TEXT_INPUT}: expected a string, got ${describeValue(text)}`);
  return manifest.inputType === "bytes" ? Buffer.from(text).toString("base64") : text;
}

/** A scalar stands for a list of one. */
function shaped(spec: TensorSpec, value: JsonValue): JsonValue {
  return spec.shape.length === 0 || Array.isArray(value) ? value : [value];
}

interface TextAnswer {
  readonly manifest: Manifest;
  readonly outcomes: readonly Outcome[];
  readonly fields: Fields;
  readonly modelName: string;
  readonly modelVersion: string;
}

function textReply({ manifest, outcomes, fields, modelName, modelVersion }: TextAnswer): string {
  const { tensors, version } = joinOutputs(manifest, outcomes, []);
  const head = {
    ...(typeof fields["id"] === "string" ? { id: fields["id"] } : {}),
    model_name: modelName,
    model_version: version ?? modelVersion,
  };
  const members = tensors.flatMap((tensor) => membersOf(tensor, tensors.length === 1));
  return `${[JSON.stringify(head).slice(0, -1), ...members].join(",")}}`;
}

/** `"name":value`; the only output is the text, whatever it is called. */
function membersOf(tensor: JoinedTensor, isOnly: boolean): readonly string[] {
  const { datatype, shape, contentType } = tensor;
  const plain = contentType === "bytes" ? { contentType } : {};
  const list = flatText({ name: tensor.name, datatype, shape, data: dataOf(tensor), ...plain });
  const value = elementCount(shape) === 1 ? list.slice(1, -1) : list;
  const isText = isOnly && datatype === "BYTES";
  if (isText && contentType === "json") return jsonMembers(JSON.parse(value) as string);
  return [`${JSON.stringify(isText ? TEXT_OUTPUT : tensor.name)}:${value}`];
}

/** A function may give a text, or an object that has it beside other things. */
function jsonMembers(text: string): readonly string[] {
  const value = JSON.parse(text) as JsonValue;
  if (typeof value === "object" && value !== null && Object.hasOwn(value, TEXT_OUTPUT))
    return [text.trim().slice(1, -1)];
  return [`"${TEXT_OUTPUT}":${typeof value === "string" ? text : JSON.stringify(text)}`];
}
