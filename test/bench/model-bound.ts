// Part "model": what of a model's own speed is left behind the whole path, with one replica and with two.
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { deployFunction, deployOnnxModel, deployTensorFlowModel } from "windjammer";
import { type Effort, file, type Lab, sample, type Sample } from "./lab.ts";
import { PIXELS } from "./onnx-models.ts";
import type { Workload } from "./load.ts";
import { firstNumberQueries, rowQueries } from "./queries.ts";
import type { Table } from "./report.ts";
import { figureOf, ratio } from "./statistics.ts";

interface LoopResult {
  readonly perSecond: number;
  readonly cpuUs: number;
}

export interface ModelParts {
  readonly lab: Lab;
  readonly models: { readonly mlp: string; readonly convnet: string };
  readonly effort: Effort;
}

interface Deployed {
  readonly label: string;
  readonly name: string;
  readonly workload: Workload;
}

export async function measureModels(parts: ModelParts): Promise<Table> {
  const { lab, effort } = parts;
  const rows: Table["rows"][number][] = [];
  for await (const { label, name, workload } of deployed(parts)) {
    const files = await filesOf(lab, name);
    for (const replicas of [1, 2]) {
      await lab.client.scale(name, replicas);
      const pids = await lab.pidsOf(name);
      await sample({ workload, pids }, 64, 1);
      const before = await lab.batches(name);
      const path: Sample[] = [];
      const loop: LoopResult[] = [];
      const alone: LoopResult[] = [];
      for (let round = 0; round < effort.repeats; round++) {
        path.push(await sample({ workload, pids }, 64, effort.seconds));
        const { queries, batches } = await lab.batches(name);
        const size = Math.max(1, Math.round((queries - before.queries) / (batches - before.batches)));
        loop.push(await runLoop(files, size, effort.seconds));
        alone.push(await runLoop(files, 1, effort.seconds));
      }
      const after = await lab.batches(name);
      const rates = path.map((one) => one.perSecond);
      rows.push([
        label,
        replicas,
        (after.queries - before.queries) / (after.batches - before.batches),
        figureOf(path, (one) => one.perSecond),
        figureOf(loop, (one) => one.perSecond),
        ratio(
          rates,
          loop.map((one) => one.perSecond),
        ),
        ratio(
          rates,
          alone.map((one) => one.perSecond),
        ),
        figureOf(path, (one) => one.allCpuUs).median,
        figureOf(loop, (one) => one.cpuUs).median,
      ]);
    }
    await lab.client.scale(name, 0);
  }
  return {
    part: "model",
    yardstick:
      "Yardstick: the model's own loader called in a loop in a process of its own, at the mean batch size of the path, asked in turn with it. 64 connections.",
    columns: [
      "model",
      "replicas",
      "batch",
      "path, rows/s",
      "loop, rows/s",
      "path ÷ loop",
      "path ÷ loop at batch 1",
      "path CPU µs a row",
      "loop CPU µs a row",
    ],
    rows,
  };
}

const run = promisify(execFile);

async function runLoop(files: string, size: number, seconds: number): Promise<LoopResult> {
  const program = file("programs/loader-loop.ts");
  const args = ["--conditions=windjammer-source", program, files, String(size), String(seconds)];
  return JSON.parse((await run(process.execPath, args)).stdout) as LoopResult;
}

/** Where the server keeps the bundle of a model. */
async function filesOf(lab: Lab, name: string): Promise<string> {
  const [version] = await lab.client.versions(name);
  if (version === undefined) throw new Error(`no version of ${name}`);
  return join(lab.stateDir, "bundles", version.bundle, "files");
}

/** Deploys each model in turn; its queries come with it. */
async function* deployed({ lab, models }: ModelParts): AsyncGenerator<Deployed> {
  const noop = "loop-no-op";
  const module = file("models/first.ts");
  await deployFunction(lab.client, { name: noop, version: "1", inputType: "doubles", module });
  yield {
    label: "no-op function",
    name: noop,
    workload: firstNumberQueries(lab.urlOf(noop), PIXELS),
  };
  for (const [label, source] of Object.entries(models)) {
    const name = `loop-${label}`;
    await deployOnnxModel(lab.client, { name, version: "1", model: source, inputType: "floats" });
    yield { label, name, workload: await rowQueries({ url: lab.urlOf(name), shape: [PIXELS] }) };
  }
  const name = "loop-tensorflow";
  const model = file("../../examples/digits/tfjs");
  await deployTensorFlowModel(lab.client, { name, version: "1", model, backend: "wasm" });
  yield {
    label: "digits, tfjs on wasm",
    name,
    workload: await rowQueries({ url: lab.urlOf(name), shape: [8, 8, 1] }),
  };
}
