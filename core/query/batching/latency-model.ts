// How long a batch of n takes: a line fitted to the batches that came back, and a band above it.
import { Band } from "./band.ts";
import type { Curve } from "./policy.ts";

/** What a batch still weighs when the next one comes: the line knows about the last 50. */
const FORGETTING = 0.98;
/** A batch this many times slower or faster than predicted is a surprise; it counts for at most MAX_SURPRISE. */
const SURPRISE = 1.5;
const MAX_SURPRISE = 2;
/** So many surprises in a row, all slow or all fast, mean that the model has changed: the past then fades at once. */
const STREAK = 3;
const FORGETTING_OUTDATED = 0.5;
/** Sizes whose squared coefficient of variation is below this cannot tell fixed cost from cost per row. */
const MIN_SPREAD = 0.01;
/** Longer is a broken clock, not a batch. */
const MAX_LATENCY_MS = 1e9;
/** Floors, ms: no row is free, and clocks are not finer. */
const MIN_PER_ROW_MS = 1e-6;
const MIN_LATENCY_MS = 0.01;

/** Latency of a batch of n rows: fixedMs + perRowMs × n, times `band` for a careful guess. */
export class LatencyModel {
  #fixedMs = 0;
  #perRowMs = MIN_PER_ROW_MS;
  readonly #band = new Band();
  /** Batches it has learned from, with those of the curve that it began as. */
  #lessons = 0;
  /** Batches in a row that were far slower (positive) or far faster (negative) than predicted. */
  #streak = 0;
  // Sums over past batches: of weights, and of weight times size, size², latency, size × latency.
  #w = 0;
  #wn = 0;
  #wnn = 0;
  #wl = 0;
  #wnl = 0;

  /** False before the first batch; all guesses are 0 then. */
  get isTaught(): boolean {
    return this.#lessons > 0;
  }

  get fixedMs(): number {
    return this.#fixedMs;
  }

  get perRowMs(): number {
    return this.#perRowMs;
  }

  /** All but a few batches take at most this many times their expected latency. */
  get band(): number {
    return this.#band.factor;
  }

  /** True after a batch that was far off its prediction, and after the first, often a slow one: the next will correct the line. */
  get isInDoubt(): boolean {
    return this.#streak !== 0 || this.#lessons < STREAK;
  }

  /** Expected latency of a batch of `size`, ms. */
  mean(size: number): number {
    return this.#fixedMs + this.#perRowMs * size;
  }

  /** Latency that all but a few batches of `size` stay under, ms. */
  upper(size: number): number {
    return this.band * this.mean(size);
  }

  /** Largest size whose upper latency is within `budgetMs`; 0 when even a single query takes longer. */
  largestWithin(budgetMs: number): number {
    const size = Math.floor((budgetMs / this.band - this.#fixedMs) / this.#perRowMs + 1e-9);
    return size >= 1 ? size : 0;
  }

  get curve(): Curve {
    const { band: upperFactor, fixedMs, perRowMs } = this;
    return { fixedMs, perRowMs, upperFactor, batches: this.#lessons };
  }

  /**
   * Begins with another one's line, which weighs as much as two batches: its own soon tell more.
   * @param largest size up to which the line was learned
   */
  beginAs({ fixedMs, perRowMs, upperFactor, batches }: Curve, largest: number): void {
    this.#fixedMs = fixedMs;
    this.#perRowMs = Math.max(MIN_PER_ROW_MS, perRowMs);
    this.#band.beginAt(upperFactor);
    this.#lessons = batches;
    for (const size of [1, largest]) {
      const latencyMs = Math.max(this.mean(size), MIN_LATENCY_MS);
      this.#addToSums(size, latencyMs, latencyMs);
    }
  }

  /** Learns from one batch. What cannot be a latency (NaN, negative, infinite) teaches nothing. */
  observe(size: number, latencyMs: number): void {
    if (!(latencyMs >= 0 && latencyMs < MAX_LATENCY_MS && size >= 1)) return;
    if (!this.isTaught) {
      // All of it as fixed cost: the next batch may then be larger, which shows what a row costs. The other way
      // round, a model slower than half its objective would stay at single queries for ever.
      this.#fixedMs = latencyMs;
    }
    this.#lessons += 1;
    const predictedMs = Math.max(this.mean(size), MIN_LATENCY_MS);
    const surprise = Math.max(latencyMs, MIN_LATENCY_MS) / predictedMs;
    this.#band.add(surprise);
    this.#countStreak(surprise);
    // A straggler must not bend the line, but the third in a row is the truth, and what was known is outdated.
    if (Math.abs(this.#streak) >= STREAK) {
      // Old weights are those of the old level: much too large if the model has become much slower.
      this.#forget(FORGETTING_OUTDATED / Math.max(1, surprise) ** 2);
      this.#addToSums(size, latencyMs, predictedMs);
    } else {
      this.#forget(FORGETTING);
      this.#addToSums(size, Math.min(latencyMs, MAX_SURPRISE * predictedMs), predictedMs);
    }
    this.#fit();
  }

  #countStreak(surprise: number): void {
    if (surprise > SURPRISE) this.#streak = Math.max(0, this.#streak) + 1;
    else if (surprise < 1 / SURPRISE) this.#streak = Math.min(0, this.#streak) - 1;
    else this.#streak = 0;
  }

  #forget(keep: number): void {
    this.#w *= keep;
    this.#wn *= keep;
    this.#wnn *= keep;
    this.#wl *= keep;
    this.#wnl *= keep;
  }

  /** Noise grows with latency, so a batch weighs by the inverse of its square. */
  #addToSums(size: number, latencyMs: number, predictedMs: number): void {
    const weight = 1 / (predictedMs * predictedMs);
    this.#w += weight;
    this.#wn += weight * size;
    this.#wnn += weight * size * size;
    this.#wl += weight * latencyMs;
    this.#wnl += weight * size * latencyMs;
  }

  #fit(): void {
    const spread = this.#w * this.#wnn - this.#wn * this.#wn;
    if (spread < MIN_SPREAD * this.#w * this.#wnn) this.#scale();
    else this.#fitLine(spread);
    this.#perRowMs = Math.max(MIN_PER_ROW_MS, this.#perRowMs);
  }

  /** Sizes were (nearly) equal: they tell the level, not what a row costs. */
  #scale(): void {
    const ratio = this.#wl / (this.#fixedMs * this.#w + this.#perRowMs * this.#wn);
    this.#fixedMs *= ratio;
    this.#perRowMs *= ratio;
  }

  #fitLine(spread: number): void {
    const perRow = (this.#w * this.#wnl - this.#wn * this.#wl) / spread;
    const fixed = (this.#wl - perRow * this.#wn) / this.#w;
    if (perRow < 0) {
      this.#perRowMs = 0;
      this.#fixedMs = this.#wl / this.#w;
    } else if (fixed < 0) {
      this.#perRowMs = this.#wnl / this.#wnn;
      this.#fixedMs = 0;
    } else {
      this.#perRowMs = perRow;
      this.#fixedMs = fixed;
    }
  }
}
