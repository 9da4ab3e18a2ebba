// What is counted where it happens: handles of an application and of a version, each kept by whoever counts.
import { families, type Families } from "./metric-families.ts";
import type { Count, Distribution, Labels } from "./metric-series.ts";
import type { ExitReason } from "./types.ts";

export type OutcomeKind = "ok" | "default" | "error";
export type ObjectiveResult = "met" | "late" | "missed";
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
  /** What became of a query that had a latency objective. */
  objective(result: ObjectiveResult): void;
  /** For queries that this version answered, failed to answer or whose inputs it does not take: always the same handle until it is removed. */
  by(model: string, version: string): AnswerMetrics;
}

/** What is counted of one version. */
export interface VersionMetrics {
  /** A batch came back. `computeMs`: the loader's own time, where the container reports it. */
  batch(size: number, latencyMs: number, computeMs: number | undefined): void;
  /** It came back with answers. */
  answered(size: number, latencyMs: number, computeMs: number | undefined): void;
  /** It took so many times as long as was predicted. */
  predicted(ratio: number): void;
  /** A query left the queue for a replica after so long. */
  waited(ms: number): void;
  /** A query was given up without a prediction. */
  dropped(reason: DropReason): void;
  replicaExit(reason: ExitReason): void;
  /** A replica that failed every batch is left out for a while. */
  replicaEjected(): void;
}

/** Of something that happened again and again. */
export interface Total {
  readonly count: number;
  readonly ms: number;
}

/** Answered batches of one size. */
export interface BatchStatistics {
  readonly size: number;
  readonly count: number;
  /** Dispatch to result, without the loader's own time. */
  readonly transferMs: number;
  readonly computeMs: number;
}

/** What else is counted of answers, besides their series. */
export interface AnswerTotals {
  readonly failedMs: number;
  readonly cacheHits: number;
  readonly cacheMisses: number;
}

/** The outcomes of one application that one version gave, or none. Its series begin with its first query. */
export class OutcomeHandle implements AnswerMetrics {
  #families: Families;
  readonly #labels: Labels;
  readonly #counts = new Map<string, Count>();
  readonly #cache = new Map<CacheResult, Count>();
  #duration: Distribution | undefined;
  #failedMs = 0;
  cacheHits = 0;
  cacheMisses = 0;

  constructor(all: Families, labels: Labels) {
    this.#families = all;
    this.#labels = labels;
  }

  /** Its series are gone: what comes in late begins none. */
  remove(): void {
    this.#families = families();
  }

  /** What was counted since the last call; it starts anew. */
  take(): AnswerTotals {
    const { cacheHits, cacheMisses } = this;
    const failedMs = this.#failedMs;
    this.#failedMs = this.cacheHits = this.cacheMisses = 0;
    return { failedMs, cacheHits, cacheMisses };
  }

  add({ failedMs, cacheHits, cacheMisses }: AnswerTotals): void {
    this.#failedMs += failedMs;
    this.cacheHits += cacheHits;
    this.cacheMisses += cacheMisses;
  }

  /** Another process counted into these series: they are this handle's, too. */
  know(reason: string, count: Count): void {
    this.#counts.set(reason, count);
    this.#duration ??= this.#families.queryDuration.of(this.#labels);
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
    let count = this.#cache.get(result);
    if (count === undefined) {
      count = this.#families.cache.of({ application: this.#labels["application"] ?? "", result });
      this.#cache.set(result, count);
    }
    count.value += 1;
    if (result === "miss") this.cacheMisses += 1;
    else this.cacheHits += 1;
  }
}

export class ApplicationHandle implements ApplicationMetrics {
  #families: Families;
  readonly #application: string;
  readonly #unanswered: OutcomeHandle;
  readonly #objective = new Map<ObjectiveResult, Count>();
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

  objective(result: ObjectiveResult): void {
    let count = this.#objective.get(result);
    if (count === undefined) {
      count = this.#families.objective.of({ application: this.#application, result });
      this.#objective.set(result, count);
    }
    count.value += 1;
  }

  by(model: string, version: string): OutcomeHandle {
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

  /** The handle of what this version answered; of what none did, where both are empty. */
  of(model: string, version: string): OutcomeHandle {
    return model === "" ? this.#unanswered : this.by(model, version);
  }

  *all(): Iterable<{ readonly model: string; readonly version: string; readonly handle: OutcomeHandle }> {
    yield { model: "", version: "", handle: this.#unanswered };
    for (const [model, handles] of this.#answered)
      for (const [version, handle] of handles) yield { model, version, handle };
  }

  /** What it has of this version, without making it. */
  find(model: string, version: string): OutcomeHandle | undefined {
    return this.#answered.get(model)?.get(version);
  }

  /** Its series are gone, and those of what it answers begin none any more. */
  remove(): void {
    this.#families = families();
    for (const { handle } of this.all()) handle.remove();
  }

  removeVersion(model: string, version: string): void {
    const handles = this.#answered.get(model);
    handles?.get(version)?.remove();
    handles?.delete(version);
    if (handles?.size === 0) this.#answered.delete(model);
  }
}

export class VersionHandle implements VersionMetrics {
  #families: Families;
  readonly #labels: Labels;
  readonly #wait: Distribution;
  readonly #size: Distribution;
  readonly #duration: Distribution;
  readonly #compute: Distribution;
  readonly #prediction: Distribution;
  readonly #dropped = new Map<DropReason, Count>();
  readonly #batches = new Map<number, { count: number; transferMs: number; computeMs: number }>();
  lastBatchAt = 0;

  constructor(all: Families, labels: Labels) {
    this.#families = all;
    this.#labels = labels;
    this.#wait = all.queueWait.of(labels);
    this.#size = all.batchSize.of(labels);
    this.#duration = all.batchDuration.of(labels);
    this.#compute = all.compute.of(labels);
    this.#prediction = all.prediction.of(labels);
  }

  /** Its series are gone: what comes in late begins none. */
  remove(): void {
    this.#families = families();
  }

  batch(size: number, latencyMs: number, computeMs: number | undefined): void {
    this.#size.observe(size);
    this.#duration.observe(latencyMs / 1000);
    if (computeMs !== undefined) this.#compute.observe(computeMs / 1000);
  }

  answered(size: number, latencyMs: number, computeMs: number | undefined): void {
    this.add({
      size,
      count: 1,
      computeMs: computeMs ?? latencyMs,
      transferMs: latencyMs - (computeMs ?? latencyMs),
    });
  }

  /** Batches of one size came back with answers. */
  add({ size, count, transferMs, computeMs }: BatchStatistics): void {
    let batches = this.#batches.get(size);
    if (batches === undefined) {
      batches = { count: 0, transferMs: 0, computeMs: 0 };
      this.#batches.set(size, batches);
    }
    batches.count += count;
    batches.computeMs += computeMs;
    batches.transferMs += transferMs;
    this.lastBatchAt = Date.now();
  }

  /** What `batches` says, which starts anew. */
  take(): readonly BatchStatistics[] {
    const { batches } = this;
    this.#batches.clear();
    return batches;
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

  predicted(ratio: number): void {
    this.#prediction.observe(ratio);
  }

  waited(ms: number): void {
    this.#wait.observe(ms / 1000);
  }

  dropped(reason: DropReason): void {
    let count = this.#dropped.get(reason);
    if (count === undefined) {
      count = this.#families.dropped.of({ ...this.#labels, reason });
      this.#dropped.set(reason, count);
    }
    count.value += 1;
  }

  replicaEjected(): void {
    this.#families.replicaEjections.of(this.#labels).value += 1;
  }

  replicaExit(reason: ExitReason): void {
    this.#families.replicaExits.of({ ...this.#labels, reason }).value += 1;
  }
}
