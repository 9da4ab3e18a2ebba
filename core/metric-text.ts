// The metrics as Prometheus text: what this server counts, gauges read at each scrape, and figures of its process.
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
  /** What a batch takes, as far as it was learned. */
  readonly curve?: { readonly fixedMs: number; readonly perRowMs: number } | undefined;
}

/** Until the watch over the event loop has its first sample, it reports a delay of 292 years. */
const FIRST_SAMPLE_MS = 20;

export class MetricText {
  readonly #registry = new Registry();
  readonly #readGauges: () => Iterable<VersionGauges>;

  private constructor(families: Families, readGauges: () => Iterable<VersionGauges>) {
    this.#readGauges = readGauges;
    // The registry only calls `get`; its types want one of prom-client's own classes.
    const counted: readonly Metric[] = Object.values(families);
    for (const family of counted) this.#registry.registerMetric(family);
    this.#addGauges();
    collectDefaultMetrics({ register: this.#registry });
  }

  static async create(families: Families, readGauges: () => Iterable<VersionGauges>): Promise<MetricText> {
    const text = new MetricText(families, readGauges);
    await delay(FIRST_SAMPLE_MS);
    return text;
  }

  read(): Promise<string> {
    return this.#registry.metrics();
  }

  #addGauges(): void {
    const registers = [this.#registry];
    const replicas = new Gauge({
      name: "windjammer_replicas",
      help: "Replicas that run, by state.",
      labelNames: ["model", "version", "state"],
      registers,
      collect: () => {
        replicas.reset();
        for (const { model, version, ready, starting } of this.#readGauges()) {
          replicas.set({ model, version, state: "ready" }, ready);
          replicas.set({ model, version, state: "starting" }, starting);
        }
      },
    });
    const curve = new Gauge({
      name: "windjammer_batch_curve_seconds",
      help: "What a batch takes, as the batching policy has learned it: fixed, and for each row.",
      labelNames: ["model", "version", "part"],
      registers,
      collect: () => {
        curve.reset();
        for (const { model, version, curve: learned } of this.#readGauges()) {
          if (learned === undefined) continue;
          curve.set({ model, version, part: "fixed" }, learned.fixedMs / 1000);
          curve.set({ model, version, part: "row" }, learned.perRowMs / 1000);
        }
      },
    });
    const queueLength = new Gauge({
      name: "windjammer_queue_length",
      help: "Queries that wait for a replica.",
      labelNames: ["model", "version"],
      registers,
      collect: () => {
        queueLength.reset();
        for (const { model, version, queueLength: length } of this.#readGauges()) {
          queueLength.set({ model, version }, length);
        }
      },
    });
  }
}
