// Schemas of every body and reply of the management API; the OpenAPI document is made from them.
import { z } from "zod";
import type { InputType, Manifest } from "../../containers/protocol.ts";
import type { PolicyState } from "../query/batching/policy.ts";
import type { RecentError } from "../query/recent-errors.ts";
import type { ReplicaStats } from "../runtimes/runtime.ts";
import { manifestSchema } from "../deploy/bundle.ts";
import {
  batchingSchema as batching,
  bundleHashSchema as hash,
  cacheSchema as cache,
  deploymentRequestSchema,
  exampleSchema as example,
  jsonValueSchema as jsonValue,
  latencyObjectiveSchema as latencyObjectiveMs,
  nameSchema as name,
  maxInFlightSchema,
  replicasSchema,
  versionNameSchema as version,
} from "../deploy/options.ts";
import type {
  Application,
  Deployment,
  DeploymentError,
  DeploymentEvent,
  DeploymentStep,
  Link,
  LogLine,
  Model,
  ReplicaExit,
  ReplicaStatus,
  Version,
  VersionSettings,
} from "../types.ts";

export type { ReplicaStats };

const time = z.iso.datetime();
const count = z.int().min(0);

// Parameters

export const nameParams: z.ZodType<{ name: string }> = z.strictObject({ name });
export const modelParams: z.ZodType<{ model: string }> = z.strictObject({ model: name });
export const linkParams: z.ZodType<{ name: string; model: string }> = z.strictObject({
  name,
  model: name,
});
export const versionParams: z.ZodType<{ model: string; version: string }> = z.strictObject({
  model: name,
  version,
});
export const idParams: z.ZodType<{ id: string }> = z.strictObject({ id: z.string().min(1).max(200) });
export const hashParams: z.ZodType<{ hash: string }> = z.strictObject({ hash });

export interface LogsQuery {
  readonly tail?: number;
  readonly since?: string;
  readonly follow: boolean;
}

export const logsQuery: z.ZodType<LogsQuery> = z.strictObject({
  tail: z
    .string()
    .regex(/^\d{1,6}$/, "expected a whole number up to 999999")
    .transform(Number)
    .exactOptional(),
  since: z.iso
    .datetime({ offset: true, error: "expected a time such as 2026-01-31T12:00:00Z" })
    .exactOptional(),
  follow: z
    .enum(["true", "false", "1", "0"])
    .default("false")
    .transform((text) => text === "true" || text === "1"),
});

// Bodies

const inputType: z.ZodType<InputType> = z.enum([
  "integers",
  "floats",
  "doubles",
  "bytes",
  "strings",
  "json",
  "tensor",
]);

/** An application without its name, which is in the path. */
export const applicationBody: z.ZodType<Omit<Application, "name">> = z.strictObject({
  inputType,
  latencyObjectiveMs: latencyObjectiveMs.exactOptional(),
  defaultOutput: jsonValue.exactOptional(),
  cache: cache.exactOptional(),
});

export const currentVersionBody: z.ZodType<{ version: string }> = z.strictObject({ version });
export const replicasBody: z.ZodType<{ replicas: number }> = z.strictObject({ replicas: replicasSchema });

// Replies

export const errorSchema: z.ZodType<{ error: string; message: string; details: Record<string, unknown> }> =
  z.strictObject({
    error: z.string().describe("Stable code, UPPER_SNAKE"),
    message: z.string(),
    details: z.record(z.string(), z.unknown()),
  });

/** Summary of a running server. */
export interface ServerInfo {
  readonly version: string;
  readonly queryUrl: string;
  readonly runtime: string;
  readonly startedAt: string;
  /** Processes that take predictions; empty: the server's own process does. */
  readonly workers: readonly WorkerStatus[];
}

/** A process that takes predictions. */
export interface WorkerStatus {
  readonly pid: number;
  readonly state: "starting" | "ready";
  readonly startedAt: string;
}

/** What `GET /api/v1/server` gives: the summary, and the limits a client keeps to. */
export interface ServerReply extends ServerInfo {
  readonly limits: { readonly maxInputs: number; readonly maxBodyBytes: number };
}

export const serverSchema: z.ZodType<ServerReply> = z.strictObject({
  version: z.string(),
  queryUrl: z.url(),
  runtime: z.string(),
  startedAt: time,
  workers: z
    .array(z.strictObject({ pid: count, state: z.enum(["starting", "ready"]), startedAt: time }))
    .readonly(),
  limits: z.strictObject({ maxInputs: count, maxBodyBytes: count }),
});

/** What a server says that was told to stop: where its state is, free again when it has ended. */
export interface StopReply {
  readonly status: "closing";
  readonly pid: number;
  readonly stateDir: string;
}

export const stopSchema: z.ZodType<StopReply> = z.strictObject({
  status: z.literal("closing"),
  pid: count,
  stateDir: z.string(),
});

export const applicationSchema: z.ZodType<Application> = z.strictObject({
  name,
  inputType,
  latencyObjectiveMs: latencyObjectiveMs.exactOptional(),
  defaultOutput: jsonValue.exactOptional(),
  defaultOutputText: z.string().exactOptional(),
  cache: cache.exactOptional(),
});

export const linkSchema: z.ZodType<Link> = z.strictObject({
  application: name,
  model: name,
  weight: z.number(),
});

export const modelSchema: z.ZodType<Model> = z.strictObject({
  name,
  currentVersion: version,
});

const settings: z.ZodType<VersionSettings> = z.strictObject({
  replicas: replicasSchema,
  limits: z.strictObject({ memoryMb: z.number().exactOptional(), cpus: z.number() }),
  batching,
  maxInFlight: maxInFlightSchema.exactOptional(),
  readyTimeoutMs: z.number(),
  batchTimeoutMs: z.number(),
  isRetryable: z.boolean(),
  examples: z.array(example).readonly(),
  tolerance: z.number(),
});

const versionShape = {
  model: name,
  version,
  bundle: hash,
  manifest: manifestSchema,
  settings,
  desiredReplicas: replicasSchema,
  createdAt: time,
};

export const versionSchema: z.ZodType<Version> = z.strictObject(versionShape);

const replicaExit: z.ZodType<ReplicaExit> = z.strictObject({
  reason: z.enum(["stopped", "exited", "killed", "out-of-memory"]),
  exitCode: z.int().exactOptional(),
  signal: z.string().exactOptional(),
  message: z.string(),
});

/** What a replica uses, by its runtime. */
export const statsSchema: z.ZodType<ReplicaStats> = z.strictObject({
  memoryBytes: z.number(),
  cpuMs: z.number(),
});

export const replicaSchema: z.ZodType<ReplicaStatus> = z.strictObject({
  id: z.string(),
  model: name,
  version,
  state: z.enum(["starting", "ready", "stopping", "restarting", "failed"]),
  handle: z.string(),
  startedAt: time,
  restarts: count,
  lastExit: replicaExit.exactOptional(),
  ejectedFor: z.string().exactOptional(),
});

const policyState: z.ZodType<PolicyState> = z.strictObject({
  policy: z.string(),
  maxBatchSize: z.number(),
  curve: z
    .strictObject({ fixedMs: z.number(), perRowMs: z.number(), upperFactor: z.number(), batches: count })
    .exactOptional(),
  arrivalRate: z.number().exactOptional(),
});

/** What runs of a version. */
interface RunningVersion {
  readonly replicas: readonly ReplicaStatus[];
  readonly readyCount: number;
  readonly queueLength: number;
  /** Batches on their way to its replicas. */
  readonly inFlight: number;
  /** Most of them that one replica holds, of all processes together: with workers more than the version's `maxInFlight`. */
  readonly maxInFlight: number;
  readonly policy: PolicyState;
  /** What queries met lately, newest first. */
  readonly errors: readonly RecentError[];
  /** The last thing that went wrong with a replica. */
  readonly trouble?: string;
}

/** A version's record and what runs of it; null when nothing does. */
export interface VersionDetail extends Version {
  readonly running: RunningVersion | null;
}

const recentError: z.ZodType<RecentError> = z.strictObject({
  code: z.string(),
  message: z.string(),
  count,
  at: time,
});

export const versionDetailSchema: z.ZodType<VersionDetail> = z.strictObject({
  ...versionShape,
  running: z
    .strictObject({
      replicas: z.array(replicaSchema).readonly(),
      readyCount: count,
      queueLength: count,
      inFlight: count,
      maxInFlight: count,
      policy: policyState,
      errors: z.array(recentError).readonly(),
      trouble: z.string().exactOptional(),
    })
    .nullable(),
});

const step: z.ZodType<DeploymentStep> = z.enum([
  "receive",
  "check",
  "store",
  "prepare",
  "start",
  "ready",
  "gate",
  "switch",
  "scale",
  "drain",
  "done",
]);

const deploymentError: z.ZodType<DeploymentError> = z.strictObject({
  code: z.string(),
  message: z.string(),
  step,
  logTail: z.array(z.string()).readonly(),
  details: z.record(z.string(), jsonValue),
});

export const deploymentSchema: z.ZodType<Deployment> = z.strictObject({
  id: z.string(),
  application: z.string(),
  model: name,
  version,
  bundle: hash,
  state: z.enum(["running", "succeeded", "failed"]),
  result: z.enum(["deployed", "ready", "unchanged"]).exactOptional(),
  startedAt: time,
  endedAt: time.exactOptional(),
  error: deploymentError.exactOptional(),
});

export const eventSchema: z.ZodType<DeploymentEvent> = z.strictObject({
  sequence: count,
  at: time,
  step,
  level: z.enum(["info", "warning", "error"]),
  message: z.string(),
  details: z.record(z.string(), jsonValue).exactOptional(),
});

export const logLineSchema: z.ZodType<LogLine> = z.strictObject({
  at: time,
  stream: z.enum(["stdout", "stderr"]),
  text: z.string(),
});

export interface BundleDetail {
  readonly bundle: string;
  readonly manifest: Manifest;
}

export const bundleDetailSchema: z.ZodType<BundleDetail> = z.strictObject({
  bundle: hash,
  manifest: manifestSchema,
});

export const bundleSchema: z.ZodType<{ bundle: string }> = z.strictObject({ bundle: hash });
export const liveSchema: z.ZodType<{ status: "live" }> = z.strictObject({ status: z.literal("live") });

/** Whether the server takes requests, and what of it cannot answer now. */
export interface Readiness {
  readonly status: "ready" | "closing";
  readonly withoutReplica: readonly { readonly model: string; readonly version: string }[];
}

export const readinessSchema: z.ZodType<Readiness> = z.strictObject({
  status: z.enum(["ready", "closing"]),
  withoutReplica: z
    .array(z.strictObject({ model: name, version }))
    .readonly()
    .describe("Versions that should run and have no ready replica: they start, or they failed"),
});

/** Schemas that get a name of their own in the OpenAPI document. */
export const NAMED_SCHEMAS: { readonly [name: string]: z.ZodType } = {
  Error: errorSchema,
  Server: serverSchema,
  Application: applicationSchema,
  ApplicationBody: applicationBody,
  Link: linkSchema,
  Model: modelSchema,
  Manifest: manifestSchema,
  Version: versionSchema,
  VersionDetail: versionDetailSchema,
  Replica: replicaSchema,
  Deployment: deploymentSchema,
  DeploymentRequest: deploymentRequestSchema,
  DeploymentEvent: eventSchema,
  LogLine: logLineSchema,
  JsonValue: jsonValue,
};
