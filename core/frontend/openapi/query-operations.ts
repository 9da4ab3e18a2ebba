// The operations of the query API, one a path and method, each with the schemas of what it takes and gives.
import type { Operation } from "./document.ts";
import {
  applicationParams,
  binaryHeaders,
  binaryReplyHeaders,
  metricsQuery,
  modelParams,
  modelVersionParams,
  type QuerySchemas,
  targetHeaders,
  timeoutHeaders,
} from "./query-schemas.ts";

/** What of the server's options adds paths. */
export interface QueryOptions {
  readonly speaksClipper: boolean;
  /** Vertex AI's paths. */
  readonly vertex: { readonly predictRoute: string; readonly healthRoute: string } | undefined;
}

export function queryOperations(schemas: QuerySchemas, options: QueryOptions): readonly Operation[] {
  return [
    ...predictOperations(schemas),
    ...serverOperations(schemas, options),
    ...protocolOperations(schemas),
    ...modelOperations(schemas),
    ...repositoryOperations(schemas),
    ...hostOperations(schemas, options),
  ];
}

type Head = Pick<Operation, "path" | "tag" | "summary">;

/** Everybody may call it. */
function get(head: Head, more: Partial<Operation>): Operation {
  return { ...head, method: "GET", status: 200, isOpen: true, ...more };
}

function post(head: Head, more: Partial<Operation>): Operation {
  return { ...head, method: "POST", status: 200, isOpen: true, ...more };
}

function predictOperations(schemas: QuerySchemas): readonly Operation[] {
  const {
    PredictRequest,
    PredictReply,
    PredictError: failure,
    UpdateRequest,
    UpdateError,
    ApplicationDescription,
  } = schemas;
  const tag = "predict";
  const params = applicationParams;
  return [
    post(
      { path: "/{application}/predict", tag, summary: "Outputs of one input, or of a list" },
      { params, headers: timeoutHeaders, body: PredictRequest, response: PredictReply, failure },
    ),
    post(
      { path: "/{application}/update", tag, summary: "Takes feedback, as Clipper does; the reply is text" },
      { params, body: UpdateRequest, text: "application/json", failure: UpdateError },
    ),
    get(
      { path: "/{application}", tag, summary: "What it takes and gives, with an example" },
      { params, response: ApplicationDescription },
    ),
  ];
}

function serverOperations(
  { Index, Live, Ready, ClipperMetrics, OpenApi }: QuerySchemas,
  { speaksClipper }: QueryOptions,
): readonly Operation[] {
  const tag = "server";
  const reload = post({ path: "/-/reload", tag, summary: "Does nothing; Clipper's library calls it" }, {});
  return [
    get({ path: "/", tag, summary: "What is served" }, { response: Index }),
    get({ path: "/health/live", tag, summary: "Whether the server lives" }, { response: Live }),
    get(
      { path: "/health/ready", tag, summary: "Whether it takes requests" },
      { response: Ready, otherStatuses: { 503: "It does not" } },
    ),
    get(
      { path: "/metrics", tag, summary: "Metrics, in Prometheus's form or in Clipper's" },
      { query: metricsQuery, text: "text/plain", response: ClipperMetrics },
    ),
    get({ path: "/openapi.json", tag, summary: "This document" }, { response: OpenApi }),
    get(
      { path: "/{application}/openapi.json", tag, summary: "The document of one application" },
      { params: applicationParams, response: OpenApi },
    ),
    get({ path: "/docs", tag, summary: "A page that shows these documents" }, { text: "text/html" }),
    ...(speaksClipper ? [reload] : []),
  ];
}

const OIP = "Open Inference Protocol";

function protocolOperations(schemas: QuerySchemas): readonly Operation[] {
  const { ProtocolError: failure, ServerMetadata, Live, Ready, ModelNames, ModelStatistics } = schemas;
  const read = (path: string, summary: string, more: Partial<Operation>): Operation =>
    get({ path, tag: OIP, summary }, { failure, ...more });
  return [
    read("/v2", "Metadata of the server", { response: ServerMetadata }),
    read("/v2/health/live", "Whether the server lives", { response: Live }),
    read("/v2/health/ready", "Whether it takes requests", {
      response: Ready,
      otherStatuses: { 503: "It does not" },
    }),
    read("/v2/models", "Names of what is served", { response: ModelNames }),
    read("/v2/models/stats", "Statistics of every version that runs", { response: ModelStatistics }),
  ];
}

/** Each of the current version, and of one by name. */
function modelOperations(schemas: QuerySchemas): readonly Operation[] {
  return [
    ...operationsAt("/v2/models/{model}", { params: modelParams, failure: schemas.ProtocolError }, schemas),
    ...operationsAt(
      "/v2/models/{model}/versions/{version}",
      { params: modelVersionParams, failure: schemas.ProtocolError },
      schemas,
    ),
  ];
}

function operationsAt(
  base: string,
  common: Pick<Operation, "params" | "failure">,
  schemas: QuerySchemas,
): readonly Operation[] {
  const { ModelMetadata, ModelReady, ModelConfig, ModelStatistics } = schemas;
  const { InferRequest, InferReply, GenerateRequest, GenerateReply } = schemas;
  const head = (suffix: string, summary: string): Head => ({ path: base + suffix, tag: OIP, summary });
  const binary = "application/octet-stream";
  const generate = { ...common, body: GenerateRequest };
  return [
    get(head("", "Metadata of a model"), { ...common, response: ModelMetadata }),
    get(head("/ready", "Whether it answers"), {
      ...common,
      response: ModelReady,
      otherStatuses: { 400: "It does not" },
    }),
    get(head("/config", "Its configuration"), { ...common, response: ModelConfig }),
    get(head("/stats", "Its statistics"), { ...common, response: ModelStatistics }),
    post(head("/infer", "Outputs of tensors, as JSON or in binary"), {
      ...common,
      headers: binaryHeaders,
      body: InferRequest,
      response: InferReply,
      responseHeaders: binaryReplyHeaders,
      otherBody: binary,
      otherResponse: binary,
    }),
    post(head("/generate", "A text for a text"), { ...generate, response: GenerateReply }),
    post(head("/generate_stream", "The same as server-sent events"), { ...generate, events: GenerateReply }),
  ];
}

function repositoryOperations(schemas: QuerySchemas): readonly Operation[] {
  const { RepositoryIndex, RepositoryIndexRequest, RepositoryRequest, Nothing } = schemas;
  const common = { failure: schemas.ProtocolError, isBodyOptional: true } as const;
  const model = (verb: string, summary: string): Operation =>
    post(
      { path: `/v2/repository/models/{model}/${verb}`, tag: OIP, summary },
      { ...common, params: modelParams, isOpen: false, body: RepositoryRequest, response: Nothing },
    );
  return [
    post(
      { path: "/v2/repository/index", tag: OIP, summary: "Every version and its state" },
      { ...common, body: RepositoryIndexRequest, response: RepositoryIndex },
    ),
    model("load", "Starts the replicas of a model's current version"),
    model("unload", "Stops them"),
  ];
}

function v1(path: string, summary: string): Head {
  return { path: `/v1/models${path}`, tag: "KServe V1", summary };
}

function hostOperations(schemas: QuerySchemas, { vertex }: QueryOptions): readonly Operation[] {
  const { ProtocolError: failure, Ready, ModelNames, ModelReady } = schemas;
  const { InstancesRequest, InstancesReply, InvocationRequest, InvocationReply } = schemas;
  const ready = { response: Ready, otherStatuses: { 503: "It does not" } };
  const instances = { failure, body: InstancesRequest, response: InstancesReply };
  const predict = "Outputs of a list of inputs";
  const health = "Whether it takes requests";
  const ofVertex = vertex && [
    post({ path: vertex.predictRoute, tag: "Vertex AI", summary: predict }, instances),
    get({ path: vertex.healthRoute, tag: "Vertex AI", summary: health }, ready),
  ];
  return [
    get(v1("", "Names of what is served"), { response: ModelNames }),
    get(v1("/{model}", "Whether it answers"), { params: modelParams, response: ModelReady }),
    post(v1("/{model}:predict", predict), { ...instances, params: modelParams }),
    post(v1("/{model}/versions/{version}:predict", predict), { ...instances, params: modelVersionParams }),
    get({ path: "/ping", tag: "SageMaker", summary: health }, ready),
    post(
      { path: "/invocations", tag: "SageMaker", summary: "Outputs of the only application's model" },
      {
        failure,
        headers: targetHeaders,
        body: InvocationRequest,
        response: InvocationReply,
        otherBody: "text/csv",
      },
    ),
    ...(ofVertex ?? []),
  ];
}
