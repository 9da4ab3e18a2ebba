// What a version and an application become by a deployment's options, and what they are by default.
import { isDeepStrictEqual } from "node:util";
import type { InputType } from "../../containers/protocol.ts";
import { InvalidOptionsError } from "../errors.ts";
import type {
  Application,
  ApplicationOptions,
  DeploymentRequest,
  ReplicaLimits,
  VersionOptions,
  VersionSettings,
} from "../types.ts";
import { describeIssues, REPORT_INPUT } from "./issues.ts";
import { DEPLOY_OPTION_KEYS, deploymentRequestSchema } from "./options.ts";

/** What a version runs with where its deployment says nothing else. */
export const DEFAULT_SETTINGS: VersionSettings = {
  replicas: 1,
  limits: { cpus: 1 },
  batching: { policy: "slo", maxBatchSize: 256 },
  readyTimeoutMs: 60_000,
  batchTimeoutMs: 30_000,
  isRetryable: true,
  examples: [],
  tolerance: 1e-4,
};

/** Preparing may take so long where the deployment says nothing else. */
export const DEFAULT_PREPARE_TIMEOUT_MS = 600_000;

/** @throws InvalidOptionsError naming each wrong field, with its value */
export function checkDeploymentRequest(value: unknown): DeploymentRequest {
  const parsed = deploymentRequestSchema.safeParse(value, REPORT_INPUT);
  if (parsed.success) return parsed.data;
  const { text, details } = describeIssues(parsed.error, "option", [...DEPLOY_OPTION_KEYS, "bundle"]);
  throw new InvalidOptionsError(`invalid deployment options: ${text}`, { details });
}

/** What a version's replicas are run with. What the options leave out is taken from `base`. */
export function resolveSettings(
  options: VersionOptions,
  base: VersionSettings,
  replicas: number,
): VersionSettings {
  const memoryMb = options.memoryMb ?? base.limits.memoryMb;
  const maxInFlight = options.maxInFlight ?? base.maxInFlight;
  return {
    replicas,
    limits: { ...(memoryMb === undefined ? {} : { memoryMb }), cpus: options.cpus ?? base.limits.cpus },
    batching: options.batching ?? base.batching,
    ...(maxInFlight === undefined ? {} : { maxInFlight }),
    readyTimeoutMs: options.readyTimeoutMs ?? base.readyTimeoutMs,
    batchTimeoutMs: options.batchTimeoutMs ?? base.batchTimeoutMs,
    isRetryable: options.isRetryable ?? base.isRetryable,
    examples: options.examples ?? base.examples,
    tolerance: options.tolerance ?? base.tolerance,
  };
}

/** Names of the settings that replicas and their queue are built with, where `a` and `b` differ. */
export function changedRunSettings(a: VersionSettings, b: VersionSettings): readonly string[] {
  const limits = ["memoryMb", "cpus"] satisfies (keyof ReplicaLimits)[];
  const others = [
    "batching",
    "maxInFlight",
    "readyTimeoutMs",
    "batchTimeoutMs",
    "isRetryable",
  ] satisfies (keyof VersionSettings)[];
  return [
    ...limits.filter((key) => a.limits[key] !== b.limits[key]),
    ...others.filter((key) => !isDeepStrictEqual(a[key], b[key])),
  ];
}

/** Whether the gate would try a version otherwise than before. */
export function changedGate(a: VersionSettings, b: VersionSettings): boolean {
  return a.tolerance !== b.tolerance || !isDeepStrictEqual(a.examples, b.examples);
}

/** What a deployment may say about its application. */
const APPLICATION_FIELDS = ["latencyObjectiveMs", "defaultOutput", "cache"] as const;

/**
 * The application with what the request says about it, and nothing else. Undefined when the deployment makes none.
 * @throws InvalidOptionsError when settings come without an application
 */
export function requestedApplication(
  request: ApplicationOptions & { readonly name: string },
  inputType: InputType,
): Application | undefined {
  const given = APPLICATION_FIELDS.filter((field) => request[field] !== undefined);
  if (request.application === null) {
    if (given.length === 0) return undefined;
    const [field] = given;
    throw new InvalidOptionsError(
      `${field} belongs to an application, and this deployment of model ${request.name} makes none (application: null); leave it out or name an application`,
      { details: { field } },
    );
  }
  const changes: Partial<Application> = Object.fromEntries(given.map((field) => [field, request[field]]));
  return { name: request.application ?? request.name, inputType, ...changes };
}
