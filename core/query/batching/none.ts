// No batching: one query at a time, the most urgent first.
import type { Admission, BatchingPolicy, Cut, PolicyState, QueueView } from "./policy.ts";
import { countAhead } from "./queue-search.ts";

const RETRY_AFTER_S = 1;

/** Takes single queries, and drops only expired ones. */
export class NonePolicy implements BatchingPolicy {
  readonly name = "none";
  readonly sharesAmongIdle = false;

  admit(): Admission {
    return { isAdmitted: true };
  }

  cut(nowMs: number, queue: QueueView): Cut {
    const expired = countAhead(queue, nowMs);
    return { expired, shed: 0, take: Math.min(1, queue.length - expired), retryAfterS: RETRY_AFTER_S };
  }

  completed(): void {
    // Nothing to learn: the size is always 1.
  }

  describe(): PolicyState {
    return { policy: this.name, maxBatchSize: 1 };
  }
}
