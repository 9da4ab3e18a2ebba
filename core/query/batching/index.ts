// Makes the batching policy that a version's settings ask for.
import type { BatchingSettings } from "../../types.ts";
import { AimdPolicy } from "./aimd.ts";
import { FixedPolicy } from "./fixed.ts";
import { NonePolicy } from "./none.ts";
import type { BatchingPolicy, PolicyState } from "./policy.ts";
import { SloPolicy } from "./slo.ts";

/**
 * A policy for one version, shared by its replicas.
 * @param contractMax most rows the model container takes in one call; undefined: no limit of its own
 * @param learned what the policy knows of the version in another process
 */
export function batchingPolicy(
  settings: BatchingSettings,
  contractMax: number = Infinity,
  learned?: PolicyState,
): BatchingPolicy {
  if (settings.policy === "none") return new NonePolicy();
  const maxBatchSize = Math.min(settings.maxBatchSize, contractMax);
  if (settings.policy === "fixed") return new FixedPolicy(maxBatchSize, settings.maxDelayMs);
  if (settings.policy === "aimd") return new AimdPolicy(maxBatchSize);
  return new SloPolicy(maxBatchSize, learned);
}
