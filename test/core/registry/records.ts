// Records for registry tests, complete but for what a test is about.
import type { InputType } from "../../../containers/protocol.ts";
import { manifest } from "../../../core/deploy/deployer.ts";
import type { Application, Deployment, DeploymentEvent, Version } from "../../../core/types.ts";

export function anApplication(name: string, fields: Partial<Application> = {}): Application {
  return { name, inputType: "doubles", ...fields };
}

export function aVersion(
  model: string,
  version: string,
  fields: Partial<Version> & { readonly inputType?: Exclude<InputType, "tensor"> } = {},
): Version {
  const { inputType = "doubles", ...rest } = fields;
  return {
    model,
    version,
    bundle: version.padEnd(64, "0"),
    manifest: manifest({ deployer: "test", loader: "function", inputType }),
    settings: {
      replicas: 1,
      limits: { cpus: 1 },
      batching: { policy: "slo", maxBatchSize: 256 },
      readyTimeoutMs: 60_000,
      batchTimeoutMs: 30_000,
      isRetryable: true,
      examples: [],
      tolerance: 1e-4,
    },
    desiredReplicas: 1,
    createdAt: "2026-01-01T00:00:00.000Z",
    ...rest,
  };
}

export function aDeployment(id: string, fields: Partial<Deployment> = {}): Deployment {
  return {
    id,
    application: "digits",
    model: "digits",
    version: "1",
    bundle: "0".repeat(64),
    state: "succeeded",
    startedAt: "2026-01-01T00:00:00.000Z",
    ...fields,
  };
}

export function anEvent(sequence: number, message = "ready"): DeploymentEvent {
  return { sequence, at: "2026-01-01T00:00:00.000Z", step: "ready", level: "info", message };
}
