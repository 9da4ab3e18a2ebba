// The server's metrics as Clipper's JSON: its names, its four kinds, every value a string.
import type { Distribution, Labels } from "../../metric-series.ts";
import type { Metrics } from "../../metrics.ts";

type Report = Readonly<Record<string, string>>;
type Named = Readonly<Record<string, Report>>;

/** Averages of a rate move every so many seconds, as in Clipper. */
const TICK_S = 5;
const MINUTES = [1, 5, 15] as const;

/** Queries counted, by what became of them. */
interface Tally {
  answered: number;
  defaults: number;
  readonly latency: Spread;
}

interface CacheTally {
  lookups: number;
  hits: number;
}

/** Reads a server's metrics; keep one, since averages of rates go on from reading to reading. */
export class ClipperMetrics {
  readonly #metrics: Metrics;
  readonly #startedAt: number;
  readonly #meters = new Map<string, Meter>();

  /** @param startedAt `performance.now()` when counting began */
  constructor(metrics: Metrics, startedAt: number) {
    this.#metrics = metrics;
    this.#startedAt = startedAt;
  }

  /** @param applications those there are, also without a query */
  text(applications: readonly string[], now: number): string {
    const counters: Named[] = [];
    const ratios: Named[] = [];
    const meters: Named[] = [];
    const histograms: Named[] = [];
    const caches = this.#caches();
    const addThroughput = (name: string, total: number): void =>
      void meters.push({ [name]: this.#meter(name).read(total, now) });
    for (const name of applications) {
      const { answered, defaults, latency } = this.#application(name);
      counters.push(counter(`app:${name}:num_predictions`, answered));
      ratios.push(ratio(`app:${name}:default_prediction_ratio`, defaults, answered));
      addThroughput(`app:${name}:prediction_throughput`, answered);
      histograms.push({ [`app:${name}:prediction_latency`]: latency.report("microseconds", 1e6) });
    }
    let total = 0;
    const queueing = new Spread();
    for (const { labels, series } of this.#metrics.series.queueWait.entries()) {
      queueing.add(series);
      const { sizes, durations } = this.#version(labels);
      const name = `model:${labels["model"]}:${labels["version"]}`;
      const { sum } = sizes;
      total += sum;
      const cache = this.#cacheOfModel(labels, caches);
      counters.push(counter(`${name}:num_predictions`, sum));
      ratios.push(ratio(`${name}:cache_hit_ratio`, cache.hits, cache.lookups));
      addThroughput(`${name}:prediction_throughput`, sum);
      histograms.push({ [`${name}:prediction_latency`]: durations.report("microseconds", 1e6) });
      histograms.push({ [`${name}:batch_size`]: sizes.report("queries", 1) });
    }
    const cache = sumOf(caches.values());
    counters.push(counter("internal:aggregate_num_predictions", total));
    counters.push(counter("internal:prediction_cache_lookups", cache.lookups));
    ratios.push(ratio("internal:prediction_cache_hit_ratio", cache.hits, cache.lookups));
    addThroughput("internal:aggregate_model_throughput", total);
    histograms.push({ "internal:rpc_request_queueing_delay": queueing.report("microseconds", 1e6) });
    return `${JSON.stringify({ counters, ratio_counters: ratios, meters, histograms }, null, 4)}\n`;
  }

  #application(name: string): Tally {
    const { queries, queryDuration } = this.#metrics.series;
    const tally: Tally = { answered: 0, defaults: 0, latency: new Spread() };
    for (const { labels, series } of queries.entries()) {
      if (labels["application"] !== name || labels["kind"] === "error") continue;
      tally.answered += series.value;
      if (labels["kind"] === "default") tally.defaults += series.value;
    }
    for (const { labels, series } of queryDuration.entries())
      if (labels["application"] === name) tally.latency.add(series);
    return tally;
  }

  #version({ model, version }: Labels): { readonly sizes: Spread; readonly durations: Spread } {
    const { batchSize, batchDuration } = this.#metrics.series;
    const isOf = (labels: Labels): boolean => labels["model"] === model && labels["version"] === version;
    const sizes = new Spread();
    const durations = new Spread();
    for (const { labels, series } of batchSize.entries()) if (isOf(labels)) sizes.add(series);
    for (const { labels, series } of batchDuration.entries()) if (isOf(labels)) durations.add(series);
    return { sizes, durations };
  }

  /** By application. */
  #caches(): ReadonlyMap<string, CacheTally> {
    const tallies = new Map<string, CacheTally>();
    for (const { labels, series } of this.#metrics.series.cache.entries()) {
      const name = labels["application"] ?? "";
      const tally = tallies.get(name) ?? { lookups: 0, hits: 0 };
      tally.lookups += series.value;
      if (labels["result"] === "hit") tally.hits += series.value;
      tallies.set(name, tally);
    }
    return tallies;
  }

  /** Our caches belong to applications: a version's are those of the applications that it answered. */
  #cacheOfModel({ model, version }: Labels, caches: ReadonlyMap<string, CacheTally>): CacheTally {
    const names = new Set<string>();
    for (const { labels } of this.#metrics.series.queries.entries())
      if (labels["model"] === model && labels["version"] === version) names.add(labels["application"] ?? "");
    return sumOf([...names].flatMap((name) => caches.get(name) ?? []));
  }

  #meter(name: string): Meter {
    let meter = this.#meters.get(name);
    if (meter === undefined) {
      meter = new Meter(this.#startedAt);
      this.#meters.set(name, meter);
    }
    return meter;
  }
}

/** Rates as Clipper has them: over all time, and moving averages that are brought up to date when they are read. */
class Meter {
  readonly #startedAt: number;
  #tickedAt: number;
  #counted = 0;
  readonly #rates: number[] = [];

  constructor(startedAt: number) {
    this.#startedAt = startedAt;
    this.#tickedAt = startedAt;
  }

  read(total: number, now: number): Report {
    this.#tick(total, now);
    const seconds = Math.max(1e-3, (now - this.#startedAt) / 1000);
    const averages = MINUTES.map((minutes, index) => [
      `rate_${minutes}min`,
      String(this.#rates[index] ?? -1),
    ]);
    return {
      unit: "events per second",
      rate: String(total / seconds),
      ...Object.fromEntries(averages),
    };
  }

  #tick(total: number, now: number): void {
    const ticks = Math.floor((now - this.#tickedAt) / (TICK_S * 1000));
    if (ticks < 1) return;
    this.#tickedAt += ticks * TICK_S * 1000;
    // Spread over the time since the last reading, which Clipper puts into its first tick.
    const rate = (total - this.#counted) / (ticks * TICK_S);
    this.#counted = total;
    for (const [index, minutes] of MINUTES.entries()) {
      const kept = Math.exp(-TICK_S / 60 / minutes) ** ticks;
      const former = this.#rates[index] ?? rate;
      this.#rates[index] = former * kept + rate * (1 - kept);
    }
  }
}

/** Buckets of several series together, and what can be told of the values in them. */
class Spread {
  #bounds: readonly number[] = [];
  readonly #counts: number[] = [];
  sum = 0;

  add(series: Distribution): void {
    const { bounds, counts, sum } = series.read();
    this.#bounds = bounds;
    for (const [index, count] of counts.entries()) this.#counts[index] = (this.#counts[index] ?? 0) + count;
    this.sum += sum;
  }

  /** Extremes are bounds of buckets, percentiles lie evenly between them; the mean is exact. */
  report(unit: string, scale: number): Report {
    const size = this.#counts.reduce((total, count) => total + count, 0);
    const mean = size === 0 ? 0 : this.sum / size;
    const first = this.#counts.findIndex((count) => count > 0);
    const last = this.#counts.findLastIndex((count) => count > 0);
    const text = (value: number): string => String(value * scale);
    return {
      unit,
      size: String(size),
      min: text(size === 0 ? 0 : this.#lower(first)),
      max: text(size === 0 ? 0 : this.#upper(last)),
      mean: text(mean),
      std_dev: text(this.#deviation(size, mean)),
      p50: text(this.#percentile(size, 0.5)),
      p95: text(this.#percentile(size, 0.95)),
      p99: text(this.#percentile(size, 0.99)),
    };
  }

  #lower(bucket: number): number {
    return bucket === 0 ? 0 : (this.#bounds[bucket - 1] ?? 0);
  }

  /** The last bucket has no end: its beginning has to do. */
  #upper(bucket: number): number {
    return this.#bounds[bucket] ?? this.#bounds.at(-1) ?? 0;
  }

  #deviation(size: number, mean: number): number {
    if (size === 0) return 0;
    let squares = 0;
    for (const [bucket, count] of this.#counts.entries()) {
      const middle = (this.#lower(bucket) + this.#upper(bucket)) / 2;
      squares += count * (middle - mean) ** 2;
    }
    return Math.sqrt(squares / size);
  }

  #percentile(size: number, rank: number): number {
    let below = 0;
    for (const [bucket, count] of this.#counts.entries()) {
      if (count > 0 && below + count >= rank * size) {
        const share = (rank * size - below) / count;
        return this.#lower(bucket) + share * (this.#upper(bucket) - this.#lower(bucket));
      }
      below += count;
    }
    return 0;
  }
}

function counter(name: string, count: number): Named {
  return { [name]: { count: String(count) } };
}

/** Of nothing it is "nan", as Clipper prints it. */
function ratio(name: string, part: number, whole: number): Named {
  return { [name]: { ratio: whole === 0 ? "nan" : String(part / whole) } };
}

function sumOf(tallies: Iterable<CacheTally>): CacheTally {
  const sum: CacheTally = { lookups: 0, hits: 0 };
  for (const { lookups, hits } of tallies) {
    sum.lookups += lookups;
    sum.hits += hits;
  }
  return sum;
}
