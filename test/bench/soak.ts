// `--soak 10m`: load for a long time; memory, handles and the event loop's delay at the beginning and at the end.
import { readdir } from "node:fs/promises";
import { deployFunction } from "windjammer";
import { processStats } from "../../core/runtimes/process/process-info.ts";
import { file, type Lab } from "./lab.ts";
import { closedLoop } from "./load.ts";
import { firstNumberQueries } from "./queries.ts";
import type { Table } from "./report.ts";

const ROUNDS = 10;

export async function soak(lab: Lab, seconds: number): Promise<Table> {
  const name = "soaked";
  await deployFunction(lab.client, {
    name,
    version: "1",
    inputType: "doubles",
    module: file("models/first.ts"),
    // Far off: on a machine that others use, too, a soak is to end with a table.
    latencyObjectiveMs: 60_000,
  });
  const workload = firstNumberQueries(lab.urlOf(name), 784);
  const pids = await lab.pidsOf(name);
  const rows: Table["rows"][number][] = [];
  // The event loop is watched from the first look on, and each look begins anew.
  await loopDelayMs(lab);
  for (let round = 0; round < ROUNDS; round++) {
    const { requests, p50Ms, p99Ms } = await closedLoop(workload, {
      connections: 64,
      seconds: seconds / ROUNDS,
    });
    rows.push([
      `${Math.round(((round + 1) * seconds) / ROUNDS)} s`,
      requests,
      p50Ms,
      p99Ms,
      await loopDelayMs(lab),
      ...(await sizes(pids)),
    ]);
  }
  return {
    part: "soak",
    yardstick:
      "Yardstick: the first line. No-op function, 784 numbers, 64 connections; every reply held against its query.",
    columns: [
      "after",
      "requests",
      "p50 ms",
      "p99 ms",
      "event loop p99 ms",
      "frontend MiB",
      "container MiB",
      "frontend handles",
      "container handles",
    ],
    rows,
  };
}

async function sizes(pids: readonly number[]): Promise<readonly number[]> {
  const memory = await Promise.all(
    pids.map(async (pid) => ((await processStats(pid))?.memoryBytes ?? 0) / 2 ** 20),
  );
  const handles = await Promise.all(
    pids.map(async (pid) => (await readdir(`/proc/${pid}/fd`).catch(() => [])).length),
  );
  return [...memory, ...handles];
}

async function loopDelayMs(lab: Lab): Promise<number> {
  const text = await lab.client.metrics();
  return Number(/^nodejs_eventloop_lag_p99_seconds (\S+)$/m.exec(text)?.[1]) * 1000;
}

/** "10m", "90s" → seconds. */
export function secondsOf(text: string): number {
  const [, amount, unit] = /^(\d+)([smh])$/.exec(text) ?? [];
  if (amount === undefined) throw new Error(`--soak takes a time such as 90s or 10m, not ${text}`);
  return Number(amount) * { s: 1, m: 60, h: 3600 }[unit as "s" | "m" | "h"];
}
