// Parts "applications" and "replicas": what registered applications and more replicas cost a frontend.
import { deployFunction } from "windjammer";
import { type Effort, file, type Lab, sample, type Sample, startLab } from "./lab.ts";
import { residentMb } from "./processes.ts";
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
    targets.push({ count, lab, pids: await lab.pidsOf(MODEL), idleMb: await residentMb([lab.pid]) });
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
    // New processes run cold code, all of them at once.
    await sample(target, 2 * count, effort.seconds);
    const result = await sample(target, 2 * count, effort.seconds);
    one ||= result.perSecond / count;
    rows.push([count, result.perSecond, result.perSecond / one / count, result.cpuUs, result.allCpuUs]);
  }
  await lab.client.scale(name, 0);
  return {
    part: "replicas",
    yardstick:
      "Yardstick: the rate of the fewest replicas, times their number. Model: asleep for 10 ms, one query a batch; where all CPU times the rate comes near a second a core, the machine is full.",
    columns: ["replicas", "requests/s", "÷ ideal", "frontend CPU µs", "all CPU µs"],
    rows,
  };
}
