// A query in the queue's hands: settled exactly once, whoever comes first.
import type { WindjammerError } from "../errors.ts";
import type { BatchOutputs, Query } from "./query.ts";

export class Pending {
  readonly query: Query;
  /** Size of its row. */
  readonly bytes: number;
  /** Batches it was in that failed as a whole. */
  attempts = 0;
  /** The replica of the last of them: another one may do better. */
  failedOn: string | undefined;
  #isSettled = false;

  constructor(query: Query) {
    this.query = query;
    let bytes = 0;
    for (const { data } of query.row.tensors) bytes += data.byteLength;
    this.bytes = bytes;
  }

  get isSettled(): boolean {
    return this.#isSettled;
  }

  succeed(outputs: BatchOutputs, index: number): void {
    if (this.#isSettled) return;
    this.#isSettled = true;
    this.query.settle({ kind: "ok", outputs, index });
  }

  /** False when it was settled before. */
  fail(error: WindjammerError): boolean {
    if (this.#isSettled) return false;
    this.#isSettled = true;
    this.query.settle({ kind: "error", error });
    return true;
  }
}
