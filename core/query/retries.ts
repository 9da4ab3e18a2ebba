// What becomes of the queries of a batch that failed: they are tried again, in smaller parts, or get its error.
import { ReplicaHungError, ReplicaLostError, type WindjammerError } from "../errors.ts";
import type { Replicas } from "../replicas/pool.ts";
import type { Version } from "../types.ts";
import type { DeadlineTimer } from "./deadline-timer.ts";
import type { Flight } from "./flight.ts";
import type { WaitingQueries } from "./waiting.ts";

export interface RetriesParts {
  readonly version: Version;
  readonly pool: Replicas;
  readonly waiting: WaitingQueries;
  readonly timer: DeadlineTimer;
}

export class Retries {
  readonly #parts: RetriesParts;
  #isClosed = false;

  constructor(parts: RetriesParts) {
    this.#parts = parts;
  }

  /** Nothing is tried again from now on. */
  close(): void {
    this.#isClosed = true;
  }

  /** Its replica was lost or hangs: another one, or the one in its place, may answer, whatever the cause. */
  lost(flight: Flight, error: ReplicaLostError | ReplicaHungError): void {
    const { pool, version } = this.#parts;
    const hasReplicas = pool.readyCount > 0 || pool.isRecovering;
    this.#failOrRetry(flight, error, version.settings.isRetryable && hasReplicas);
  }

  /** It was answered with an error: that of one of its queries, or of the replica. */
  refused(flight: Flight, error: WindjammerError): void {
    const { pool, version } = this.#parts;
    const mayDiffer = flight.batch.length > 1 || pool.hasOther(flight.replica);
    this.#failOrRetry(flight, error, version.settings.isRetryable && mayDiffer);
  }

  /** It could not be encoded: nothing of it was computed. */
  unsent(flight: Flight, error: WindjammerError): void {
    this.#failOrRetry(flight, error, flight.batch.length > 1);
  }

  /**
   * The queries of a failed batch are tried again in about √n parts, those of a part that fails again one by one: a bad
   * query ends up alone, and the others wait for few calls. One that fails alone, when tried again, keeps its error.
   */
  #failOrRetry({ batch, replica, failedOn }: Flight, error: WindjammerError, mayRetry: boolean): void {
    const { waiting, timer } = this.#parts;
    const left = batch.filter(({ isSettled }) => !isSettled);
    const wasLost = error instanceof ReplicaLostError || error instanceof ReplicaHungError;
    if (mayRetry && !this.#isClosed && (batch.length > 1 || failedOn === undefined)) {
      const size = failedOn === undefined ? Math.floor(Math.sqrt(batch.length)) : 1;
      for (let at = 0; at < left.length; at += size) {
        const part = left.slice(at, at + size);
        waiting.addRetry(part, { on: replica, wasLost });
        timer.wakeBy(Math.min(...part.map(({ query }) => query.deadlineAt)));
      }
      return;
    }
    for (const pending of left) {
      if (wasLost) waiting.drop(pending, "replica-lost", error);
      else pending.fail(error);
    }
  }
}
