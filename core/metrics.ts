// The metrics of a server, by application and by version.
import { families, type Families } from "./metric-families.ts";
import {
  type AnswerTotals,
  ApplicationHandle,
  type ApplicationMetrics,
  type BatchStatistics,
  type Total,
  VersionHandle,
  type VersionMetrics,
} from "./metric-handles.ts";
import type { Labels, Taken } from "./metric-series.ts";
import type { MetricText, ProcessUsage, VersionGauges } from "./metric-text.ts";
import { versionKey } from "./version-key.ts";

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

/** What a process counted since it was last asked, for another one to add to its own. */
export interface MetricsTaken {
  readonly series: readonly (readonly [family: keyof Families, taken: readonly Taken[]])[];
  readonly answers: readonly (AnswerTotals & {
    readonly application: string;
    readonly model: string;
    readonly version: string;
  })[];
  readonly batches: readonly (BatchStatistics & { readonly model: string; readonly version: string })[];
}

/** Counters, histograms and gauges of one server, with those of its process. */
export class Metrics {
  /** Of `text()`. */
  readonly contentType: string = "text/plain; version=0.0.4; charset=utf-8";
  readonly #families: Families = families();
  readonly #applications = new Map<string, ApplicationHandle>();
  readonly #versions = new Map<string, VersionHandle>();
  #readGauges: () => Iterable<VersionGauges> = () => [];
  #readWorkers: () => Iterable<ProcessUsage> = () => [];
  #gather: () => Promise<void> = () => Promise.resolve();
  #text: Promise<MetricText> | undefined;

  /** The application's handle: always the same one until it is removed. */
  application(name: string): ApplicationMetrics {
    return this.#application(name);
  }

  #application(name: string): ApplicationHandle {
    let handle = this.#applications.get(name);
    if (handle === undefined) {
      handle = new ApplicationHandle(this.#families, name);
      this.#applications.set(name, handle);
    }
    return handle;
  }

  /** The version's handle: always the same one until it is removed. */
  version(model: string, version: string): VersionMetrics {
    const key = versionKey({ model, version });
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
    const handle = this.#versions.get(versionKey({ model, version }));
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

  /** A worker ended by itself. */
  workerEnded(): void {
    this.#families.workerEnds.of({}).value += 1;
  }

  /** Forgets an application's series, so that a server that changes for years does not grow. */
  removeApplication(name: string): void {
    this.#applications.get(name)?.remove();
    this.#applications.delete(name);
    const { queries, queryDuration, cache, objective } = this.#families;
    for (const family of [queries, queryDuration, cache, objective]) family.remove({ application: name });
  }

  /** Forgets a version's series. */
  removeVersion(model: string, version: string): void {
    this.#versions.get(versionKey({ model, version }))?.remove();
    this.#versions.delete(versionKey({ model, version }));
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

  /** Who brings in what workers have counted, before anything is shown, and where their use is read from then. */
  setSource(gather: () => Promise<void>, readWorkers: () => Iterable<ProcessUsage>): void {
    this.#gather = gather;
    this.#readWorkers = readWorkers;
  }

  /** Brings in what other processes have counted; without any there is nothing to do. */
  gather(): Promise<void> {
    return this.#gather();
  }

  /** All metrics as Prometheus text; those of the process are collected from the first call on. */
  async text(): Promise<string> {
    await this.#gather();
    return (await this.#made()).read();
  }

  async #made(): Promise<MetricText> {
    try {
      return await (this.#text ??= this.#makeText());
    } catch (error) {
      // What could not be loaded, for want of a file descriptor, can be the next time.
      this.#text = undefined;
      throw error;
    }
  }

  /** Late: a watch over the event loop wakes a process that nobody asks a hundred times a second. */
  async #makeText(): Promise<MetricText> {
    const { MetricText: Text } = await import("./metric-text.ts");
    return Text.create(this.#families, {
      versions: () => this.#readGauges(),
      workers: () => this.#readWorkers(),
    });
  }

  /** What was counted since the last call; all of it starts anew. */
  take(): MetricsTaken {
    const series: MetricsTaken["series"][number][] = [];
    for (const [name, family] of Object.entries(this.#families)) {
      const taken = family.take();
      if (taken.length > 0) series.push([name as keyof Families, taken]);
    }
    const answers: MetricsTaken["answers"][number][] = [];
    for (const [application, applications] of this.#applications) {
      for (const { model, version, handle } of applications.all()) {
        const totals = handle.take();
        if (totals.failedMs + totals.cacheHits + totals.cacheMisses > 0)
          answers.push({ application, model, version, ...totals });
      }
    }
    const batches = [...this.#versions].flatMap(([key, handle]) => {
      const [model = "", version = ""] = key.split("/");
      return handle.take().map((one) => Object.assign({ model, version }, one));
    });
    return { series, answers, batches };
  }

  /** Adds what another process has taken; what is of applications and versions that are no more is left out. */
  add({ series, answers, batches }: MetricsTaken): void {
    for (const [name, taken] of series)
      for (const one of taken) if (this.#knows(one.labels)) this.#addSeries(name, one);
    for (const { application, model, version, ...totals } of answers) {
      if (this.#knows({ application, model, version }))
        this.#application(application).of(model, version).add(totals);
    }
    for (const { model, version, ...statistics } of batches)
      this.#versions.get(versionKey({ model, version }))?.add(statistics);
  }

  #addSeries(name: keyof Families, taken: Taken): void {
    if (name !== "queries") {
      this.#families[name].add(taken);
      return;
    }
    const { application = "", model = "", version = "", reason = "" } = taken.labels;
    this.#application(application).of(model, version).know(reason, this.#families.queries.add(taken));
  }

  #knows({ application = "", model = "", version = "" }: Labels): boolean {
    const hasApplication = application === "" || this.#applications.has(application);
    return hasApplication && (model === "" || this.#versions.has(versionKey({ model, version })));
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
