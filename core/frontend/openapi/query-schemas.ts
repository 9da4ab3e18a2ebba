// Schemas of the bodies and replies of the query API, in every dialect; the OpenAPI documents are made from them.
import { z } from "zod";
import { DATATYPES } from "../../../containers/protocol.ts";
import { nameSchema as name, versionNameSchema as version } from "../../deploy/options.ts";
import { errorSchema } from "../schemas.ts";

const count = z.int().min(0);
const anything = z.record(z.string(), z.unknown());

export const applicationParams: z.ZodType<{ application: string }> = z.strictObject({ application: name });
export const modelParams: z.ZodType<{ model: string }> = z.strictObject({ model: name });
export const modelVersionParams: z.ZodType<{ model: string; version: string }> = z.strictObject({
  model: name,
  version,
});
export const timeoutHeaders: z.ZodType = z.strictObject({
  "x-windjammer-timeout-ms": z
    .number()
    .positive()
    .optional()
    .describe("Milliseconds until nobody waits for the answer any more"),
});
export const metricsQuery: z.ZodType = z.strictObject({
  format: z.literal("clipper").optional().describe("Clipper's JSON, as with Accept: application/json"),
});
export const binaryReplyHeaders: z.ZodType = z.strictObject({
  "inference-header-content-length": count.optional().describe("Bytes of JSON in front of binary tensors"),
  "x-request-id": z.string().describe("Ours; `id` is the caller's"),
});
export const binaryHeaders: z.ZodType = z.strictObject({
  "inference-header-content-length": count
    .optional()
    .describe("Bytes of JSON in front of binary tensors; 0: the body is one raw tensor"),
});
export const targetHeaders: z.ZodType = z.strictObject({
  "x-amzn-sagemaker-target-model": name.optional().describe("Which application, where there are several"),
});

/** Schemas with a name of their own, and what an application's model takes and gives. */
export type QuerySchemas = Readonly<Record<string, z.ZodType>> & {
  readonly [key in (typeof QUERY_SCHEMAS)[number]]: z.ZodType;
};

const QUERY_SCHEMAS = [
  "Error",
  "ProtocolError",
  "Input",
  "Output",
  "PredictRequest",
  "PredictReply",
  "PredictError",
  "UpdateRequest",
  "UpdateError",
  "InstancesRequest",
  "InstancesReply",
  "InvocationRequest",
  "InvocationReply",
  "InferInputs",
  "OutputName",
  "InferOutputs",
  "InferRequest",
  "InferReply",
  "GenerateRequest",
  "GenerateReply",
  "ServerMetadata",
  "ModelMetadata",
  "ModelConfig",
  "ModelStatistics",
  "ModelNames",
  "ModelReady",
  "RepositoryIndexRequest",
  "RepositoryRequest",
  "RepositoryIndex",
  "Nothing",
  "ClipperMetrics",
  "OpenApi",
  "Index",
  "ApplicationDescription",
  "Live",
  "Ready",
] as const;

/** What the schemas depend on. */
export interface SchemaOptions {
  /** A default output may stand in for an output; it gets the schema `DefaultOutput`. */
  readonly hasDefault: boolean;
  /** Errors of predictions are in Clipper's form where Clipper has one. */
  readonly speaksClipper: boolean;
}

export function querySchemas({ hasDefault, speaksClipper }: SchemaOptions): QuerySchemas {
  const input = z.unknown().describe("What the application's model takes");
  const output = z.unknown().describe("What the application's model gives");
  const defaultOutput = z.unknown().describe("The application's default output");
  const common = { ...errorsAndHealth(), ...catalogSchemas(), Input: input, Output: output };
  return {
    ...common,
    ...(hasDefault ? { DefaultOutput: defaultOutput } : {}),
    ...predictionSchemas({
      input,
      output,
      defaultOutput: hasDefault ? defaultOutput : undefined,
      speaksClipper,
    }),
    ...instanceSchemas(input, hasDefault ? z.union([output, defaultOutput]) : output),
    ...inferSchemas(),
  };
}

function errorsAndHealth() {
  return {
    Error: errorSchema,
    Nothing: z.strictObject({}),
    OpenApi: z.looseObject({ openapi: z.literal("3.1.0") }),
    ClipperMetrics: z.strictObject({
      counters: z.array(anything),
      ratio_counters: z.array(anything),
      meters: z.array(anything),
      histograms: z.array(anything),
    }),
    ProtocolError: z.looseObject({ error: z.string() }),
    Live: z.strictObject({ live: z.literal(true) }),
    Ready: z.strictObject({ ready: z.boolean() }),
    Index: z.looseObject({
      name: z.literal("windjammer"),
      applications: z.array(name),
      applicationCount: count,
    }),
    ApplicationDescription: z.looseObject({
      application: name,
      inputType: z.string(),
      latencyObjectiveMs: z.number().nullable(),
      model: name.nullable(),
      version: version.nullable(),
      readyReplicas: count,
      contract: anything.nullable(),
    }),
  };
}

interface PredictionParts {
  readonly input: z.ZodType;
  readonly output: z.ZodType;
  readonly defaultOutput: z.ZodType | undefined;
  readonly speaksClipper: boolean;
}

function predictionSchemas({ input, output, defaultOutput, speaksClipper }: PredictionParts) {
  const options = {
    version: version.optional().describe("Default: the current one"),
    timeout_ms: z.number().positive().optional(),
  };
  const answer = z.strictObject({ query_id: count, output, default: z.literal(false) });
  const answers = defaultOutput === undefined ? [answer] : [answer, standIn(defaultOutput)];
  const words = speaksClipper ? [...ERROR_WORDS, CLIPPER_WORDS] : ERROR_WORDS;
  const failed = words.map((shape) => z.strictObject({ query_id: count, ...shape }));
  const list = z.strictObject({ batch_predictions: z.array(z.union([...answers, ...failed])) });
  return {
    PredictRequest: z.union([
      z.looseObject({ input, ...options }),
      z.looseObject({ input_batch: z.array(input), ...options }),
    ]),
    PredictReply: z.union([...answers, list]),
    PredictError: z.union([
      ...words.map((shape) => z.strictObject(shape)),
      list.describe("All of them failed"),
    ]),
    UpdateRequest: z.looseObject({ uid: z.int(), input, label: z.number() }),
    UpdateError: z.union([z.string().describe("Text, whatever its type says"), errorSchema]),
  };
}

function standIn(output: z.ZodType) {
  return z.strictObject({
    query_id: count,
    output,
    default: z.literal(true),
    default_explanation: z.string(),
    default_reason: z.string().describe("Stable code"),
    default_details: z.string().optional(),
  });
}

const ERROR_WORDS = [{ error: z.string(), message: z.string(), details: anything }] as const;
const CLIPPER_WORDS = { error: z.string(), cause: z.string() } as const;

function instanceSchemas(input: z.ZodType, output: z.ZodType) {
  const instances = z.looseObject({ instances: z.array(input) });
  const predictions = z.strictObject({ predictions: z.array(output) });
  return {
    InstancesRequest: instances,
    InstancesReply: predictions,
    InvocationRequest: z.union([instances, input]),
    InvocationReply: z.union([predictions, output]),
  };
}

function inferSchemas() {
  const tensor = {
    name: z.string(),
    datatype: z.enum(DATATYPES),
    shape: z.array(count),
    parameters: z.looseObject({ binary_data_size: count.optional() }).optional(),
    data: z.array(z.unknown()).optional().describe("Nested or flat; left out where it travels in binary"),
  };
  const inputs = z.array(z.looseObject(tensor));
  const outputs = z.array(z.strictObject(tensor));
  const outputName = z.string();
  return {
    InferInputs: inputs,
    OutputName: outputName,
    InferOutputs: outputs,
    InferRequest: z.looseObject({
      id: z.string().optional(),
      parameters: z
        .looseObject({
          timeout: count.optional().describe("Microseconds"),
          priority: count.optional(),
          binary_data_output: z.boolean().optional(),
        })
        .optional(),
      inputs,
      outputs: z
        .array(
          z.looseObject({
            name: outputName,
            parameters: z
              .looseObject({ classification: count.optional(), binary_data: z.boolean().optional() })
              .optional(),
          }),
        )
        .optional(),
    }),
    InferReply: z.strictObject({
      model_name: z.string(),
      model_version: z.string(),
      id: z.string().optional(),
      parameters: anything.optional(),
      outputs,
    }),
    GenerateRequest: z.looseObject({
      id: z.string().optional(),
      text_input: z.string().optional(),
      parameters: anything.optional(),
    }),
    GenerateReply: z.looseObject({
      model_name: z.string(),
      model_version: z.string(),
      text_output: z
        .string()
        .optional()
        .describe("Of a model with one output of text; others have their names"),
    }),
  };
}

function catalogSchemas() {
  const tensor = z.strictObject({
    name: z.string(),
    datatype: z.enum(DATATYPES),
    shape: z.array(z.int().min(-1)),
    parameters: anything.optional(),
  });
  const total = z.strictObject({ count, ns: count });
  return {
    ServerMetadata: z.strictObject({
      name: z.string(),
      version: z.string(),
      extensions: z.array(z.string()),
    }),
    ModelMetadata: z.strictObject({
      name: z.string(),
      versions: z.array(z.string()),
      platform: z.string(),
      inputs: z.array(tensor),
      outputs: z.array(tensor),
    }),
    ModelConfig: z.looseObject({
      name: z.string(),
      platform: z.string(),
      backend: z.string(),
      max_batch_size: count,
    }),
    ModelStatistics: z.strictObject({
      model_stats: z.array(
        z.strictObject({
          name: z.string(),
          version: z.string(),
          last_inference: z.number(),
          inference_count: count,
          execution_count: count,
          inference_stats: z.record(z.string(), total),
          batch_stats: z.array(
            z.strictObject({
              batch_size: count,
              compute_input: total,
              compute_infer: total,
              compute_output: total,
            }),
          ),
        }),
      ),
    }),
    ModelNames: z.strictObject({ models: z.array(z.string()) }),
    ModelReady: z.strictObject({ name: z.string(), ready: z.boolean() }),
    RepositoryIndexRequest: z.looseObject({ ready: z.boolean().optional().describe("Only what is ready") }),
    RepositoryRequest: z.looseObject({ parameters: anything.optional() }),
    RepositoryIndex: z.array(
      z.strictObject({ name: z.string(), version: z.string(), state: z.string(), reason: z.string() }),
    ),
  };
}
