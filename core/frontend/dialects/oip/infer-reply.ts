// The reply to an inference request over REST: a JSON header, with binary tensors behind it where they were asked for.
import { isUtf8 } from "node:buffer";
import type { Manifest } from "../../../../containers/protocol.ts";
import { HEADERS } from "../../../../containers/protocol.ts";
import { decodeBytes, elementCount } from "../../../../containers/tensors.ts";
import { InvalidRequestError } from "../../../errors.ts";
import { flatText } from "../../../query/outputs.ts";
import type { Outcome } from "../../../query/query.ts";
import type { Reply } from "../dialect.ts";
import { classify } from "./classification.ts";
import type { InferRequest } from "./infer-request.ts";
import { dataOf, type Joined, joinOutputs, type JoinedTensor, outputSpecs } from "./output-tensors.ts";

type Wanted = Pick<InferRequest, "outputs" | "isBinary" | "id">;

/**
 * Said before anything is predicted.
 * @throws InvalidRequestError for outputs that are not there, or that JSON cannot hold
 */
export function checkOutputs(manifest: Manifest, { outputs, isBinary }: Wanted): void {
  const specs = outputSpecs(
    manifest,
    outputs.map(({ name }) => name),
  );
  for (const [index, { name, datatype }] of specs.entries()) {
    const wanted = outputs[index];
    const isHalf = datatype === "FP16" || datatype === "BF16";
    if (isHalf && (wanted?.classes ?? 0) === 0 && !(wanted?.isBinary ?? isBinary)) {
      throw new InvalidRequestError(
        `output "${name}": ${datatype} does not travel as JSON; ask for it with parameters.binary_data true`,
      );
    }
  }
}

/** What a reply is made of. */
export interface InferAnswer {
  readonly manifest: Manifest;
  /** As the caller named it. */
  readonly modelName: string;
  /** Of the target, where no query tells which version answered. */
  readonly modelVersion: string;
  readonly outcomes: readonly Outcome[];
  readonly request: Wanted;
  /** Becomes x-request-id. */
  readonly requestId: number;
  readonly encoding: Reply["encoding"];
}

/** @throws the error of the first query that failed, and what `joinOutputs` does */
export function inferReply(answer: InferAnswer): Reply {
  const { manifest, request, encoding } = answer;
  const names = request.outputs.map(({ name }) => name);
  const joined = joinOutputs(manifest, answer.outcomes, names);
  const chunks: Uint8Array[] = [];
  let isBinary = false;
  const outputs = joined.tensors.map((joinedTensor, index) => {
    const wanted = request.outputs[index];
    const classes = wanted?.classes ?? 0;
    const tensor = classes > 0 ? classify(joinedTensor, classes, manifest.contract.isBatched) : joinedTensor;
    if (!(wanted?.isBinary ?? request.isBinary)) return jsonTensor(tensor);
    isBinary = true;
    for (const chunk of tensor.chunks) chunks.push(chunk);
    return binaryTensor(tensor);
  });
  const header = `${head(answer, joined)},"outputs":[${outputs.join(",")}]}`;
  const common = { status: 200, encoding } as const;
  const headers = ["x-request-id", String(answer.requestId)];
  if (!isBinary) return { ...common, body: header, headers };
  const bytes = Buffer.from(header);
  return {
    ...common,
    body: [bytes, ...chunks],
    contentType: "application/octet-stream",
    headers: [...headers, HEADERS.inferenceHeaderLength, String(bytes.byteLength)],
  };
}

/** Without the bracket that closes it. */
function head({ modelName, modelVersion, request }: InferAnswer, { version, standIn }: Joined): string {
  const { id } = request;
  const named = `{"model_name":${JSON.stringify(modelName)},"model_version":${JSON.stringify(version ?? modelVersion)}`;
  const identified = id === undefined ? named : `${named},"id":${JSON.stringify(id)}`;
  if (standIn === undefined) return identified;
  const { reason, explanation } = standIn;
  const parameters = { default: true, default_reason: reason, default_explanation: explanation };
  return `${identified},"parameters":${JSON.stringify(parameters)}`;
}

/** Without the bracket that closes it. */
function described(
  { name, datatype, shape }: Pick<JoinedTensor, "name" | "datatype" | "shape">,
  contentType: string | undefined,
): string {
  const tensor = `{"name":${JSON.stringify(name)},"datatype":"${datatype}","shape":[${shape.join(",")}]`;
  return contentType === undefined
    ? tensor
    : `${tensor},"parameters":{"content_type":${JSON.stringify(contentType)}}`;
}

function binaryTensor({ name, datatype, shape, contentType, size }: JoinedTensor): string {
  const content = contentType === undefined ? {} : { content_type: contentType };
  return JSON.stringify({ name, datatype, shape, parameters: { ...content, binary_data_size: size } });
}

/** Text is given as it is; bytes that are no text as base64, which their content type then says. */
export function jsonTensor(joined: JoinedTensor): string {
  const { name, datatype, shape, contentType } = joined;
  const data = dataOf(joined);
  if (datatype === "BYTES" && !isVector(contentType)) return bytesTensor(joined, data);
  const content = contentType === undefined ? {} : { contentType };
  const text = flatText({ name, datatype, shape, data, ...content });
  return `${described(joined, contentType)},"data":${text}}`;
}

function bytesTensor(joined: JoinedTensor, data: Uint8Array): string {
  const elements = decodeBytes(data, elementCount(joined.shape)).map(({ buffer, byteOffset, byteLength }) =>
    Buffer.from(buffer, byteOffset, byteLength),
  );
  // Lengths between the elements can be any bytes.
  const isText = elements.every((element) => isUtf8(element));
  const texts = elements.map((element) =>
    isText ? JSON.stringify(element.toString()) : `"${element.toString("base64")}"`,
  );
  return `${described(joined, isText ? joined.contentType : "base64")},"data":[${texts.join(",")}]}`;
}

function isVector(contentType: string | undefined): boolean {
  return contentType === "int32" || contentType === "fp32" || contentType === "fp64";
}
