// What a query loses beside the loader's own time: the way to the container and back.

/** Weight of the newest batch. */
const WEIGHT = 0.1;

/** Mean of round trip minus compute time; 0 as long as the container reports no compute time. */
export class Overhead {
  #meanMs: number | undefined;

  get meanMs(): number {
    return this.#meanMs ?? 0;
  }

  observe(latencyMs: number, computeMs: number | undefined): void {
    if (computeMs === undefined || !(computeMs >= 0) || !Number.isFinite(latencyMs)) return;
    const overheadMs = Math.max(0, latencyMs - computeMs);
    this.#meanMs =
      this.#meanMs === undefined ? overheadMs : this.#meanMs + WEIGHT * (overheadMs - this.#meanMs);
  }
}
