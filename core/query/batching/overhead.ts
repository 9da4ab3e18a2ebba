// What a query loses beside the loader's own time: the way to the container and back.

/** Weight of the newest batch. */
const WEIGHT = 0.1;
/** So many mean deviations above the mean are kept free: measured at 1.5 of capacity, answers late by 1 ms halve. */
const DEVIATIONS = 2;

/** Round trip minus compute time: its mean and how far it strays; 0 as long as the container reports no compute time. */
export class Overhead {
  #meanMs: number | undefined;
  #deviationMs = 0;

  /** What is enough for most batches. */
  get allowanceMs(): number {
    return (this.#meanMs ?? 0) + DEVIATIONS * this.#deviationMs;
  }

  observe(latencyMs: number, computeMs: number | undefined): void {
    if (computeMs === undefined || !(computeMs >= 0) || !Number.isFinite(latencyMs)) return;
    const overheadMs = Math.max(0, latencyMs - computeMs);
    this.#meanMs ??= overheadMs;
    const strayMs = overheadMs - this.#meanMs;
    this.#meanMs += WEIGHT * strayMs;
    this.#deviationMs += WEIGHT * (Math.abs(strayMs) - this.#deviationMs);
  }
}
