// The metrics as Prometheus text: what this server counts, gauges read at each scrape, and figures of its process.
import { monitorEventLoopDelay } from "node:perf_hooks";
import { setTimeout as delay } from "node:timers/promises";
import { collectDefaultMetrics, Gauge, type Metric, Registry } from "prom-client";
import type { Families } from "./metric-families.ts";

/** One version as it stands at a scrape. */
export interface VersionGauges {
  readonly model: string;
  readonly version: string;
  readonly ready: number;
  readonly starting: number;
  readonly queueLength: number;
  readonly inFlight: number;
  /** What a batch takes, as far as it was learned. */
  readonly curve?: { readonly fixedMs: number; readonly perRowMs: number } | undefined;
}

/** What a process of the server uses. */
export interface ProcessUsage {
  readonly pid: number;
  /** User and system time since its start. */
  readonly cpuSeconds: number;
  readonly residentBytes: number;
}

/** What gauges show, read at each scrape. */
interface Readings {
  readonly versions: () => Iterable<VersionGauges>;
  readonly workers: () => Iterable<ProcessUsage>;
}

/** How often prom-client looks at the event loop. */
const SAMPLE_EVERY_MS = 10;

export class MetricText {
  readonly #registry = new Registry();
  readonly #read: Readings;

  private constructor(families: Families, read: Readings) {
    this.#read = read;
    // The registry only calls `get`; its types want one of prom-client's own classes.
    const counted: readonly Metric[] = Object.values(families);
    for (const family of counted) this.#registry.registerMetric(family);
    this.#addGauges();
    collectDefaultMetrics({ register: this.#registry });
  }

  static async create(families: Families, read: Readings): Promise<MetricText> {
    const text = new MetricText(families, read);
    await firstSample();
    return text;
  }

  read(): Promise<string> {
    return this.#registry.metrics();
  }

  #addGauges(): void {
    const versions = (what: string[], fill: (gauge: Gauge, one: VersionGauges) => void): Filling => ({
      labelNames: ["model", "version", ...what],
      fill: (gauge) => {
        for (const one of this.#read.versions()) fill(gauge, one);
      },
    });
    const workers = (value: (one: ProcessUsage) => number): Filling => ({
      labelNames: ["pid"],
      fill: (gauge) => {
        for (const one of this.#read.workers()) gauge.set({ pid: one.pid }, value(one));
      },
    });
    this.#addGauge(
      "windjammer_replicas",
      "Replicas that run, by state.",
      versions(["state"], (gauge, { model, version, ready, starting }) => {
        gauge.set({ model, version, state: "ready" }, ready);
        gauge.set({ model, version, state: "starting" }, starting);
      }),
    );
    this.#addGauge(
      "windjammer_batch_curve_seconds",
      "What a batch takes, as the batching policy has learned it: fixed, and for each row.",
      versions(["part"], (gauge, { model, version, curve }) => {
        if (curve === undefined) return;
        gauge.set({ model, version, part: "fixed" }, curve.fixedMs / 1000);
        gauge.set({ model, version, part: "row" }, curve.perRowMs / 1000);
      }),
    );
    this.#addGauge(
      "windjammer_queue_length",
      "Queries that wait for a replica.",
      versions([], (gauge, { model, version, queueLength }) => gauge.set({ model, version }, queueLength)),
    );
    this.#addGauge(
      "windjammer_batches_in_flight",
      "Batches on their way to replicas and back.",
      versions([], (gauge, { model, version, inFlight }) => gauge.set({ model, version }, inFlight)),
    );
    this.#addGauge(
      "windjammer_worker_cpu_seconds",
      "CPU time of each worker process since its start, user and system.",
      workers(({ cpuSeconds }) => cpuSeconds),
    );
    this.#addGauge(
      "windjammer_worker_resident_memory_bytes",
      "Resident memory of each worker process.",
      workers(({ residentBytes }) => residentBytes),
    );
  }

  #addGauge(name: string, help: string, { labelNames, fill }: Filling): void {
    const gauge = new Gauge({
      name,
      help,
      labelNames,
      registers: [this.#registry],
      collect: () => {
        gauge.reset();
        fill(gauge);
      },
    });
  }
}

/** How a gauge is set at each scrape. */
interface Filling {
  readonly labelNames: string[];
  readonly fill: (gauge: Gauge) => void;
}

/** Until the watch over the event loop has its first sample, it reports a delay of 292 years; a later watch has it later. */
async function firstSample(): Promise<void> {
  const watch = monitorEventLoopDelay({ resolution: SAMPLE_EVERY_MS });
  watch.enable();
  while (watch.count === 0) await delay(SAMPLE_EVERY_MS);
  watch.disable();
}
