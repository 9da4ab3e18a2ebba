// Batches of a fixed size, or what there is after a fixed delay, as Triton and TorchServe do it.
import { AnswerRate } from "./answer-rate.ts";
import { BatchLimit } from "./batch-limit.ts";
import type { BatchingPolicy, Completion, Crew, Cut, PolicyState, QueueView } from "./policy.ts";
import { countAhead } from "./queue-search.ts";

/** A batch goes when it is full, or when one of its queries has waited the delay. Only expired queries are dropped. */
export class FixedPolicy implements BatchingPolicy {
  readonly name = "fixed";
  readonly sharesAmongIdle = false;
  readonly #answers = new AnswerRate();
  readonly #limit: BatchLimit;
  readonly #maxDelayMs: number;

  constructor(maxBatchSize: number, maxDelayMs: number) {
    this.#limit = new BatchLimit(maxBatchSize);
    this.#maxDelayMs = maxDelayMs;
  }

  admit(): boolean {
    return true;
  }

  cut(nowMs: number, queue: QueueView): Cut {
    const expired = countAhead(queue, nowMs);
    const take = Math.min(this.#limit.size, queue.length - expired);
    const dropped = { expired, shed: 0 };
    if (take === 0 || take === this.#limit.size) return { ...dropped, take };
    const delayMs = oldestArrival(queue, expired) + this.#maxDelayMs - nowMs;
    return delayMs > 0 ? { ...dropped, take: 0, askAgainMs: delayMs } : { ...dropped, take };
  }

  completed(_nowMs: number, completion: Completion): void {
    this.#limit.completed(completion);
    this.#answers.completed(completion);
  }

  retryAfterS(length: number, crew: Crew): number {
    return this.#answers.retryAfterS(length, crew.length);
  }

  describe(): PolicyState {
    return { policy: this.name, maxBatchSize: this.#limit.size };
  }
}

/** Deadline order is not arrival order. Looks at less than one batch, since a full one does not wait. */
function oldestArrival(queue: QueueView, from: number): number {
  let oldest = Infinity;
  for (let index = from; index < queue.length; index += 1) {
    oldest = Math.min(oldest, queue.arrivedAt(index));
  }
  return oldest;
}
