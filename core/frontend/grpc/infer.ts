// Inference by gRPC: its messages to the rows and outputs that all forms of the protocol share.
import type { Datatype, JsonValue, Manifest } from "../../../containers/protocol.ts";
import { giveBack } from "../../../containers/spent-memory.ts";
import { InvalidRequestError } from "../../errors.ts";
import type { PredictCall, Predictor } from "../../query/predict.ts";
import { classify } from "../dialects/oip/classification.ts";
import { datatypeOf, natural, shapeOf } from "../dialects/oip/fields.ts";
import { optionsOf } from "../dialects/oip/infer-request.ts";
import { type Inference, sendInference } from "../dialects/oip/infer.ts";
import { type InputTensor, rowsOf } from "../dialects/oip/input-rows.ts";
import {
  dataOf,
  type Joined,
  joinOutputs,
  type JoinedTensor,
  outputSpecs,
} from "../dialects/oip/output-tensors.ts";
import { type Contents, contentsOf, isHalf, packContents } from "./contents.ts";

interface Parameter {
  readonly parameter_choice?: string;
  readonly [choice: string]: unknown;
}

type Parameters = Readonly<Record<string, Parameter>>;

export interface InferMessage {
  readonly model_name: string;
  readonly model_version: string;
  readonly id: string;
  readonly parameters: Parameters;
  readonly inputs: readonly {
    readonly name: string;
    readonly datatype: string;
    readonly shape: readonly string[];
    readonly parameters: Parameters;
    readonly contents: Contents | null;
  }[];
  readonly outputs: readonly { readonly name: string; readonly parameters: Parameters }[];
  readonly raw_input_contents: readonly Uint8Array[];
}

export interface GrpcInferParts {
  readonly predictor: Predictor;
  readonly maxInputs: number;
}

/** One request, and how it is answered: with a ModelInferResponse, once. */
export interface GrpcInference {
  readonly message: InferMessage;
  /** Milliseconds until the caller's deadline; Infinity: it has none. */
  readonly deadlineMs: number;
  readonly reply: (build: () => object) => void;
}

/** Sends its queries. @throws WindjammerError */
export function inferByGrpc(
  parts: GrpcInferParts,
  { message, deadlineMs, reply }: GrpcInference,
): PredictCall {
  const { predictor, maxInputs } = parts;
  const arrivedAt = performance.now();
  const { model_name: name, model_version: version } = message;
  const target = predictor.resolveModel(name, version === "" ? undefined : version);
  const { manifest } = target;
  let inputs: readonly InputTensor[] = [];
  const decode = (of: Manifest): Inference => {
    outputSpecs(
      of,
      message.outputs.map((output) => output.name),
    );
    const options = optionsOf(plain(message.parameters));
    const timeoutMs = Math.min(options.timeoutMs ?? Infinity, deadlineMs);
    inputs = inputsOf(message);
    const rows = rowsOf(of, inputs, maxInputs);
    return {
      rows,
      priority: options.priority,
      timeoutMs: Number.isFinite(timeoutMs) ? timeoutMs : undefined,
    };
  };
  return sendInference({ predictor, target, arrivedAt, decode }, (outcomes) => {
    reply(() => {
      if (manifest === undefined) throw new TypeError("a reply to no request");
      const names = message.outputs.map((output) => output.name);
      const joined = joinOutputs(manifest, outcomes, names);
      return response({ message, manifest, joined, version: target.version?.version ?? "" });
    });
    // Raw ones are parts of the message.
    for (const { data } of inputs) giveBack(data);
  });
}

function inputsOf(message: InferMessage): readonly InputTensor[] {
  const { inputs, raw_input_contents: raw } = message;
  const isRaw = raw.length > 0;
  if (isRaw && raw.length !== inputs.length) {
    throw new InvalidRequestError(
      `expected raw_input_contents for each of the ${inputs.length} inputs, got ${raw.length}`,
    );
  }
  return inputs.map((input, index): InputTensor => {
    const { name } = input;
    const fields = { name, datatype: input.datatype, shape: input.shape.map(Number) };
    const datatype: Datatype = datatypeOf(fields);
    const shape = shapeOf(fields);
    if (isRaw && hasContents(input.contents))
      throw new InvalidRequestError(`input "${name}": contents and raw_input_contents exclude each other`);
    const data = isRaw
      ? (raw[index] ?? new Uint8Array())
      : packContents(input.contents, { name, datatype, shape });
    const { content_type: contentType, shared_memory_region: region } = plain(input.parameters);
    if (region !== undefined)
      throw new InvalidRequestError(`input "${name}": shared memory is not supported; send the data`);
    return {
      name,
      datatype,
      shape,
      data,
      contentType: typeof contentType === "string" ? contentType : undefined,
    };
  });
}

function hasContents(contents: Contents | null): boolean {
  return contents !== null && Object.values(contents).some((values) => values.length > 0);
}

/** Parameters as REST has them. */
function plain(parameters: Parameters): Readonly<Record<string, JsonValue>> {
  return Object.fromEntries(
    Object.entries(parameters).map(([key, parameter]) => [
      key,
      (parameter[parameter.parameter_choice ?? ""] ?? null) as JsonValue,
    ]),
  );
}

interface Answer {
  readonly message: InferMessage;
  readonly manifest: Manifest;
  readonly joined: Joined;
  readonly version: string;
}

/** Raw when the request was, or when an output has no typed form: all tensors of a message go one way. */
function response({ message, manifest, joined, version }: Answer): object {
  const { standIn } = joined;
  const tensors = joined.tensors.map((tensor, index) => {
    const classes = message.outputs[index]?.parameters["classification"];
    if (classes === undefined) return tensor;
    const count = natural(plain({ classes })["classes"], "classification") ?? 0;
    return count === 0 ? tensor : classify(tensor, count, manifest.contract.isBatched);
  });
  const isRaw = message.raw_input_contents.length > 0 || tensors.some(({ datatype }) => isHalf(datatype));
  return {
    model_name: message.model_name,
    model_version: joined.version ?? version,
    id: message.id,
    parameters:
      standIn === undefined
        ? {}
        : {
            default: { bool_param: true },
            default_reason: { string_param: standIn.reason },
            default_explanation: { string_param: standIn.explanation },
          },
    outputs: tensors.map((tensor) => outputOf(tensor, isRaw)),
    raw_output_contents: isRaw ? tensors.map(dataOf) : [],
  };
}

function outputOf(tensor: JoinedTensor, isRaw: boolean): object {
  const { name, datatype, shape, contentType } = tensor;
  return {
    name,
    datatype,
    shape: [...shape],
    parameters: contentType === undefined ? {} : { content_type: { string_param: contentType } },
    contents: isRaw ? null : contentsOf(tensor),
  };
}
