// Part "scale": what registered applications, registered models and more replicas cost a frontend.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { deployFunction } from "windjammer";
import { SqliteStore } from "../../core/registry/sqlite-store.ts";
import type { Change } from "../../core/registry/store.ts";
import { processStats } from "../../core/runtimes/process/process-info.ts";
import { testVersion } from "../helpers/versions.ts";
import { type Effort, file, type Lab, sample, type Sample, startLab } from "./lab.ts";
import { firstNumberQueries } from "./queries.ts";
import type { Table } from "./report.ts";
import { figureOf, ratio } from "./statistics.ts";

const MODEL = "scaled";

/** Frontends with so many applications, side by side, asked in turn. */
export async function measureApplications(counts: readonly number[], effort: Effort): Promise<Table> {
  await using labs = new AsyncDisposableStack();
  const targets: {
    readonly count: number;
    readonly lab: Lab;
    readonly pids: readonly number[];
    readonly idleMb: number;
  }[] = [];
  for (const count of counts) {
    const lab = labs.use(await startLab());
    await deployFunction(lab.client, {
      name: MODEL,
      version: "1",
      inputType: "doubles",
      module: file("models/first.ts"),
    });
    await register(lab, count - 1);
    targets.push({ count, lab, pids: await lab.pidsOf(MODEL), idleMb: await memoryMb(lab.pid) });
  }
  const samples = targets.map((): Sample[] => []);
  for (let round = -1; round < effort.repeats; round++) {
    for (const [index, { lab, pids, count }] of targets.entries()) {
      // The application that was registered last.
      const url = lab.urlOf(count === 1 ? MODEL : `application-${count - 2}`);
      const one = await sample({ workload: firstNumberQueries(url, 4), pids }, 64, effort.seconds);
      if (round >= 0) samples[index]?.push(one);
    }
  }
  const [fewest = []] = samples;
  const rows = targets.map(({ count, idleMb }, index) => {
    const of = samples[index] ?? [];
    const idleKb = ((idleMb - (targets[0]?.idleMb ?? 0)) * 1024) / (count - 1);
    return [
      count,
      figureOf(of, (one) => one.perSecond),
      ratio(
        of.map((one) => one.perSecond),
        fewest.map((one) => one.perSecond),
      ),
      ratio(
        of.map((one) => one.cpuUs),
        fewest.map((one) => one.cpuUs),
      ),
      idleMb,
      count === 1 ? "–" : idleKb,
    ];
  });
  return {
    part: "applications",
    yardstick:
      "Yardstick: a frontend with one application, asked in turn with the others. No-op function, 4 numbers, 64 connections. Memory is resident, before load.",
    columns: [
      "applications",
      "requests/s",
      "÷ one",
      "frontend CPU ÷ one",
      "memory MiB",
      "KiB an application",
    ],
    rows,
  };
}

async function register(lab: Lab, count: number): Promise<void> {
  const api = `${lab.client.adminUrl}/api/v1/applications`;
  for (let index = 0; index < count; index++) {
    const name = `application-${index}`;
    const body = JSON.stringify({ inputType: "doubles", latencyObjectiveMs: 1000 });
    const reply = await fetch(`${api}/${name}`, {
      method: "PUT",
      body,
      headers: { "content-type": "application/json" },
    });
    if (!reply.ok) throw new Error(`could not register ${name}: ${await reply.text()}`);
    await reply.arrayBuffer();
    await lab.client.link(name, MODEL);
  }
}

async function memoryMb(pid: number): Promise<number> {
  return ((await processStats(pid))?.memoryBytes ?? 0) / 2 ** 20;
}

/** Start to ready, with nothing registered and with so many retired models. */
export async function measureStart(counts: readonly number[], repeats: number): Promise<Table> {
  const rows: Table["rows"][number][] = [];
  for (const count of counts) {
    const stateDir = await mkdtemp(join(tmpdir(), "windjammer-bench-start-"));
    try {
      await seed(stateDir, count);
      const startsMs: number[] = [];
      let mb = 0;
      let idleCpuMs = 0;
      for (let round = 0; round < repeats; round++) {
        const startedAt = performance.now();
        const lab = await startLab({ stateDir });
        startsMs.push(performance.now() - startedAt);
        mb = await memoryMb(lab.pid);
        idleCpuMs = await idleCpu(lab.pid);
        await lab.close();
      }
      rows.push([count, figureOf(startsMs, (ms) => ms), mb, idleCpuMs]);
    } finally {
      await rm(stateDir, { recursive: true, force: true });
    }
  }
  return {
    part: "start",
    yardstick:
      "Start of the process to its first answer on the management API, with so many registered models, none of which runs.",
    columns: ["models", "start ms", "memory MiB", "CPU ms in an idle second"],
    rows,
  };
}

async function idleCpu(pid: number): Promise<number> {
  await new Promise((resolve) => setTimeout(resolve, 500));
  const before = (await processStats(pid))?.cpuMs ?? 0;
  await new Promise((resolve) => setTimeout(resolve, 1000));
  return ((await processStats(pid))?.cpuMs ?? 0) - before;
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

/** More replicas of a model that sleeps 10 ms a batch of one: the rate has to grow with them. */
export async function measureReplicas(lab: Lab, counts: readonly number[], effort: Effort): Promise<Table> {
  const name = "replicas";
  await deployFunction(lab.client, {
    name,
    version: "1",
    inputType: "doubles",
    module: file("models/sleeping.ts"),
    export: "flat",
    batching: { policy: "none" },
  });
  const rows: Table["rows"][number][] = [];
  let one = 0;
  for (const count of counts) {
    await lab.client.scale(name, count);
    const target = { workload: firstNumberQueries(lab.urlOf(name), 4), pids: await lab.pidsOf(name) };
    const result = await sample(target, 2 * count, effort.seconds);
    one ||= result.perSecond / count;
    rows.push([count, result.perSecond, result.perSecond / one / count, result.cpuUs]);
  }
  await lab.client.scale(name, 0);
  return {
    part: "replicas",
    yardstick:
      "Yardstick: the rate of the fewest replicas, times their number. Model: asleep for 10 ms, one query a batch.",
    columns: ["replicas", "requests/s", "÷ ideal", "frontend CPU µs"],
    rows,
  };
}
