// How fast a version answers, for policies that learn no curve: when whoever is refused may come again.
import type { Completion } from "./policy.ts";

/** Weight of the newest batch. */
const WEIGHT = 0.1;

export class AnswerRate {
  /** Of a replica's time, for each query. */
  #queryMs: number | undefined;

  completed({ outcome, size, latencyMs }: Completion): void {
    if (outcome !== "ok" || !(latencyMs >= 0 && latencyMs < Infinity)) return;
    const queryMs = latencyMs / size;
    this.#queryMs = (this.#queryMs ?? queryMs) + WEIGHT * (queryMs - (this.#queryMs ?? queryMs));
  }

  retryAfterS(length: number, replicas: number): number {
    return secondsFor(length * (this.#queryMs ?? 0), replicas);
  }
}

/** Whole seconds, at least one, in which so many replicas do this work. */
export function secondsFor(workMs: number, replicas: number): number {
  return Math.max(1, Math.ceil(workMs / Math.max(1, replicas) / 1000));
}
