// Batches as in Clipper's paper: a row more while they meet the objective, a tenth less when one does not.
import { AnswerRate } from "./answer-rate.ts";
import { BatchLimit } from "./batch-limit.ts";
import type { BatchingPolicy, Completion, Crew, Cut, PolicyState, QueueView } from "./policy.ts";
import { countAhead } from "./queue-search.ts";

/** The paper's: small, so that the size is found again soon after a passing miss. */
const BACK_OFF = 0.9;

/**
 * Additive increase, multiplicative decrease of the batch size, against the objective of the most urgent query. Drops
 * only expired queries. It knows nothing of the queue before the batch, so under load queries are late that `slo` drops.
 */
export class AimdPolicy implements BatchingPolicy {
  readonly name = "aimd";
  readonly sharesAmongIdle = false;
  readonly #answers = new AnswerRate();
  readonly #max: BatchLimit;
  /** Fractions are kept, so that a tenth less of a small size is not a whole row. */
  #size = 1;
  /** Time that the most urgent query of the last batch had in all, ms. */
  #objectiveMs = Infinity;

  constructor(maxBatchSize: number) {
    this.#max = new BatchLimit(maxBatchSize);
  }

  admit(): boolean {
    return true;
  }

  cut(nowMs: number, queue: QueueView): Cut {
    const expired = countAhead(queue, nowMs);
    const take = Math.min(this.#limit, queue.length - expired);
    if (take > 0) this.#objectiveMs = queue.deadlineAt(expired) - queue.arrivedAt(expired);
    return { expired, shed: 0, take };
  }

  completed(_nowMs: number, completion: Completion): void {
    const { outcome, latencyMs, wasFull, size } = completion;
    this.#max.completed(completion);
    this.#answers.completed(completion);
    if (outcome !== "ok") return;
    if (latencyMs > this.#objectiveMs) this.#size = Math.max(1, BACK_OFF * this.#size);
    // A batch that was smaller than it might have been says nothing of a larger one.
    else if (wasFull && size >= this.#limit) this.#size = Math.min(this.#max.size, this.#limit + 1);
  }

  retryAfterS(length: number, crew: Crew): number {
    return this.#answers.retryAfterS(length, crew.length);
  }

  describe(): PolicyState {
    return { policy: this.name, maxBatchSize: this.#limit };
  }

  get #limit(): number {
    return Math.min(Math.floor(this.#size), this.#max.size);
  }
}
