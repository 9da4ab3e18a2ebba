// The Open Inference Protocol (KServe V2) over REST: POST /v2/models/<name>[/versions/<version>]/infer.
import { HEADERS, type Manifest } from "../../../../containers/protocol.ts";
import { giveBack } from "../../../../containers/spent-memory.ts";
import { RouteNotFoundError, type WindjammerError } from "../../../errors.ts";
import type { PredictCall, Predictor } from "../../../query/predict.ts";
import type { Dialect, Exchange, Reply } from "../dialect.ts";
import { checkOutputs, inferReply } from "./infer-reply.ts";
import { InferReader } from "./infer-reader.ts";
import type { InferRequest } from "./infer-request.ts";
import { type Inference, sendInference } from "./infer.ts";
import { rowsOf } from "./input-rows.ts";

export interface OipParts {
  readonly predictor: Predictor;
  /** Most rows in one request. */
  readonly maxInputs: number;
  readonly reader: InferReader;
}

export function oipDialect({ predictor, maxInputs }: Omit<OipParts, "reader">): Dialect {
  const parts = { predictor, maxInputs, reader: new InferReader() };
  return {
    name: "oip",
    match: (path) => (path.startsWith(MODELS) && path.endsWith(INFER) ? path : undefined),
    answer: (exchange) => answerInfer(parts, exchange, { operation: INFER, wrap: (reply) => reply }),
    refusal: oipRefusal,
  };
}

export const MODELS = "/v2/models/";
const INFER = "/infer";

/** A model as a path names it. */
interface ModelPath {
  readonly name: string;
  readonly version: string | undefined;
}

/** Reads what lies between "/v2/models/" and `operation`. @throws RouteNotFoundError, for a path that names none */
export function modelPath(path: string, operation: string): ModelPath {
  const parts = path.slice(MODELS.length, path.length - operation.length).split("/");
  const [name = "", versions, version] = parts;
  const isVersioned = parts.length === 3 && versions === "versions" && version !== "";
  if (name !== "" && (parts.length === 1 || isVersioned)) {
    try {
      return { name: decodeURIComponent(name), version: version && decodeURIComponent(version) };
    } catch {
      // A % that is no percent-encoding: no such path.
    }
  }
  throw new RouteNotFoundError(
    `expected ${MODELS}<name>${operation} or ${MODELS}<name>/versions/<version>${operation}, got ${path.slice(0, 200)}`,
  );
}

interface InferCall {
  /** Last part of the path. */
  readonly operation: string;
  /** What is sent of the reply. */
  readonly wrap: (reply: Reply) => Reply;
}

/** Answers a request whose body is that of infer. @throws WindjammerError */
export function answerInfer(parts: OipParts, exchange: Exchange, call: InferCall): PredictCall {
  const { predictor, maxInputs, reader } = parts;
  const { name, version } = modelPath(exchange.target, call.operation);
  const target = predictor.resolveModel(name, version);
  const headerText = exchange.header(HEADERS.inferenceHeaderLength);
  let request: InferRequest | undefined;
  let isBodyInUse = false;
  const decode = (manifest: Manifest): Inference => {
    request = reader.read(manifest, exchange.body, headerText);
    checkOutputs(manifest, request);
    const rows = rowsOf(manifest, request.inputs, maxInputs);
    // Rows of binary tensors are views of it.
    isBodyInUse = headerText !== undefined;
    return { rows, ...request.options };
  };
  try {
    const { arrivedAt } = exchange;
    return sendInference({ predictor, target, arrivedAt, decode }, (outcomes, requestId) => {
      exchange.reply(() => {
        const { manifest } = target;
        if (manifest === undefined || request === undefined) throw new TypeError("a reply to no request");
        const modelVersion = target.version?.version ?? "";
        const encoding = acceptedEncoding(exchange.header("accept-encoding"));
        const answer = { manifest, modelName: name, modelVersion, outcomes, request, requestId, encoding };
        return call.wrap(inferReply(answer));
      });
      for (const { data } of request?.inputs ?? []) giveBack(data);
      exchange.release();
    });
  } finally {
    if (!isBodyInUse) exchange.release();
  }
}

/** The first of ours that the client takes. */
function acceptedEncoding(header: string | undefined): Reply["encoding"] {
  if (header === undefined) return undefined;
  const accepted = header.split(",").map((item) => item.trim().toLowerCase());
  return (["gzip", "deflate"] as const).find((name) =>
    accepted.some((item) => {
      const [coding, weight] = item.split(";");
      return coding?.trim() === name && !/^\s*q=0(?:\.0*)?\s*$/.test(weight ?? "");
    }),
  );
}

/** The protocol's form of an error. */
export function oipRefusal(error: WindjammerError): Reply {
  return {
    status: error.statusCode,
    body: JSON.stringify({ error: oipMessage(error) }),
    retryAfterS: error.retryAfterS,
  };
}

/** Clients of the protocol look for how the text of a 404 begins. */
export function oipMessage({ code, message, details }: WindjammerError): string {
  if (code !== "VERSION_NOT_FOUND") return message;
  const { model, version } = details;
  return typeof model === "string" && typeof version === "string"
    ? `Request for unknown model: '${model}' version ${version} is not found`
    : message;
}
