// Keeps what containers do wrong from filling the log: anybody who reaches the port can send nonsense without end.
import type { Log } from "../../log.ts";

const WINDOW_MS = 60_000;
const MAX_IN_WINDOW = 20;

export class Complaints {
  readonly #log: Log;
  /** Milliseconds, of any clock. */
  readonly #now: () => number;
  #windowAt = Number.NEGATIVE_INFINITY;
  #count = 0;

  constructor(log: Log, now: () => number) {
    this.#log = log;
    this.#now = now;
  }

  /** Logs it, unless there were too many within a minute. */
  say(details: object, message: string): void {
    const now = this.#now();
    if (now - this.#windowAt >= WINDOW_MS) {
      const left = this.#count - MAX_IN_WINDOW;
      if (left > 0) this.#log.warn({ left }, "more messages of Clipper containers made no sense");
      this.#windowAt = now;
      this.#count = 0;
    }
    this.#count++;
    if (this.#count <= MAX_IN_WINDOW) this.#log.warn(details, message);
  }
}
