// Part "goodput": how many queries are answered within the latency objective, at loads below and above capacity.
import type { BatchingSettings } from "windjammer";
import { SloPolicy } from "../../core/query/batching/slo.ts";
import { simulate } from "../core/query/batching/simulation.ts";
import {
  bursty,
  fluidBound,
  linear,
  OBJECTIVE_MS,
  poisson,
  type Workload as Arrivals,
} from "../core/query/batching/workloads.ts";
import type { Lab } from "./lab.ts";
import { openLoop, type OpenResult } from "./load.ts";
import { deploySleeping, MAX_BATCH, percent, shares, teach, within } from "./objective.ts";
import { firstNumberQueries } from "./queries.ts";
import type { Table } from "./report.ts";

const POLICIES: Readonly<Record<string, BatchingSettings>> = {
  slo: { policy: "slo", maxBatchSize: MAX_BATCH },
  aimd: { policy: "aimd", maxBatchSize: MAX_BATCH },
  "fixed 32, 10 ms": { policy: "fixed", maxBatchSize: 32, maxDelayMs: 10 },
  none: { policy: "none" },
};

export interface GoodputOptions {
  readonly seconds: number;
  readonly loads: readonly number[];
  readonly policies: readonly string[];
  readonly hasBursts: boolean;
}

export const ALL_POLICIES: readonly string[] = Object.keys(POLICIES);

export async function measureGoodput(lab: Lab, options: GoodputOptions): Promise<Table> {
  const rows: Table["rows"][number][] = [];
  for (const policy of options.policies) {
    const name = `goodput-${policy.split(" ")[0]}`;
    const batching = POLICIES[policy];
    const url = await deploySleeping(lab, "served", { name, batching, latencyObjectiveMs: OBJECTIVE_MS });
    await teach(url);
    const workload = firstNumberQueries(url, 4);
    for (const kind of options.hasBursts ? (["Poisson", "bursty"] as const) : (["Poisson"] as const)) {
      for (const [index, load] of options.loads.entries()) {
        const make = kind === "Poisson" ? poisson : bursty;
        const arrivals = within(make(index + 1, load), options.seconds);
        const result = await openLoop(workload, { arrivals, objectiveMs: OBJECTIVE_MS });
        rows.push([kind, load, policy, ...cells(result, arrivals)]);
      }
    }
    await lab.client.scale(name, 0);
  }
  return {
    part: "goodput",
    yardstick: `Yardsticks, of the same arrivals: the slo policy in virtual time, and an ideal server that knows no batches. Model: 10 ms + 1 ms a row, objective ${OBJECTIVE_MS} ms, loads as shares of its 800 rows/s. Open loop; latency counts from when a request was due.`,
    columns: [
      "arrivals",
      "load",
      "policy",
      "in time",
      "late",
      "given up",
      "virtual time",
      "÷ virtual time",
      "ideal",
      "p50 ms",
      "p99 ms",
    ],
    rows,
  };
}

function cells(result: OpenResult, arrivals: Float64Array): Table["rows"][number] {
  const workload: Arrivals = { arrivals, latencyMs: linear, replicas: 1, seed: 1 };
  const virtual = simulate(new SloPolicy(MAX_BATCH), workload);
  return [
    ...shares(result),
    percent(virtual.inTime, result),
    result.inTime / virtual.inTime,
    percent(fluidBound(workload) * result.total, result),
    result.p50Ms,
    result.p99Ms,
  ];
}
