// The largest batch a policy may cut: what was configured, until memory says less.
import type { Completion } from "./policy.ts";

/** Starts at the configured size. A batch that ran out of memory lowers it below that batch's size, for good. */
export class BatchLimit {
  #size: number;

  /** @param size at least 1; less counts as 1 */
  constructor(size: number) {
    this.#size = Math.max(1, Math.floor(size));
  }

  get size(): number {
    return this.#size;
  }

  completed(completion: Completion): void {
    if (completion.outcome !== "out-of-memory") return;
    this.#size = Math.max(1, Math.min(this.#size, completion.size - 1));
  }
}
