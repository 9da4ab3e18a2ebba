// Latencies of a load test: a histogram with buckets of two percent, so that a million of them cost nothing.

/** Each bucket is this much wider than the one before. */
const GROWTH = 1.02;
/** Lower bound of the first bucket, ms. */
const FIRST_MS = 0.001;
const BARS = 40;
/** Most rows of a picture. */
const MAX_ROWS = 14;

export interface LatencySummary {
  readonly count: number;
  readonly meanMs: number;
  readonly minMs: number;
  readonly p50Ms: number;
  readonly p90Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

/** A row of the picture: latencies below `toMs` and not below `fromMs`. */
export interface LatencyRow {
  readonly fromMs: number;
  readonly toMs: number;
  readonly count: number;
}

export class Latencies {
  readonly #counts = new Map<number, number>();
  #count = 0;
  #sumMs = 0;
  #minMs = Infinity;
  #maxMs = 0;

  add(ms: number): void {
    const bucket = Math.max(0, Math.floor(Math.log(ms / FIRST_MS) / Math.log(GROWTH)));
    this.#counts.set(bucket, (this.#counts.get(bucket) ?? 0) + 1);
    this.#count += 1;
    this.#sumMs += ms;
    this.#minMs = Math.min(this.#minMs, ms);
    this.#maxMs = Math.max(this.#maxMs, ms);
  }

  /** Undefined: there are none. Quantiles are right within two percent. */
  summary(): LatencySummary | undefined {
    if (this.#count === 0) return undefined;
    return {
      count: this.#count,
      meanMs: this.#sumMs / this.#count,
      minMs: this.#minMs,
      p50Ms: this.#quantile(0.5),
      p90Ms: this.#quantile(0.9),
      p99Ms: this.#quantile(0.99),
      maxMs: this.#maxMs,
    };
  }

  /** Rows of equal ratio from the smallest latency to the largest. */
  rows(): readonly LatencyRow[] {
    if (this.#count === 0) return [];
    const places = [...this.#counts.keys()];
    const [first, last] = [Math.min(...places), Math.max(...places)];
    const step = Math.max(1, Math.ceil((last - first + 1) / MAX_ROWS));
    return Array.from({ length: Math.ceil((last - first + 1) / step) }, (_, row) => {
      const from = first + row * step;
      let count = 0;
      for (let place = from; place < from + step; place++) count += this.#counts.get(place) ?? 0;
      return { fromMs: boundOf(from), toMs: boundOf(from + step), count };
    });
  }

  #quantile(share: number): number {
    let missing = Math.ceil(share * this.#count);
    for (const place of [...this.#counts.keys()].toSorted((one, other) => one - other)) {
      missing -= this.#counts.get(place) ?? 0;
      if (missing <= 0) return Math.min(this.#maxMs, Math.max(this.#minMs, boundOf(place + 0.5)));
    }
    return this.#maxMs;
  }
}

/** A bar for each row, as long as its share of the longest. */
export function bars(rows: readonly LatencyRow[], label: (ms: number) => string): string {
  const most = Math.max(...rows.map(({ count }) => count));
  const labels = rows.map(({ fromMs }) => label(fromMs));
  const width = Math.max(...labels.map((text) => text.length));
  return rows
    .map(({ count }, at) => {
      const bar = "█".repeat(Math.round((count / most) * BARS)) || (count > 0 ? "▏" : "");
      return `${(labels[at] ?? "").padStart(width)} ${bar} ${count}`;
    })
    .join("\n");
}

function boundOf(place: number): number {
  return FIRST_MS * GROWTH ** place;
}
