// Version records and queries for tests of the query path.
import type { JsonValue } from "../../containers/protocol.ts";
import { encodeBytes } from "../../containers/tensors.ts";
import { manifest } from "../../core/deploy/deployer.ts";
import type { Query, Settlement } from "../../core/query/query.ts";
import type { BundleFolder, Version, VersionSettings } from "../../core/types.ts";

export function testVersion(settings: Partial<VersionSettings> = {}, version = "1"): Version {
  return {
    model: "echo",
    version,
    bundle: "0".repeat(64),
    manifest: manifest({ deployer: "test", loader: "function", inputType: "json" }),
    settings: {
      replicas: 1,
      limits: { cpus: 1 },
      batching: { policy: "slo", maxBatchSize: 64 },
      readyTimeoutMs: 10_000,
      batchTimeoutMs: 10_000,
      isRetryable: true,
      examples: [],
      tolerance: 1e-4,
      ...settings,
    },
    desiredReplicas: 1,
    createdAt: "2026-01-01T00:00:00.000Z",
  };
}

export function testBundle(version: Version): BundleFolder {
  return { hash: version.bundle, root: "/nonexistent", files: "/nonexistent", manifest: version.manifest };
}

/** A query of a json version, and the promise of how it was settled: rejects when it is settled twice. */
export function testQuery(
  value: JsonValue,
  deadlineAt: number = Infinity,
): { readonly query: Query; readonly settled: Promise<Settlement> } {
  let query: Query | undefined;
  const settled = new Promise<Settlement>((resolve, reject) => {
    let count = 0;
    query = {
      row: { tensors: [{ shape: [], data: encodeBytes([Buffer.from(JSON.stringify(value))]) }], key: "" },
      arrivedAt: performance.now(),
      deadlineAt,
      isAbandoned: false,
      settle(settlement: Settlement): void {
        count++;
        if (count > 1) reject(new Error(`settled ${count} times`));
        else setImmediate(() => resolve(settlement));
      },
    };
  });
  if (query === undefined) throw new Error("unreachable");
  return { query, settled };
}

/** The JSON output of a settled query, or its error's code. */
export function resultOf(settlement: Settlement): unknown {
  if (settlement.kind === "error") return settlement.error.code;
  const [tensor] = settlement.outputs.tensors;
  if (tensor === undefined) return undefined;
  const element = settlement.outputs.elements(tensor)[settlement.index];
  return JSON.parse(Buffer.from(element ?? []).toString()) as unknown;
}
