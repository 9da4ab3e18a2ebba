// Part "start": how long a server takes to serve, and what it needs while nobody asks.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { deployOnnxModel } from "windjammer";
import { SqliteStore } from "../../core/registry/sqlite-store.ts";
import type { Change } from "../../core/registry/store.ts";
import { testVersion } from "../helpers/versions.ts";
import { type Lab, startLab } from "./lab.ts";
import { PIXELS } from "./onnx-models.ts";
import { cpuMs, residentMb, sharedOnceMb } from "./processes.ts";
import type { Table } from "./report.ts";
import { figureOf } from "./statistics.ts";

const MODEL = "started";

/** Start to ready: with nothing registered, with so many retired models, and with one that runs. */
export async function measureStart(
  counts: readonly number[],
  model: string,
  repeats: number,
): Promise<Table> {
  const rows: Table["rows"][number][] = [];
  for (const count of counts) {
    rows.push([
      `${count} registered, none runs`,
      ...(await measured(repeats, { prepare: (stateDir) => seed(stateDir, count) })),
    ]);
  }
  const prepare = (stateDir: string): Promise<void> => deployOne(stateDir, model);
  rows.push(["one ONNX MLP that runs", ...(await measured(repeats, { prepare, ready: firstAnswer }))]);
  return {
    part: "start",
    yardstick:
      "Start of the process to its first answer on the management API or, with a model that runs, to its first prediction. Memory and CPU are of the frontend and its model container together; memory is resident, first summed, so that pages of Node's file count for each, then with shared pages counted once. The first idle second begins half a second behind the first answer; then, from the 15th second to the 20th, a second's share.",
    columns: [
      "models",
      "start ms",
      "memory MiB",
      "shared pages once, MiB",
      "CPU ms in the first idle second",
      "CPU ms in an idle second",
    ],
    rows,
  };
}

interface Case {
  readonly prepare: (stateDir: string) => Promise<void>;
  /** What has to be done besides the start of the server. */
  readonly ready?: (lab: Lab) => Promise<void>;
}

async function measured(
  repeats: number,
  { prepare, ready = () => Promise.resolve() }: Case,
): Promise<Table["rows"][number]> {
  const stateDir = await mkdtemp(join(tmpdir(), "windjammer-bench-start-"));
  try {
    await prepare(stateDir);
    const startsMs: number[] = [];
    let mb = 0;
    let onceMb = 0;
    let firstIdleMs = 0;
    let idleMs = 0;
    for (let round = 0; round < repeats; round++) {
      const startedAt = performance.now();
      const lab = await startLab({ stateDir });
      await ready(lab);
      startsMs.push(performance.now() - startedAt);
      const pids = await lab.pidsOf(MODEL);
      mb = await residentMb(pids);
      onceMb = await sharedOnceMb(pids);
      if (round === repeats - 1) [firstIdleMs, idleMs] = await idleCpu(pids);
      await lab.close();
    }
    return [figureOf(startsMs, (ms) => ms), mb, onceMb, firstIdleMs, idleMs];
  } finally {
    await rm(stateDir, { recursive: true, force: true });
  }
}

/** Of the first idle second, and of one of those that follow, ms. */
async function idleCpu(pids: readonly number[]): Promise<readonly [first: number, later: number]> {
  await delay(500);
  const first = await cpuASecond(pids, 1);
  // V8 looks for garbage once or twice more, 8 s behind the last time.
  await delay(13_500);
  return [first, await cpuASecond(pids, 5)];
}

async function cpuASecond(pids: readonly number[], seconds: number): Promise<number> {
  const before = await cpuMs(pids);
  await delay(seconds * 1000);
  return ((await cpuMs(pids)) - before) / seconds;
}

async function deployOne(stateDir: string, model: string): Promise<void> {
  await using lab = await startLab({ stateDir });
  await deployOnnxModel(lab.client, { name: MODEL, version: "1", model, inputType: "floats" });
}

async function firstAnswer(lab: Lab): Promise<void> {
  const body = JSON.stringify({ input: Array.from({ length: PIXELS }, () => 0.5) });
  for (let status = 0; status !== 200;) {
    const reply = await fetch(lab.urlOf(MODEL), { method: "POST", body });
    await reply.arrayBuffer();
    status = reply.status;
    if (status !== 200) await delay(5);
  }
}

async function seed(stateDir: string, count: number): Promise<void> {
  const store = new SqliteStore(stateDir);
  await store.open();
  const changes: Change[] = [];
  for (let index = 0; index < count; index++) {
    const name = `model-${index}`;
    changes.push(
      { put: "versions", record: { ...testVersion(), model: name, desiredReplicas: 0 } },
      { put: "models", record: { name, currentVersion: "1" } },
      { put: "applications", record: { name, inputType: "json" } },
      { put: "links", record: { application: name, model: name, weight: 1 } },
    );
  }
  await store.commit(changes);
  await store.close();
}
