// Part "path": the bare echo, the frontend without a hop, the whole path, in turn.
import { deployFunction, deployOnnxModel } from "windjammer";
import { file, interleaved, type Effort, type Lab, type Plain, type Sample, type Target } from "./lab.ts";
import { PIXELS } from "./onnx-models.ts";
import { firstNumberQueries, rowQueries } from "./queries.ts";
import type { Table } from "./report.ts";
import { figureOf, ratio } from "./statistics.ts";
import type { Workload } from "./load.ts";

export interface PathParts {
  readonly lab: Lab;
  readonly echo: Plain;
  readonly ingress: Plain;
  readonly models: { readonly mlp: string };
  readonly connections: readonly number[];
  readonly effort: Effort;
}

interface Row {
  readonly name: string;
  readonly model: string;
  readonly length: number;
  readonly whole: Workload;
}

export async function measurePath(parts: PathParts): Promise<Table> {
  const rows: (readonly (string | number | ReturnType<typeof ratio>)[])[] = [];
  for (const row of await rowsOf(parts)) {
    for (const connections of parts.connections) rows.push(...(await measureRow(parts, row, connections)));
  }
  return {
    part: "path",
    yardstick:
      "Yardstick: a bare node:http server that parses the same body and answers its first number, asked in turn with the others. CPU is user and system time a request, from the operating system. Ingress is our frontend with a version that answers in its own process.",
    columns: [
      "model, input",
      "connections",
      "server",
      "requests/s",
      "rate ÷ echo",
      "rate ÷ ingress",
      "own CPU ÷ echo",
      "all CPU ÷ echo",
      "all CPU µs",
      "p50 ms",
      "p50 − echo, ms",
      "batch",
    ],
    rows,
  };
}

async function rowsOf({ lab, models }: PathParts): Promise<Row[]> {
  await deployFunction(lab.client, {
    name: "first",
    version: "1",
    inputType: "doubles",
    module: file("models/first.ts"),
  });
  await deployOnnxModel(lab.client, { name: "mlp", version: "1", model: models.mlp, inputType: "floats" });
  const first = (length: number): Row => ({
    name: `no-op function, ${length} numbers`,
    model: "first",
    length,
    whole: firstNumberQueries(lab.urlOf("first"), length),
  });
  const mlp: Row = {
    name: `ONNX MLP, ${PIXELS} numbers`,
    model: "mlp",
    length: PIXELS,
    whole: await rowQueries({ url: lab.urlOf("mlp"), shape: [PIXELS] }),
  };
  return [first(4), first(PIXELS), mlp];
}

async function measureRow(parts: PathParts, row: Row, connections: number): Promise<Table["rows"]> {
  const { lab, echo, ingress, effort } = parts;
  const targets: readonly (Target & { readonly name: string })[] = [
    { name: "echo", workload: firstNumberQueries(echo.url, row.length), pids: echo.pids },
    { name: "ingress", workload: firstNumberQueries(ingress.url, row.length), pids: ingress.pids },
    { name: "windjammer", workload: row.whole, pids: await lab.pidsOf(row.model) },
  ];
  const before = await lab.batches(row.model);
  const samples = await interleaved(targets, connections, effort);
  const after = await lab.batches(row.model);
  const batch = (after.queries - before.queries) / (after.batches - before.batches);
  const [bare = [], own = []] = samples;
  return targets.map(({ name, pids }, index) => {
    const of = samples[index] ?? [];
    const over = (key: keyof Sample, under: readonly Sample[]): ReturnType<typeof ratio> | string =>
      ratio(
        of.map((one) => one[key]),
        under.map((one) => one[key]),
      );
    const cpu = (cell: ReturnType<typeof over>): ReturnType<typeof over> => (pids.length === 0 ? "–" : cell);
    return [
      row.name,
      connections,
      name,
      figureOf(of, (one) => one.perSecond),
      over("perSecond", bare),
      over("perSecond", own),
      cpu(over("cpuUs", bare)),
      cpu(over("allCpuUs", bare)),
      pids.length === 0 ? "–" : figureOf(of, (one) => one.allCpuUs).median,
      figureOf(of, (one) => one.p50Ms).median,
      figureOf(of, (one) => one.p50Ms).median - figureOf(bare, (one) => one.p50Ms).median,
      name === "windjammer" ? batch : "–",
    ];
  });
}
