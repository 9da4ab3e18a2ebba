// The largest batch a policy may cut: what was configured, until memory says less.
import type { Completion } from "./policy.ts";

/** After this many good batches in a row, a limit that was lowered in doubt is raised again, by a quarter. */
const RAISE_AFTER = 100;
const RAISE_FACTOR = 1.25;

/**
 * Starts at the configured size. A batch that ran out of memory lowers it below that batch's size: for good where no
 * batch so large ever came back, for a while where one did, since the model may leak, or its rows vary in size.
 */
export class BatchLimit {
  #ceiling: number;
  #size: number;
  #largestAnswered = 0;
  #goodInARow = 0;

  /** @param size at least 1; less counts as 1 */
  constructor(size: number) {
    this.#ceiling = Math.max(1, Math.floor(size));
    this.#size = this.#ceiling;
  }

  get size(): number {
    return this.#size;
  }

  completed({ outcome, size }: Completion): void {
    if (outcome === "ok") this.#answered(size);
    else if (outcome === "out-of-memory") this.#ranOut(size);
  }

  #answered(size: number): void {
    this.#largestAnswered = Math.max(this.#largestAnswered, size);
    if (this.#size === this.#ceiling || ++this.#goodInARow < RAISE_AFTER) return;
    this.#goodInARow = 0;
    this.#size = Math.min(this.#ceiling, Math.ceil(this.#size * RAISE_FACTOR));
  }

  #ranOut(size: number): void {
    this.#goodInARow = 0;
    const smaller = Math.max(1, size - 1);
    if (size > this.#largestAnswered) this.#ceiling = Math.min(this.#ceiling, smaller);
    this.#size = Math.min(this.#size, smaller);
  }
}
