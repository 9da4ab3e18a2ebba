// One timer for all deadlines of a queue: armed for the earliest, moved only forward, so that most queries cost none.

/** Node's longest timeout. */
const LONGEST_MS = 2 ** 31 - 1;

export class DeadlineTimer {
  readonly #onWake: (now: number) => number;
  #timer: NodeJS.Timeout | undefined;
  #wakesAt = Infinity;

  /** @param onWake settles what is due at `now` and returns when to wake next (Infinity: not at all) */
  constructor(onWake: (now: number) => number) {
    this.#onWake = onWake;
  }

  /** Makes sure of a wake-up at `at` or before, `performance.now()` ms. */
  wakeBy(at: number): void {
    if (at >= this.#wakesAt) return;
    clearTimeout(this.#timer);
    this.#wakesAt = at;
    const wait = Math.min(LONGEST_MS, Math.max(0, Math.ceil(at - performance.now())));
    this.#timer = setTimeout(() => {
      this.#wakesAt = Infinity;
      this.wakeBy(this.#onWake(performance.now()));
    }, wait);
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#wakesAt = Infinity;
  }
}
