// What a query loses beside the loader's own time: the way to the container and back.

/** Weight of the newest batch, once there are as many as it stands for; the first ones weigh alike. */
const WEIGHT = 0.1;
/** So many mean deviations above the mean are kept free: measured at 1.5 of capacity, answers late by 1 ms halve. */
const DEVIATIONS = 4;
/** A stray counts for at most so many deviations, or this many ms: what comes less often than once in ten teaches nothing. */
const MAX_STRAY_DEVIATIONS = 10;
const MAX_STRAY_MS = 1;
/** So many strays in a row mean that the way has changed. */
const STREAK = 3;

/** Round trip minus compute time: its mean and how far it strays; 0 as long as the container reports no compute time. */
export class Overhead {
  #meanMs = 0;
  /** Mean of the way above the mean, 0 where it is below: half of the mean deviation, and no fall adds to it. */
  #deviationMs = 0;
  #count = 0;
  #streak = 0;

  /** What is enough for most batches. */
  get allowanceMs(): number {
    return this.#meanMs + DEVIATIONS * this.#deviationMs;
  }

  /** Begins with what is known of another way, as if it had been its own. */
  beginAs(other: Overhead): void {
    this.#meanMs = other.#meanMs;
    this.#deviationMs = other.#deviationMs;
    this.#count = other.#count;
  }

  observe(latencyMs: number, computeMs: number | undefined): void {
    if (computeMs === undefined || !(computeMs >= 0) || !Number.isFinite(latencyMs)) return;
    const overheadMs = Math.max(0, latencyMs - computeMs);
    this.#count += 1;
    const weight = Math.max(WEIGHT, 1 / this.#count);
    const strayMs = this.#count === 1 ? overheadMs : this.#believed(overheadMs - this.#meanMs);
    this.#meanMs += weight * strayMs;
    if (this.#count > 1) this.#deviationMs += weight * (Math.max(0, strayMs) - this.#deviationMs);
  }

  /** A stall of one batch must not refuse those behind it. */
  #believed(strayMs: number): number {
    const most = Math.max(MAX_STRAY_MS, MAX_STRAY_DEVIATIONS * this.#deviationMs);
    this.#streak = strayMs > most ? this.#streak + 1 : 0;
    return this.#streak < STREAK ? Math.min(strayMs, most) : strayMs;
  }
}
