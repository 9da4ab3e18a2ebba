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

function head({ modelName, modelVersion, request }: InferAnswer, { version, standIn }: Joined): string {
  const fields = {
    model_name: modelName,
    model_version: version ?? modelVersion,
    ...(request.id === undefined ? {} : { id: request.id }),
    ...(standIn === undefined
      ? {}
      : {
          parameters: {
            default: true,
            default_reason: standIn.reason,
            default_explanation: standIn.explanation,
          },
        }),
  };
  return JSON.stringify(fields).slice(0, -1);
}

function binaryTensor({ name, datatype, shape, contentType, size }: JoinedTensor): string {
  const content = contentType === undefined ? {} : { content_type: contentType };
  return JSON.stringify({ name, datatype, shape, parameters: { ...content, binary_data_size: size } });
}

/** Text is given as it is; bytes that are no text as base64, which their content type then says. */
export function jsonTensor(joined: JoinedTensor): string {
  const { name, datatype, shape } = joined;
  const data = dataOf(joined);
  const isBase64 =
    datatype === "BYTES" && !isVector(joined.contentType) && !isText(data, elementCount(shape));
  const contentType = isBase64 ? "base64" : joined.contentType;
  const parameters = contentType === undefined ? {} : { parameters: { content_type: contentType } };
  const described = JSON.stringify({ name, datatype, shape, ...parameters });
  const content = textContent(joined.contentType, isBase64);
  const text = flatText({ name, datatype, shape, data, ...content });
  return `${described.slice(0, -1)},"data":${text}}`;
}

function isVector(contentType: string | undefined): boolean {
  return contentType === "int32" || contentType === "fp32" || contentType === "fp64";
}

/** How the elements are printed. */
function textContent(contentType: string | undefined, isBase64: boolean): { readonly contentType?: string } {
  if (isBase64) return { contentType: "bytes" };
  return isVector(contentType) && contentType !== undefined ? { contentType } : {};
}

function isText(data: Uint8Array, count: number): boolean {
  // Lengths between the elements can be any bytes.
  return decodeBytes(data, count).every((element) => isUtf8(element));
}
