// Schemas of what a deployment is asked for: names, application options, version options. Client and server share them.
import { z } from "zod";
import type { JsonValue } from "../../containers/protocol.ts";
import { NAME_PATTERN, VERSION_PATTERN } from "../config.ts";
import type { BatchingSettings, DeploymentRequest, Example } from "../types.ts";

/** Most replicas of one version. */
const MAX_REPLICAS = 1000;
/** Most batches at one replica: each has a connection. */
const MAX_IN_FLIGHT = 256;
const MAX_EXAMPLES = 1000;
const HOUR_MS = 3_600_000;

export const nameSchema: z.ZodType<string> = z
  .string()
  .regex(NAME_PATTERN, "expected a name (a-z, 0-9 and inner - or _, at most 100)");

export const versionNameSchema: z.ZodType<string> = z
  .string()
  .regex(VERSION_PATTERN, "expected a version (letters, digits and inner - . _, at most 64)");

export const bundleHashSchema: z.ZodType<string> = z
  .string()
  .regex(/^[0-9a-f]{64}$/, "expected the sha256 of a bundle (64 hex digits)");

/**
 * Any JSON value. Not z.json(), which visits each number of a large example: it came out of a JSON parser, whose
 * depth is bounded.
 */
export const jsonValueSchema: z.ZodType<JsonValue> = z.custom<JsonValue>(
  (value) => value !== undefined,
  "expected a JSON value",
);

const milliseconds = z.number().positive().max(HOUR_MS);
export const latencyObjectiveSchema: z.ZodType<number> = milliseconds;

export const cacheSchema: z.ZodType<{ maxBytes: number; ttlMs: number }> = z.strictObject({
  maxBytes: z
    .int()
    .min(1)
    .max(2 ** 40),
  ttlMs: z
    .number()
    .positive()
    .max(365 * 24 * HOUR_MS),
});

const maxBatchSize = z.int().min(1).max(100_000);

export const batchingSchema: z.ZodType<BatchingSettings> = z.discriminatedUnion("policy", [
  z.strictObject({ policy: z.literal("slo"), maxBatchSize }),
  z.strictObject({ policy: z.literal("aimd"), maxBatchSize }),
  z.strictObject({ policy: z.literal("fixed"), maxBatchSize, maxDelayMs: z.number().min(0).max(60_000) }),
  z.strictObject({ policy: z.literal("none") }),
]);

/** How many replicas a version may have. */
export const replicasSchema: z.ZodType<number> = z.int().min(0).max(MAX_REPLICAS);

/** How many batches a replica may hold at once. */
export const maxInFlightSchema: z.ZodType<number> = z.int().min(1).max(MAX_IN_FLIGHT);

export const exampleSchema: z.ZodType<Example> = z.strictObject({
  input: jsonValueSchema,
  output: jsonValueSchema.exactOptional(),
});

/** Resident memory measured: 87 MiB for a function that does nothing, 113 for a small ONNX model. */
const MIN_MEMORY_MB = 96;

const shape = {
  name: nameSchema,
  version: versionNameSchema,
  application: nameSchema.nullable().optional(),
  latencyObjectiveMs: milliseconds.optional(),
  defaultOutput: jsonValueSchema.optional(),
  cache: cacheSchema.optional(),
  replicas: replicasSchema.optional(),
  memoryMb: z
    .int()
    .min(MIN_MEMORY_MB, `a model container takes about ${MIN_MEMORY_MB} MiB without its model`)
    .max(2 ** 24)
    .optional(),
  cpus: z.number().positive().max(1024).optional(),
  batching: batchingSchema.optional(),
  prepareTimeoutMs: milliseconds.optional(),
  switch: z.boolean().optional(),
  maxInFlight: maxInFlightSchema.optional(),
  readyTimeoutMs: milliseconds.optional(),
  batchTimeoutMs: milliseconds.optional(),
  isRetryable: z.boolean().optional(),
  examples: z.array(exampleSchema).max(MAX_EXAMPLES).optional(),
  tolerance: z.number().min(0).max(1e9).optional(),
};

/** What every deploy call takes beside its deployer's options. */
export const deployOptionsSchema: z.ZodType<Omit<DeploymentRequest, "bundle">> = z.strictObject(shape);

/** Body of a deployment request. Nothing is filled in here: what is left out may be kept from before. */
export const deploymentRequestSchema: z.ZodType<DeploymentRequest> = z.strictObject({
  ...shape,
  bundle: bundleHashSchema,
});

/** Keys of `deployOptionsSchema`. */
export const DEPLOY_OPTION_KEYS: readonly string[] = Object.keys(shape);
