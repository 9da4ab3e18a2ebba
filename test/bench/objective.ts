// What the parts about the latency objective share: the model whose capacity is known, queries that are due at given times,
// and how their ends are shown.
import { deployFunction } from "windjammer";
import { OBJECTIVE_MS, poisson } from "../core/query/batching/workloads.ts";
import { file, type Lab } from "./lab.ts";
import { openLoop, type OpenResult } from "./load.ts";
import { firstNumberQueries } from "./queries.ts";

export const MAX_BATCH = 64;

/** Deploys one of models/sleeping.ts; gives its URL. */
export async function deploySleeping(lab: Lab, model: string, options: SleepingOptions): Promise<string> {
  const module = file("models/sleeping.ts");
  await deployFunction(lab.client, { version: "1", inputType: "doubles", module, export: model, ...options });
  return lab.urlOf(options.name);
}

type Options = Parameters<typeof deployFunction>[1];
type SleepingOptions = Pick<Options, "name" | "batching" | "latencyObjectiveMs" | "defaultOutput">;

/** The first seconds teach the policy the model's curve; a server is not judged by them. */
export async function teach(url: string): Promise<void> {
  const arrivals = within(poisson(99, 0.5), 2);
  await openLoop(firstNumberQueries(url, 1), { arrivals, objectiveMs: OBJECTIVE_MS });
}

export function within(arrivals: Float64Array, seconds: number): Float64Array {
  return arrivals.filter((at) => at < seconds * 1000);
}

export function percent(count: number, { total }: OpenResult): string {
  return `${((100 * count) / total).toFixed(1)} %`;
}

/** In time, late, given up. */
export function shares(result: OpenResult): readonly string[] {
  return [result.inTime, result.late, result.givenUp].map((count) => percent(count, result));
}
