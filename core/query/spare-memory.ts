// Memory of batches that were answered, for the next ones: new memory for each is cleared, counted against the heap, and
// collected with all of it.

/** Larger pieces come and go. */
const MAX_BYTES = 16 * 2 ** 20;
/** Batches on their way at once, for most versions. */
const MAX_SPARES = 4;
/** A version that sends no batch for so long keeps none. */
const IDLE_MS = 10_000;

export class SpareMemory {
  readonly #spares: ArrayBuffer[] = [];
  #idle: NodeJS.Timeout | undefined;

  /** `size` bytes that hold anything. */
  take(size: number): Uint8Array {
    if (size > MAX_BYTES) return new Uint8Array(size);
    const spare = this.#spares.pop();
    // One that has become too small goes, and a larger one comes back.
    const buffer =
      spare === undefined || spare.byteLength < size
        ? new ArrayBuffer(2 ** Math.ceil(Math.log2(size)))
        : spare;
    return new Uint8Array(buffer, 0, size);
  }

  /** Gives back what `take` gave; nobody may read or write it any more. */
  give({ buffer }: Uint8Array): void {
    if (buffer.byteLength > MAX_BYTES || this.#spares.length === MAX_SPARES) return;
    this.#spares.push(buffer as ArrayBuffer);
    // Refreshed only: a timer each would cost more than the memory saves.
    if (this.#idle === undefined) this.#idle = setTimeout(() => this.#clear(), IDLE_MS).unref();
    else this.#idle.refresh();
  }

  #clear(): void {
    this.#spares.length = 0;
    this.#idle = undefined;
  }
}
