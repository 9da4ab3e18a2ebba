// The default policy: the largest batch the earliest deadline allows, and the fewest drops that keep up with arrivals.
import { secondsFor } from "./answer-rate.ts";
import { ArrivalRate } from "./arrival-rate.ts";
import { BatchLimit } from "./batch-limit.ts";
import { LatencyModel } from "./latency-model.ts";
import { Overhead } from "./overhead.ts";
import type { BatchingPolicy, Completion, Cut, PolicyState, QueueView } from "./policy.ts";
import { countAhead, firstDueFrom, firstIndex } from "./queue-search.ts";

/** Heads are shed only for a batch whose rate is better by this factor: dropped work must buy something. */
const MIN_GAIN = 1.03;
/** While nothing can be in time, one query is tried anyway after this many predicted latencies without news. */
const PROBE_EVERY = 4;

/** Where a batch begins in the queue, and its size. */
interface Candidate {
  readonly head: number;
  readonly size: number;
}

/** Batches to a latency objective, from a learned curve. Keeps one state for all replicas of a version. */
export class SloPolicy implements BatchingPolicy {
  readonly name = "slo";
  readonly sharesAmongIdle = true;
  readonly #latency = new LatencyModel();
  readonly #overhead = new Overhead();
  readonly #arrivals = new ArrivalRate();
  readonly #max: BatchLimit;
  /** Largest size tried so far and a bit: the curve is not trusted far beyond. */
  #cap = 1;
  #lastNewsMs = -Infinity;

  constructor(maxBatchSize: number) {
    this.#max = new BatchLimit(maxBatchSize);
  }

  /**
   * Refuses a query only when it would be late even if all batches before it were of the best size. Every call
   * counts as an arrival, so queries that are not user traffic must not pass here.
   */
  // oxlint-disable-next-line max-params -- one call a query: an options object would be garbage each time
  admit(nowMs: number, deadlineAt: number, queue: QueueView, replicas: number): boolean {
    this.#arrivals.arrived(nowMs);
    if (deadlineAt === Infinity || !this.#latency.isTaught) return true;
    const startMs = nowMs + this.#overhead.allowanceMs;
    const first = firstDueFrom(queue, startMs + this.#latency.upper(1));
    const end = countAhead(queue, deadlineAt);
    const budgetMs = deadlineAt - startMs;
    const size = Math.max(1, Math.min(this.#max.size, this.#latency.largestWithin(budgetMs)));
    const rounds = Math.floor((end - first) / (size * Math.max(1, replicas)));
    if (rounds <= 0) return true;
    // Whoever is ahead leaves by its own deadline, answered or dropped.
    const waitMs = Math.min(rounds * this.#latency.mean(size), queue.deadlineAt(end - 1) - startMs);
    return waitMs + this.#latency.mean(1) <= budgetMs;
  }

  cut(nowMs: number, queue: QueueView, replicas: number): Cut {
    const startMs = nowMs + this.#overhead.allowanceMs;
    const expired = firstDueFrom(queue, startMs + this.#latency.upper(1));
    if (expired === queue.length) {
      return this.#isProbeDue(nowMs, queue)
        ? { expired: expired - 1, shed: 0, take: 1 }
        : { expired, shed: 0, take: 0 };
    }
    const kept = { head: expired, size: this.#sizeAt(expired, startMs, queue) };
    const best = this.#bestOf(kept, startMs, { queue, replicas });
    return { expired, shed: best.head - expired, take: best.size };
  }

  /** Failed batches teach nothing: how soon an error comes, or a hung replica is given up, is not the model's speed. */
  completed(nowMs: number, completion: Completion): void {
    const { size, latencyMs, computeMs, outcome, wasFull } = completion;
    this.#max.completed(completion);
    if (outcome !== "ok") return;
    this.#latency.observe(size, latencyMs);
    this.#overhead.observe(latencyMs, computeMs);
    this.#lastNewsMs = nowMs;
    if (wasFull && size >= this.#cap) this.#cap = Math.ceil(1.5 * size) + 1;
  }

  retryAfterS(length: number, replicas: number): number {
    return secondsFor(length / this.#rate(this.#limit), replicas);
  }

  predictedMs(size: number): number | undefined {
    return this.#latency.isTaught ? this.#latency.mean(size) : undefined;
  }

  describe(): PolicyState {
    const { fixedMs, perRowMs, band, isTaught } = this.#latency;
    const perMs = this.#arrivals.perMs;
    return {
      policy: this.name,
      maxBatchSize: this.#limit,
      ...(isTaught ? { curve: { fixedMs, perRowMs, upperFactor: band } } : {}),
      ...(perMs === undefined || perMs === Infinity ? {} : { arrivalRate: perMs * 1000 }),
    };
  }

  get #limit(): number {
    return Math.min(this.#cap, this.#max.size);
  }

  /** Queries a millisecond that one replica answers in batches of `size`. */
  #rate(size: number): number {
    return size / this.#latency.mean(size);
  }

  /**
   * Largest batch that begins at `head` and ends in time for it. The overhead is counted twice, since it varies and
   * the answer still has to reach the caller: once here, as a later start, and once in the learned round trips.
   */
  #sizeAt(head: number, startMs: number, queue: QueueView): number {
    const waiting = queue.length - head;
    const deadlineAt = queue.deadlineAt(head);
    if (deadlineAt === Infinity) return Math.min(this.#max.size, waiting);
    const inTime = this.#latency.largestWithin(deadlineAt - startMs);
    return Math.max(1, Math.min(this.#limit, inTime, waiting));
  }

  /**
   * `kept`, or the batch behind the fewest heads to shed if those force batches too small to keep up. Later heads
   * allow larger batches until what waits behind them runs out, so the first head that suffices is found by halving.
   */
  #bestOf(kept: Candidate, startMs: number, at: { queue: QueueView; replicas: number }): Candidate {
    const { queue, replicas } = at;
    if (kept.size === queue.length - kept.head || kept.size >= this.#limit) return kept;
    const arriving = (this.#arrivals.perMs ?? 0) / Math.max(1, replicas);
    const needed = Math.min(arriving, this.#rate(this.#limit));
    if (this.#rate(kept.size) >= needed) return kept;
    const head = firstIndex(kept.head + 1, queue.length, (index) => {
      const size = this.#sizeAt(index, startMs, queue);
      return size === queue.length - index || this.#rate(size) >= needed;
    });
    const size = this.#sizeAt(head, startMs, queue);
    return this.#rate(size) > MIN_GAIN * this.#rate(kept.size) ? { head, size } : kept;
  }

  /**
   * True when even a query that just came has no chance by the curve, and the curve may be outdated: without a try
   * now and then, a model that was slow for a while would never be asked again (simulated, 30 s at a twelfth of the
   * speed in 120 s: 17 % in time without tries, 74 % with them).
   */
  #isProbeDue(nowMs: number, queue: QueueView): boolean {
    const last = queue.length - 1;
    if (last < 0) return false;
    const deadlineAt = queue.deadlineAt(last);
    const upperMs = this.#latency.upper(1);
    if (!(deadlineAt > nowMs) || deadlineAt - queue.arrivedAt(last) >= upperMs + this.#overhead.allowanceMs)
      return false;
    return this.#latency.isInDoubt || nowMs - this.#lastNewsMs >= PROBE_EVERY * upperMs;
  }
}
