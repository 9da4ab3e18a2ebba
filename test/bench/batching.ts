// Part "batching": the policies side by side on models of known cost, 64 queries in flight.
import type { BatchingSettings } from "windjammer";
import { type Effort, interleaved, type Lab } from "./lab.ts";
import { deploySleeping } from "./objective.ts";
import { firstNumberQueries } from "./queries.ts";
import type { Table } from "./report.ts";
import { figureOf, ratioOf } from "./statistics.ts";

const MODELS = {
  flat: "10 ms",
  affine: "10 ms + 0.05 ms a row",
  linear: "1 ms a row",
} as const;

const POLICIES: Readonly<Record<string, BatchingSettings>> = {
  none: { policy: "none" },
  slo: { policy: "slo", maxBatchSize: 256 },
  aimd: { policy: "aimd", maxBatchSize: 256 },
  "delay-0": { policy: "fixed", maxBatchSize: 64, maxDelayMs: 0 },
  "delay-1": { policy: "fixed", maxBatchSize: 64, maxDelayMs: 1 },
  "delay-2": { policy: "fixed", maxBatchSize: 64, maxDelayMs: 2 },
};

export async function measureBatching(lab: Lab, effort: Effort): Promise<Table> {
  const rows: Table["rows"][number][] = [];
  for (const [model, cost] of Object.entries(MODELS)) {
    const names = Object.keys(POLICIES).map((policy) => ({ policy, name: `${model}-${policy}` }));
    // One replica each: the state of a policy is that of one version.
    for (const { policy, name } of names)
      await deploySleeping(lab, model, { name, batching: POLICIES[policy] });
    const targets = await Promise.all(
      names.map(async ({ name }) => ({
        workload: firstNumberQueries(lab.urlOf(name), 4),
        pids: await lab.pidsOf(name),
      })),
    );
    const before = await Promise.all(names.map(({ name }) => lab.batches(name)));
    const samples = await interleaved(targets, 64, effort);
    const [without = []] = samples;
    for (const [index, { policy, name }] of names.entries()) {
      const of = samples[index] ?? [];
      const after = await lab.batches(name);
      const { queries, batches } = before[index] ?? { queries: 0, batches: 0 };
      rows.push([
        cost,
        policy,
        figureOf(of, (one) => one.perSecond),
        ratioOf(of, without, (one) => one.perSecond),
        (after.queries - queries) / (after.batches - batches),
        figureOf(of, (one) => one.p50Ms).median,
        figureOf(of, (one) => one.p99Ms).median,
      ]);
    }
    for (const { name } of names) await lab.client.scale(name, 0);
  }
  return {
    part: "batching",
    yardstick:
      "Yardstick: the same model with policy none, asked in turn with the others. The models sleep, so that they take no CPU. 64 connections.",
    columns: ["model costs", "policy", "rows/s", "÷ none", "batch", "p50 ms", "p99 ms"],
    rows,
  };
}
