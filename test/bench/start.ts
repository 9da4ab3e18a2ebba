// Part "start": how long a server takes to serve, and what it needs while nobody asks.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
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
      "Start of the process to its first answer on the management API or, with a model that runs, to its first prediction. Memory and CPU are of the frontend and its model container together; memory is resident, first summed, so that pages of Node's file count for each, then with shared pages counted once.",
    columns: ["models", "start ms", "memory MiB", "shared pages once, MiB", "CPU ms in an idle second"],
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
    let idleCpuMs = 0;
    for (let round = 0; round < repeats; round++) {
      const startedAt = performance.now();
      const lab = await startLab({ stateDir });
      await ready(lab);
      startsMs.push(performance.now() - startedAt);
      const pids = await lab.pidsOf(MODEL);
      mb = await residentMb(pids);
      onceMb = await sharedOnceMb(pids);
      idleCpuMs = await idleCpu(pids);
      await lab.close();
    }
    return [figureOf(startsMs, (ms) => ms), mb, onceMb, idleCpuMs];
  } finally {
    await rm(stateDir, { recursive: true, force: true });
  }
}

async function idleCpu(pids: readonly number[]): Promise<number> {
  await new Promise((resolve) => setTimeout(resolve, 500));
  const before = await cpuMs(pids);
  await new Promise((resolve) => setTimeout(resolve, 1000));
  return (await cpuMs(pids)) - before;
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
    if (status !== 200) await new Promise((resolve) => setTimeout(resolve, 5));
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
