// The AbortSignal of one call, made only when the model asks for it, so that most calls need no timer.

export class CallSignal {
  readonly #endsAt: number;
  #controller: AbortController | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isCancelled = false;

  /** @param timeoutMs until nobody waits any more; undefined: no limit */
  constructor(timeoutMs: number | undefined) {
    this.#endsAt = timeoutMs === undefined ? Number.POSITIVE_INFINITY : performance.now() + timeoutMs;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      this.#watch();
    } else if (performance.now() >= this.#endsAt) {
      // A model that never waits keeps the timer from firing.
      this.#expire();
    }
    return this.#controller.signal;
  }

  /** The caller has gone. */
  cancel(): void {
    this.#isCancelled = true;
    this.#controller?.abort(new DOMException("The caller has gone", "AbortError"));
  }

  /** The call is over: its timer goes. */
  end(): void {
    clearTimeout(this.#timer);
  }

  #watch(): void {
    if (this.#isCancelled) return this.cancel();
    if (this.#endsAt === Number.POSITIVE_INFINITY) return;
    const remainingMs = this.#endsAt - performance.now();
    if (remainingMs <= 0) return this.#expire();
    this.#timer = setTimeout(() => this.#expire(), Math.min(remainingMs, 2 ** 31 - 1));
  }

  #expire(): void {
    this.#controller?.abort(new DOMException("The deadline has passed", "TimeoutError"));
  }
}

/**
 * What a model's functions get beside their inputs: the call's signal, made when they ask for it.
 *
 * A class, since V8 gives each object literal with a getter a hidden class of its own, which keeps all that its getter sees
 * until the next collection of the whole heap: every row of every call, which then were copied and promoted.
 */
export class CallContext {
  readonly #of: { readonly signal: AbortSignal };

  constructor(of: { readonly signal: AbortSignal }) {
    this.#of = of;
  }

  get signal(): AbortSignal {
    return this.#of.signal;
  }
}
