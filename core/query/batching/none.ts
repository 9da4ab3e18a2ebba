// No batching: one query at a time, the most urgent first.
import { AnswerRate } from "./answer-rate.ts";
import type { BatchingPolicy, Completion, Crew, Cut, PolicyState, QueueView } from "./policy.ts";
import { countAhead } from "./queue-search.ts";

/** Takes single queries, and drops only expired ones. */
export class NonePolicy implements BatchingPolicy {
  readonly name = "none";
  readonly sharesAmongIdle = false;
  readonly #answers = new AnswerRate();

  admit(): boolean {
    return true;
  }

  cut(nowMs: number, queue: QueueView): Cut {
    const expired = countAhead(queue, nowMs);
    return { expired, shed: 0, take: Math.min(1, queue.length - expired) };
  }

  completed(_nowMs: number, completion: Completion): void {
    this.#answers.completed(completion);
  }

  retryAfterS(length: number, crew: Crew): number {
    return this.#answers.retryAfterS(length, crew.length);
  }

  describe(): PolicyState {
    return { policy: this.name, maxBatchSize: 1 };
  }
}
