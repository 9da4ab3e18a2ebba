// The metrics of a server, by application and by version, and their Prometheus text.
import { collectDefaultMetrics, Gauge, Registry } from "prom-client";
import { Counters, type Count, type Distribution, Distributions, type Labels } from "./metric-series.ts";
import type { ExitReason } from "./types.ts";

type OutcomeKind = "ok" | "default" | "error";
type CacheResult = "hit" | "miss" | "joined";
export type DropReason = "deadline" | "shed" | "abandoned" | "no-replica" | "replica-lost";

/** What is counted of answers. */
interface OutcomeMetrics {
  /** One query was answered. `reason`: empty for "ok", the default's reason, or the error's code. */
  outcome(kind: OutcomeKind, reason: string, latencyMs: number): void;
}

/** What is counted of what one version answered to one application. */
interface AnswerMetrics extends OutcomeMetrics {
  /** A query was looked up in the application's cache. */
  cache(result: CacheResult): void;
}

/** What is counted of one application; `outcome` is for queries when it has no version. */
export interface ApplicationMetrics extends OutcomeMetrics {
  /** For queries that this version answered, failed to answer or whose inputs it does not take: always the same handle until it is removed. */
  by(model: string, version: string): AnswerMetrics;
}

/** What is counted of one version. */
export interface VersionMetrics {
  /** A batch came back. `computeMs`: the loader's own time, where the container reports it. */
  batch(size: number, latencyMs: number, computeMs: number | undefined): void;
  /** It came back with answers. */
  answered(size: number, latencyMs: number, computeMs: number | undefined): void;
  /** A query left the queue for a replica after so long. */
  waited(ms: number): void;
  /** A query was given up without a prediction. */
  dropped(reason: DropReason): void;
  replicaExit(reason: ExitReason): void;
}

/** One version as it stands at a scrape. */
export interface VersionGauges {
  readonly model: string;
  readonly version: string;
  readonly ready: number;
  readonly starting: number;
  readonly queueLength: number;
}

const SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30] as const;
const SIZES = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024] as const;

/** Every metric that this server counts. */
export interface Families {
  readonly queries: Counters;
  readonly queryDuration: Distributions;
  readonly cache: Counters;
  readonly queueWait: Distributions;
  readonly batchSize: Distributions;
  readonly batchDuration: Distributions;
  readonly compute: Distributions;
  readonly dropped: Counters;
  readonly refused: Counters;
  readonly replicaExits: Counters;
}

function families(registry: Registry): Families {
  const counter = (name: string, help: string): Counters => new Counters(registry, { name, help });
  const histogram = (name: string, help: string, bounds: readonly number[] = SECONDS): Distributions =>
    new Distributions(registry, { name, help, bounds });
  return {
    queries: counter(
      "windjammer_queries_total",
      "Queries answered, by version, kind of outcome and its reason.",
    ),
    queryDuration: histogram("windjammer_query_duration_seconds", "Arrival of a query to its answer."),
    cache: counter("windjammer_cache_total", "Queries looked up in the prediction cache."),
    queueWait: histogram("windjammer_queue_wait_seconds", "Time a query waited for a replica."),
    batchSize: histogram("windjammer_batch_size", "Queries in a batch.", SIZES),
    batchDuration: histogram("windjammer_batch_duration_seconds", "Dispatch of a batch to its result."),
    compute: histogram("windjammer_compute_seconds", "The loader's own time for a batch."),
    dropped: counter("windjammer_dropped_total", "Queries given up without a prediction."),
    refused: counter("windjammer_refused_total", "Requests refused as a whole, by dialect and reason."),
    replicaExits: counter("windjammer_replica_exits_total", "Replicas that ended, by reason."),
  };
}

/** Of something that happened again and again. */
export interface Total {
  readonly count: number;
  readonly ms: number;
}

/** Answered batches of one size. */
interface BatchStatistics {
  readonly size: number;
  readonly count: number;
  /** Dispatch to result, without the loader's own time. */
  readonly transferMs: number;
  readonly computeMs: number;
}

/** What one version did since it was opened. */
export interface VersionStatistics {
  /** `Date.now()` of the last answered batch; 0: none. */
  readonly lastBatchAt: number;
  readonly success: Total;
  readonly failure: Total;
  /** Waiting for a replica. */
  readonly queue: Total;
  /** Queries answered without a batch of their own: from the cache, or with an equal one in flight. */
  readonly cacheHits: number;
  readonly cacheMisses: number;
  readonly batches: readonly BatchStatistics[];
}

/** The outcomes of one application that one version gave, or none. Its series begin with its first query. */
class OutcomeHandle implements AnswerMetrics {
  readonly #families: Families;
  readonly #labels: Labels;
  readonly #counts = new Map<string, Count>();
  #duration: Distribution | undefined;
  #failedMs = 0;
  cacheHits = 0;
  cacheMisses = 0;

  constructor(all: Families, labels: Labels) {
    this.#families = all;
    this.#labels = labels;
  }

  get success(): Total {
    return {
      count: this.#counts.get("")?.value ?? 0,
      ms: (this.#duration?.sum ?? 0) * 1000 - this.#failedMs,
    };
  }

  /** Queries that got an error or a default output. */
  get failure(): Total {
    let count = 0;
    for (const [reason, one] of this.#counts) if (reason !== "") count += one.value;
    return { count, ms: this.#failedMs };
  }

  outcome(kind: OutcomeKind, reason: string, latencyMs: number): void {
    const { queries, queryDuration } = this.#families;
    // The reasons of errors are codes in capitals and those of defaults are not: none belongs to two kinds.
    let count = this.#counts.get(reason);
    if (count === undefined) {
      count = queries.of({ ...this.#labels, kind, reason });
      this.#counts.set(reason, count);
    }
    count.value += 1;
    if (kind !== "ok") this.#failedMs += latencyMs;
    this.#duration ??= queryDuration.of(this.#labels);
    this.#duration.observe(latencyMs / 1000);
  }

  cache(result: CacheResult): void {
    const { application = "" } = this.#labels;
    this.#families.cache.of({ application, result }).value += 1;
    if (result === "miss") this.cacheMisses += 1;
    else this.cacheHits += 1;
  }
}

class ApplicationHandle implements ApplicationMetrics {
  readonly #families: Families;
  readonly #application: string;
  readonly #unanswered: OutcomeHandle;
  /** By model, then by version. */
  readonly #answered = new Map<string, Map<string, OutcomeHandle>>();

  constructor(all: Families, application: string) {
    this.#families = all;
    this.#application = application;
    this.#unanswered = new OutcomeHandle(all, { application, model: "", version: "" });
  }

  outcome(kind: OutcomeKind, reason: string, latencyMs: number): void {
    this.#unanswered.outcome(kind, reason, latencyMs);
  }

  by(model: string, version: string): AnswerMetrics {
    let handles = this.#answered.get(model);
    if (handles === undefined) {
      handles = new Map();
      this.#answered.set(model, handles);
    }
    let handle = handles.get(version);
    if (handle === undefined) {
      handle = new OutcomeHandle(this.#families, { application: this.#application, model, version });
      handles.set(version, handle);
    }
    return handle;
  }

  /** What it has of this version, without making it. */
  find(model: string, version: string): OutcomeHandle | undefined {
    return this.#answered.get(model)?.get(version);
  }

  removeVersion(model: string, version: string): void {
    const handles = this.#answered.get(model);
    handles?.delete(version);
    if (handles?.size === 0) this.#answered.delete(model);
  }
}

class VersionHandle implements VersionMetrics {
  readonly #families: Families;
  readonly #labels: Labels;
  readonly #wait: Distribution;
  readonly #size: Distribution;
  readonly #duration: Distribution;
  readonly #compute: Distribution;
  readonly #batches = new Map<number, { count: number; transferMs: number; computeMs: number }>();
  lastBatchAt = 0;

  constructor(all: Families, labels: Labels) {
    this.#families = all;
    this.#labels = labels;
    this.#wait = all.queueWait.of(labels);
    this.#size = all.batchSize.of(labels);
    this.#duration = all.batchDuration.of(labels);
    this.#compute = all.compute.of(labels);
  }

  batch(size: number, latencyMs: number, computeMs: number | undefined): void {
    this.#size.observe(size);
    this.#duration.observe(latencyMs / 1000);
    if (computeMs !== undefined) this.#compute.observe(computeMs / 1000);
  }

  answered(size: number, latencyMs: number, computeMs: number | undefined): void {
    let batches = this.#batches.get(size);
    if (batches === undefined) {
      batches = { count: 0, transferMs: 0, computeMs: 0 };
      this.#batches.set(size, batches);
    }
    batches.count += 1;
    batches.computeMs += computeMs ?? latencyMs;
    batches.transferMs += latencyMs - (computeMs ?? latencyMs);
    this.lastBatchAt = Date.now();
  }

  get queue(): Total {
    return { count: this.#wait.count, ms: this.#wait.sum * 1000 };
  }

  /** By size. */
  get batches(): readonly BatchStatistics[] {
    return [...this.#batches]
      .map(([size, batches]) => Object.assign({ size }, batches))
      .toSorted((one, other) => one.size - other.size);
  }

  waited(ms: number): void {
    this.#wait.observe(ms / 1000);
  }

  dropped(reason: DropReason): void {
    this.#families.dropped.of({ ...this.#labels, reason }).value += 1;
  }

  replicaExit(reason: ExitReason): void {
    this.#families.replicaExits.of({ ...this.#labels, reason }).value += 1;
  }
}

/** Counters, histograms and gauges of one server, with those of its process. */
export class Metrics {
  readonly #registry = new Registry();
  readonly #families: Families;
  readonly #applications = new Map<string, ApplicationHandle>();
  readonly #versions = new Map<string, VersionHandle>();
  #readGauges: () => Iterable<VersionGauges> = () => [];

  constructor() {
    this.#families = families(this.#registry);
    this.#addGauges();
    collectDefaultMetrics({ register: this.#registry });
  }

  /** Content type of `text()`. */
  get contentType(): string {
    return this.#registry.contentType;
  }

  /** The application's handle: always the same one until it is removed. */
  application(name: string): ApplicationMetrics {
    let handle = this.#applications.get(name);
    if (handle === undefined) {
      handle = new ApplicationHandle(this.#families, name);
      this.#applications.set(name, handle);
    }
    return handle;
  }

  /** The version's handle: always the same one until it is removed. */
  version(model: string, version: string): VersionMetrics {
    const key = `${model}/${version}`;
    let handle = this.#versions.get(key);
    if (handle === undefined) {
      handle = new VersionHandle(this.#families, { model, version });
      this.#versions.set(key, handle);
    }
    return handle;
  }

  /** A request was refused with this code before any query of it was on its way. */
  refused(dialect: string, reason: string): void {
    this.#families.refused.of({ dialect, reason }).value += 1;
  }

  /** What the version did, whichever application asked it. */
  statistics(model: string, version: string): VersionStatistics {
    const handle = this.#versions.get(`${model}/${version}`);
    const handles = [...this.#applications.values()].map((application) => application.find(model, version));
    return {
      lastBatchAt: handle?.lastBatchAt ?? 0,
      success: total(handles.map((one) => one?.success)),
      failure: total(handles.map((one) => one?.failure)),
      queue: handle?.queue ?? { count: 0, ms: 0 },
      cacheHits: handles.reduce((sum, one) => sum + (one?.cacheHits ?? 0), 0),
      cacheMisses: handles.reduce((sum, one) => sum + (one?.cacheMisses ?? 0), 0),
      batches: handle?.batches ?? [],
    };
  }

  /** Forgets an application's series, so that a server that changes for years does not grow. */
  removeApplication(name: string): void {
    this.#applications.delete(name);
    const { queries, queryDuration, cache } = this.#families;
    for (const family of [queries, queryDuration, cache]) family.remove({ application: name });
  }

  /** Forgets a version's series. */
  removeVersion(model: string, version: string): void {
    this.#versions.delete(`${model}/${version}`);
    for (const application of this.#applications.values()) application.removeVersion(model, version);
    const { cache: _, ...all } = this.#families;
    for (const family of Object.values(all)) family.remove({ model, version });
  }

  /** Where replicas and queue lengths are read from at each scrape. */
  setGauges(read: () => Iterable<VersionGauges>): void {
    this.#readGauges = read;
  }

  /** The series by family, for other forms than Prometheus text. Read only. */
  get series(): Families {
    return this.#families;
  }

  /** All metrics as Prometheus text. */
  text(): Promise<string> {
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

function total(parts: readonly (Total | undefined)[]): Total {
  const sum = { count: 0, ms: 0 };
  for (const part of parts) {
    sum.count += part?.count ?? 0;
    sum.ms += part?.ms ?? 0;
  }
  return sum;
}
