// How fast queries arrive: the span of the last ones.

/** Arrivals the rate is taken from. A pause is forgotten after as many. */
const WINDOW = 64;

export class ArrivalRate {
  readonly #times = new Float64Array(WINDOW);
  #count = 0;
  #newestMs = 0;

  /** A query arrived. A clock that goes back counts as standing still; a time that is no number is left out. */
  arrived(nowMs: number): void {
    if (!Number.isFinite(nowMs)) return;
    this.#newestMs = this.#count === 0 ? nowMs : Math.max(this.#newestMs, nowMs);
    this.#times[this.#count % WINDOW] = this.#newestMs;
    this.#count += 1;
  }

  /** Arrivals a millisecond; undefined before the second, Infinity when all came at once. */
  get perMs(): number | undefined {
    if (this.#count < 2) return undefined;
    const kept = Math.min(this.#count, WINDOW);
    const oldest = this.#times[(this.#count - kept) % WINDOW] ?? this.#newestMs;
    return (kept - 1) / (this.#newestMs - oldest);
  }
}
