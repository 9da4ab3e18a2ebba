// A query in the queue's hands: settled exactly once, whoever comes first.
import type { WindjammerError } from "../errors.ts";
import { rowBytes } from "./detached.ts";
import type { BatchOutputs, Query } from "./query.ts";

/** The same input once more, for which nobody waits. */
export function trialOf({ query }: Pending): Pending {
  return new Pending({
    row: query.row,
    arrivedAt: performance.now(),
    deadlineAt: Infinity,
    isTrial: true,
    isAbandoned: false,
    isSettled: true,
    settle: () => undefined,
  });
}

export class Pending {
  readonly query: Query;
  /** Size of its row. */
  readonly bytes: number;
  #isSettled = false;

  constructor(query: Query) {
    this.query = query;
    this.bytes = rowBytes(query.row);
  }

  get isSettled(): boolean {
    return this.#isSettled || this.query.isSettled === true;
  }

  succeed(outputs: BatchOutputs, index: number): void {
    const prediction = { kind: "ok", outputs, index } as const;
    if (this.isSettled) {
      this.query.late?.(prediction);
      return;
    }
    this.#isSettled = true;
    this.query.settle(prediction);
  }

  /** False when it was settled before. */
  fail(error: WindjammerError): boolean {
    if (this.isSettled) return false;
    this.#isSettled = true;
    this.query.settle({ kind: "error", error });
    return true;
  }
}
