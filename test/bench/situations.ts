// Part "situations": the latency objective where things go wrong, or differ: a model that becomes slow, batches that
// straggle, queries with other objectives side by side.
import { SloPolicy } from "../../core/query/batching/slo.ts";
import { simulate } from "../core/query/batching/simulation.ts";
import {
  linear,
  OBJECTIVE_MS,
  poisson,
  type Workload as Arrivals,
} from "../core/query/batching/workloads.ts";
import { requestBytes } from "./connection.ts";
import type { Lab } from "./lab.ts";
import { openLoop, type OpenResult, type Workload } from "./load.ts";
import { deploySleeping, MAX_BATCH, shares, teach, within } from "./objective.ts";
import type { Table } from "./report.ts";

/** The model slows down so much in the middle of the run. */
const SLOWDOWN = 1.6;
/** So many of the batches take three times as long. */
const STRAGGLERS = "5 %";
const TIGHT_MS = 60;

interface Run {
  readonly lab: Lab;
  readonly seconds: number;
}

export async function measureSituations(lab: Lab, seconds: number): Promise<Table> {
  const run = { lab, seconds };
  return {
    part: "situations",
    yardstick: `Yardstick: the slo policy in virtual time, on the same arrivals and the same model. Model: 10 ms + 1 ms a row, objective ${OBJECTIVE_MS} ms, Poisson arrivals, open loop.`,
    columns: ["situation", "load", "in time", "late", "given up", "÷ virtual time", "p99 ms of all replies"],
    rows: [
      await slowdown(run, 0.9),
      await slowdown(run, 1.1),
      await mixed(run, 0.9),
      await mixed(run, 1.1),
      await stragglers(run, "cut off at the objective", true),
      await stragglers(run, "waited for", false),
    ],
  };
}

/** Each query says how slow the model is by then. */
async function slowdown(run: Run, load: number): Promise<Table["rows"][number]> {
  const url = await deploy(run.lab, "slowing", { latencyObjectiveMs: OBJECTIVE_MS });
  const arrivals = within(poisson(11, load), run.seconds);
  const isSlow = (atMs: number): boolean => atMs > run.seconds * 500;
  const workload = queries(url, arrivals, (index) => ({
    input: [index, isSlow(arrivals[index] ?? 0) ? SLOWDOWN : 1],
  }));
  const result = await openLoop(workload, { arrivals, objectiveMs: OBJECTIVE_MS });
  const latencyMs = (size: number, nowMs: number): number => linear(size) * (isSlow(nowMs) ? SLOWDOWN : 1);
  return [
    `model ${SLOWDOWN} times slower from the middle on`,
    load,
    ...cells(result, { arrivals, latencyMs, replicas: 1, seed: 1 }),
  ];
}

/** Every other query brings a shorter deadline of its own. */
async function mixed(run: Run, load: number): Promise<Table["rows"][number]> {
  const url = await deploy(run.lab, "served", { latencyObjectiveMs: OBJECTIVE_MS });
  const arrivals = within(poisson(12, load), run.seconds);
  const objectiveMs = (index: number): number => (index % 2 === 0 ? OBJECTIVE_MS : TIGHT_MS);
  const workload = queries(url, arrivals, (index) => ({
    input: [index],
    ...(index % 2 === 0 ? {} : { timeout_ms: TIGHT_MS }),
  }));
  const result = await openLoop(workload, { arrivals, objectiveMs });
  return [
    `objectives of ${TIGHT_MS} and ${OBJECTIVE_MS} ms in turn`,
    load,
    ...cells(result, { arrivals, latencyMs: linear, replicas: 1, seed: 1, objectiveMs }),
  ];
}

/** What callers wait for when some batches take far longer than they should. */
async function stragglers(run: Run, what: string, hasObjective: boolean): Promise<Table["rows"][number]> {
  const objective = { latencyObjectiveMs: OBJECTIVE_MS, defaultOutput: -1 };
  const url = await deploy(run.lab, "straggling", hasObjective ? objective : {});
  const arrivals = within(poisson(13, 0.3), run.seconds);
  const workload = queries(url, arrivals, (index) => ({ input: [index] }));
  const result = await openLoop(workload, { arrivals, objectiveMs: OBJECTIVE_MS });
  return [`${STRAGGLERS} of batches take 150 ms, ${what}`, 0.3, ...shares(result), "–", result.replyP99Ms];
}

/** A model of its own each time, so that none profits from what another has learned. */
async function deploy(lab: Lab, model: string, options: Objective): Promise<string> {
  const name = `${model}-${(await lab.client.models()).length}`;
  const batching = { policy: "slo", maxBatchSize: MAX_BATCH } as const;
  const url = await deploySleeping(lab, model, { name, batching, ...options });
  await teach(url);
  return url;
}

interface Objective {
  readonly latencyObjectiveMs?: number;
  readonly defaultOutput?: number;
}

function queries(url: string, { length }: Float64Array, bodyOf: (index: number) => object): Workload {
  return {
    url,
    requests: Array.from({ length }, (_, index) => requestBytes(url, JSON.stringify(bodyOf(index)))),
    isRight: (index, body) => body.includes(`"output":${index},`),
  };
}

function cells(result: OpenResult, workload: Arrivals): Table["rows"][number] {
  const virtual = simulate(new SloPolicy(MAX_BATCH), workload);
  return [...shares(result), result.inTime / virtual.inTime, result.replyP99Ms];
}
