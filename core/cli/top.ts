// `windjammer top`: what every model does now: rate, latency, batches, queue, replicas, memory.
import { setTimeout as delay } from "node:timers/promises";
import type { Command } from "commander";
import type { Windjammer } from "../client/interface.ts";
import { InvalidOptionsError, WindjammerError } from "../errors.ts";
import { untilInterrupted } from "./interrupt.ts";
import {
  buckets,
  type Buckets,
  difference,
  type MetricSample,
  parseMetrics,
  quantile,
  total,
} from "./metrics-text.ts";
import { type Cell, Output, paint, table } from "./output.ts";
import { serverCommand, type ServerFlags, withServer } from "./server.ts";
import { bytesText, durationText, percentText, threeDigits } from "./units.ts";

const DEFAULT_INTERVAL_MS = 1_000;
const SHORTEST_INTERVAL_MS = 100;
/** Of a terminal that does not say how many it has. */
const FALLBACK_ROWS = 24;
/** The other screen of the terminal, without a cursor; and back. */
const OPEN_SCREEN = "\u001B[?1049h\u001B[?25l";
const CLOSE_SCREEN = "\u001B[?25h\u001B[?1049l";
const REDRAW = "\u001B[H\u001B[J";

interface TopFlags extends ServerFlags {
  readonly once?: true;
  readonly intervalMs: number;
}

/** What one version did within an interval. */
interface TopRow {
  readonly model: string;
  readonly version: string;
  /** Queries answered a second, with predictions or otherwise. */
  readonly ratePerS: number;
  /** Of those, the share that got a default output or an error. */
  readonly failedShare: number;
  /** Null: nothing was answered. */
  readonly p50Ms: number | null;
  readonly p99Ms: number | null;
  readonly meanBatchSize: number | null;
  readonly queueLength: number;
  readonly readyReplicas: number;
  readonly replicas: number;
  readonly memoryBytes: number;
  /** Of one CPU. */
  readonly cpuShare: number;
}

interface Snapshot {
  readonly at: string;
  readonly intervalMs: number;
  readonly versions: readonly TopRow[];
}

export function topCommand(): Command {
  return serverCommand("top", "what every model does now: rate, latency, batches, queue, replicas, memory")
    .option("--once", "one snapshot; where no terminal is watched there is never more")
    .option("--interval-ms <ms>", "time between two snapshots", parseInterval, DEFAULT_INTERVAL_MS)
    .action(async (flags: TopFlags) => {
      const output = new Output(flags);
      const isLive = process.stdout.isTTY && flags.once !== true && !output.isJson;
      await withServer(flags, (wj) =>
        untilInterrupted(async (signal) => {
          if (isLive) await watch(wj, flags.intervalMs, signal);
          else await printOnce(wj, { flags, output, signal });
        }),
      );
    });
}

interface Printing {
  readonly flags: TopFlags;
  readonly output: Output;
  readonly signal: AbortSignal;
}

/** With --json a line each, until Ctrl-C unless it is to be one. */
async function printOnce(wj: Windjammer, { flags, output, signal }: Printing): Promise<void> {
  const sampler = new Sampler(wj);
  await sampler.snapshot();
  do {
    await delay(flags.intervalMs, undefined, { signal });
    const snapshot = await sampler.snapshot();
    output.item(snapshot, () => textOf(snapshot));
  } while (output.isJson && flags.once !== true);
}

async function watch(wj: Windjammer, intervalMs: number, signal: AbortSignal): Promise<void> {
  const sampler = new Sampler(wj);
  process.stdout.write(OPEN_SCREEN);
  try {
    for (;;) {
      const snapshot = await sampler.snapshot();
      const title = `${paint("bold", "windjammer top")}  ${wj.adminUrl}  ${snapshot.at}  Ctrl-C ends`;
      const lines = [title, "", ...textOf(snapshot).split("\n")];
      process.stdout.write(REDRAW + lines.slice(0, (process.stdout.rows || FALLBACK_ROWS) - 1).join("\n"));
      await delay(intervalMs, undefined, { signal });
    }
  } finally {
    process.stdout.write(CLOSE_SCREEN);
  }
}

/** Remembers the scrape before, since rates are differences. */
class Sampler {
  readonly #wj: Windjammer;
  #before:
    | {
        readonly at: number;
        readonly samples: readonly MetricSample[];
        readonly cpuMs: ReadonlyMap<string, number>;
      }
    | undefined;

  constructor(wj: Windjammer) {
    this.#wj = wj;
  }

  async snapshot(): Promise<Snapshot> {
    const [text, replicas] = await Promise.all([this.#wj.metrics(), this.#wj.replicas()]);
    const at = performance.now();
    const stats = new Map(
      await Promise.all(
        replicas.map(async ({ id }) => {
          const read = await this.#wj.stats(id).catch(unknownStats);
          return [id, read] as const;
        }),
      ),
    );
    const samples = parseMetrics(text);
    const before = this.#before;
    const intervalMs = before === undefined ? 0 : at - before.at;
    this.#before = { at, samples, cpuMs: new Map([...stats].map(([id, { cpuMs }]) => [id, cpuMs])) };
    const versions = new Map(
      replicas.map(({ model, version }) => [`${model} ${version}`, { model, version }]),
    );
    const rows = Array.from(versions.values(), ({ model, version }): TopRow => {
      const own = replicas.filter((replica) => replica.model === model && replica.version === version);
      const cpuMs = own.reduce((sum, { id }) => {
        const former = before?.cpuMs.get(id);
        return former === undefined ? sum : sum + Math.max(0, (stats.get(id)?.cpuMs ?? 0) - former);
      }, 0);
      return {
        model,
        version,
        ...traffic({ model, version }, { samples, before: before?.samples, intervalMs }),
        readyReplicas: own.filter(({ state }) => state === "ready").length,
        replicas: own.length,
        memoryBytes: own.reduce((sum, { id }) => sum + (stats.get(id)?.memoryBytes ?? 0), 0),
        cpuShare: intervalMs === 0 ? 0 : cpuMs / intervalMs,
      };
    });
    const byRate = rows.toSorted(
      (one, other) => other.ratePerS - one.ratePerS || one.model.localeCompare(other.model),
    );
    return { at: new Date().toISOString(), intervalMs: Math.round(intervalMs), versions: byRate };
  }
}

/** It ended meanwhile, or is elsewhere. */
function unknownStats(error: unknown): { readonly memoryBytes: number; readonly cpuMs: number } {
  if (error instanceof WindjammerError && error.code !== "SERVER_UNREACHABLE")
    return { memoryBytes: 0, cpuMs: 0 };
  throw error;
}

interface Scrapes {
  readonly samples: readonly MetricSample[];
  readonly before: readonly MetricSample[] | undefined;
  readonly intervalMs: number;
}

function traffic(
  { model, version }: { readonly model: string; readonly version: string },
  { samples, before, intervalMs }: Scrapes,
): Pick<TopRow, "ratePerS" | "failedShare" | "p50Ms" | "p99Ms" | "meanBatchSize" | "queueLength"> {
  const match = (labels: Readonly<Record<string, string>>): boolean =>
    labels["model"] === model && labels["version"] === version;
  const isOk = (labels: Readonly<Record<string, string>>): boolean =>
    match(labels) && labels["kind"] === "ok";
  const since = (name: string): Buckets =>
    difference(
      buckets(samples, name, match),
      before === undefined ? undefined : buckets(before, name, match),
    );
  const count = (which: typeof match): number =>
    Math.max(
      0,
      total(samples, "windjammer_queries_total", which) -
        total(before ?? [], "windjammer_queries_total", which),
    );
  const all = before === undefined ? 0 : count(match);
  const latency = since("windjammer_query_duration_seconds");
  const sizes = since("windjammer_batch_size");
  const ms = (share: number): number | null => {
    const seconds = before === undefined ? undefined : quantile(latency, share);
    return seconds === undefined ? null : seconds * 1000;
  };
  return {
    ratePerS: intervalMs === 0 ? 0 : (all * 1000) / intervalMs,
    failedShare: all === 0 ? 0 : 1 - count(isOk) / all,
    p50Ms: ms(0.5),
    p99Ms: ms(0.99),
    meanBatchSize: before === undefined || sizes.count === 0 ? null : sizes.sum / sizes.count,
    queueLength: total(samples, "windjammer_queue_length", match),
  };
}

function textOf({ versions }: Snapshot): string {
  if (versions.length === 0) return "no model runs";
  return table(
    ["MODEL", "VERSION", "RATE/S", "FAILED", "P50", "P99", "BATCH", "QUEUE", "REPLICAS", "MEMORY", "CPU"],
    versions.map((row): Cell[] => [
      { text: row.model, style: "bold" },
      row.version,
      Number(threeDigits(row.ratePerS)),
      row.failedShare === 0 ? undefined : { text: percentText(row.failedShare), style: "red" },
      row.p50Ms === null ? undefined : durationText(row.p50Ms),
      row.p99Ms === null ? undefined : durationText(row.p99Ms),
      row.meanBatchSize === null ? undefined : row.meanBatchSize.toFixed(1),
      row.queueLength,
      row.readyReplicas === row.replicas
        ? `${row.readyReplicas}/${row.replicas}`
        : { text: `${row.readyReplicas}/${row.replicas}`, style: "yellow" },
      bytesText(row.memoryBytes),
      percentText(row.cpuShare),
    ]),
  );
}

function parseInterval(text: string): number {
  const ms = Number(text);
  if (Number.isInteger(ms) && ms >= SHORTEST_INTERVAL_MS && ms <= 3_600_000) return ms;
  throw new InvalidOptionsError(
    `--interval-ms: expected ${SHORTEST_INTERVAL_MS} or more, got ${JSON.stringify(text)}`,
    {
      details: { option: "intervalMs" },
    },
  );
}
