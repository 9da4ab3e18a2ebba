// Part "workers": one process that takes predictions against several on the same port.
import { availableParallelism } from "node:os";
import { deployFunction } from "windjammer";
import { type Effort, file, interleaved, startLab, type Target } from "./lab.ts";
import { treeOf } from "./processes.ts";
import { firstNumberQueries } from "./queries.ts";
import type { Table } from "./report.ts";
import { figureOf, ratioOf } from "./statistics.ts";

const MODEL = "first";

/** The first of `counts` is what the others are held against. */
export async function measureWorkers(counts: readonly number[], effort: Effort): Promise<Table> {
  await using labs = new AsyncDisposableStack();
  const servers: { readonly count: number; readonly url: string; readonly pids: readonly number[] }[] = [];
  for (const count of counts) {
    const lab = labs.use(await startLab({ args: ["--workers", String(count)] }));
    const module = file("models/first.ts");
    await deployFunction(lab.client, { name: MODEL, version: "1", inputType: "doubles", module });
    servers.push({ count, url: lab.urlOf(MODEL), pids: await treeOf(lab.pid) });
  }
  const rows: Table["rows"][number][] = [];
  for (const length of [4, 784]) {
    const targets = servers.map(({ url, pids }): Target => ({
      workload: firstNumberQueries(url, length),
      pids,
    }));
    for (const connections of [64, 256]) {
      const samples = await interleaved(targets, connections, effort);
      const [alone = []] = samples;
      for (const [index, { count }] of servers.entries()) {
        const of = samples[index] ?? [];
        rows.push([
          length,
          connections,
          count,
          figureOf(of, (one) => one.perSecond),
          ratioOf(of, alone, (one) => one.perSecond),
          figureOf(of, (one) => one.allCpuUs),
          ratioOf(of, alone, (one) => one.allCpuUs),
          figureOf(of, (one) => one.p50Ms).median,
        ]);
      }
    }
  }
  return {
    part: "workers",
    yardstick: `Yardstick: one process, asked in turn with the others. No-op function, one replica, ${availableParallelism()} cores in all, on which the load runs too: more processes than cores that are free for them gain nothing. CPU is of the server's processes and the container.`,
    columns: [
      "numbers",
      "connections",
      "workers",
      "requests/s",
      "rate ÷ one",
      "all CPU µs",
      "all CPU ÷ one",
      "p50 ms",
    ],
    rows,
  };
}
