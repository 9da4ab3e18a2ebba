// Part "cache": what the prediction cache is worth where queries repeat, and what it costs where they do not.
import { deployOnnxModel } from "windjammer";
import { type Effort, interleaved, type Lab } from "./lab.ts";
import { PIXELS } from "./onnx-models.ts";
import { rowQueries } from "./queries.ts";
import type { Table } from "./report.ts";
import { figureOf, ratioOf } from "./statistics.ts";

/** Holds every query of the workload, or so few that none is there any more when it comes again. */
const SETTINGS = {
  off: undefined,
  "on, every query repeats": { maxBytes: 64 * 2 ** 20, ttlMs: 600_000 },
  "on, none ever does": { maxBytes: 32 * 2 ** 10, ttlMs: 600_000 },
} as const;

export async function measureCache(
  lab: Lab,
  models: Readonly<Record<string, string>>,
  effort: Effort,
): Promise<Table> {
  const rows: Table["rows"][number][] = [];
  for (const [model, source] of Object.entries(models)) {
    const targets = [];
    for (const [index, cache] of Object.values(SETTINGS).entries()) {
      const name = `cached-${model}-${index}`;
      await deployOnnxModel(lab.client, { name, version: "1", model: source, inputType: "floats", cache });
      const workload = await rowQueries({ url: lab.urlOf(name), shape: [PIXELS] });
      targets.push({ workload, pids: await lab.pidsOf(name) });
    }
    const samples = await interleaved(targets, 64, effort);
    const [off = []] = samples;
    for (const [index, setting] of Object.keys(SETTINGS).entries()) {
      const of = samples[index] ?? [];
      rows.push([
        model,
        setting,
        figureOf(of, (one) => one.perSecond),
        ratioOf(of, off, (one) => one.perSecond),
        ratioOf(of, off, (one) => one.allCpuUs),
        figureOf(of, (one) => one.p50Ms).median,
      ]);
      await lab.client.scale(`cached-${model}-${index}`, 0);
    }
  }
  return {
    part: "cache",
    yardstick:
      "Yardstick: the same model without a cache, asked in turn with the others. 256 different queries of 784 numbers in turn, 64 connections.",
    columns: ["model", "cache", "requests/s", "÷ off", "all CPU ÷ off", "p50 ms"],
    rows,
  };
}
