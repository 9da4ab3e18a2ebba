// How far batches stray above their predicted latency.

/** Batches that are looked back on. */
const WINDOW = 64;
const QUANTILE = 0.95;
const MIN_FACTOR = 1.02;
const MAX_FACTOR = 2;

/** A quantile over the last batches' ratios of actual to predicted latency. */
export class Band {
  readonly #inOrder = new Float64Array(WINDOW);
  readonly #sorted = new Float64Array(WINDOW);
  #count = 0;
  #factor = MIN_FACTOR;

  /** 95 % of the last batches took at most this many times their predicted latency; 1.02 to 2. */
  get factor(): number {
    return this.#factor;
  }

  /** As if all the last batches had been at this factor. */
  beginAt(factor: number): void {
    this.#inOrder.fill(factor);
    this.#sorted.fill(factor);
    this.#count = WINDOW;
    this.#factor = factor;
  }

  add(ratio: number): void {
    const slot = this.#count % WINDOW;
    const kept = Math.min(this.#count, WINDOW);
    const size = kept === WINDOW ? this.#removeFrom(kept, this.#inOrder[slot] ?? 0) : kept;
    this.#inOrder[slot] = ratio;
    this.#insertInto(size, ratio);
    this.#count += 1;
    const quantile = this.#sorted[Math.ceil(QUANTILE * (size + 1)) - 1] ?? MIN_FACTOR;
    this.#factor = Math.min(MAX_FACTOR, Math.max(MIN_FACTOR, quantile));
  }

  #removeFrom(size: number, ratio: number): number {
    const at = this.#sorted.indexOf(ratio);
    this.#sorted.copyWithin(at, at + 1, size);
    return size - 1;
  }

  #insertInto(size: number, ratio: number): void {
    let at = size;
    while (at > 0 && (this.#sorted[at - 1] ?? 0) > ratio) at -= 1;
    this.#sorted.copyWithin(at + 1, at, size);
    this.#sorted[at] = ratio;
  }
}
