// Part "isolation": the Docker runtime, over its socket and over a port, against the process runtime.
import { type Effort, interleaved } from "./lab.ts";
import { file } from "./lab.ts";
import { PIXELS } from "./onnx-models.ts";
import { startServer } from "./processes.ts";
import { firstNumberQueries } from "./queries.ts";
import type { Table } from "./report.ts";
import { figureOf, ratioOf } from "./statistics.ts";

const NAMES = ["process", "docker-socket", "docker-port"] as const;

export async function measureIsolation(baseImage: string | undefined, effort: Effort): Promise<Table> {
  await using started = new AsyncDisposableStack();
  const urls: string[] = [];
  for (const name of NAMES) {
    const image = baseImage === undefined ? [] : [baseImage];
    const args = ["--conditions=windjammer-source", file("programs/runtime-server.ts"), name, ...image];
    urls.push(started.use(await startServer(args, /^http:\S+/)).url);
  }
  const rows: Table["rows"][number][] = [];
  for (const length of [4, PIXELS]) {
    for (const connections of [1, 64]) {
      const targets = urls.map((url) => ({
        workload: firstNumberQueries(`${url}/first/predict`, length),
        pids: [],
      }));
      const samples = await interleaved(targets, connections, effort);
      const [base = []] = samples;
      for (const [index, name] of NAMES.entries()) {
        const of = samples[index] ?? [];
        rows.push([
          length,
          connections,
          name,
          figureOf(of, (one) => one.perSecond),
          ratioOf(of, base, (one) => one.perSecond),
          figureOf(of, (one) => one.p50Ms),
          ratioOf(of, base, (one) => one.p50Ms),
        ]);
      }
    }
  }
  return {
    part: "isolation",
    yardstick: "Yardstick: the process runtime, asked in turn with the others. No-op function.",
    columns: ["numbers", "connections", "runtime", "requests/s", "÷ process", "p50 ms", "÷ process"],
    rows,
  };
}
