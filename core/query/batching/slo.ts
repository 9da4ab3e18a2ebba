// The default policy: the largest batch the earliest deadline allows, and the fewest drops that keep up with arrivals.
import { secondsFor } from "./answer-rate.ts";
import { ArrivalRate } from "./arrival-rate.ts";
import { BatchLimit } from "./batch-limit.ts";
import { CrewCurves, type ReplicaCurve } from "./crew-curves.ts";
import type { BatchingPolicy, Completion, Crew, Cut, PolicyState, Puller, QueueView } from "./policy.ts";
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

/** A batch that is to be cut: when it can begin, and by which curve it will end. */
interface Cutting {
  readonly queue: QueueView;
  readonly startMs: number;
  readonly own: ReplicaCurve;
}

/** Batches to a latency objective, from learned curves. Keeps one state for all replicas of a version. */
export class SloPolicy implements BatchingPolicy {
  readonly name = "slo";
  readonly sharesAmongIdle = true;
  readonly #curves: CrewCurves;
  readonly #arrivals = new ArrivalRate();
  readonly #max: BatchLimit;
  /** Largest size tried so far and a bit: the curve is not trusted far beyond. */
  #cap = 1;

  /** @param learned what the policy knows of the same version in another process */
  constructor(maxBatchSize: number, learned?: PolicyState) {
    this.#max = new BatchLimit(maxBatchSize);
    this.#curves = new CrewCurves(learned);
    if (learned?.curve !== undefined) this.#cap = Math.max(1, learned.maxBatchSize);
  }

  /**
   * Refuses a query only when it would be late even if all batches before it were of the best size. Every call
   * counts as an arrival, so queries that are not user traffic must not pass here.
   */
  // oxlint-disable-next-line max-params -- one call a query: an options object would be garbage each time
  admit(nowMs: number, deadlineAt: number, queue: QueueView, crew: Crew): boolean {
    this.#arrivals.arrived(nowMs);
    const fastest = this.#curves.fastest(crew);
    const { latency } = fastest;
    if (deadlineAt === Infinity || !latency.isTaught) return true;
    const startMs = nowMs + fastest.overhead.allowanceMs;
    const first = firstDueFrom(queue, startMs + latency.upper(1));
    const end = countAhead(queue, deadlineAt);
    const budgetMs = deadlineAt - startMs;
    const size = Math.max(1, Math.min(this.#max.size, latency.largestWithin(budgetMs)));
    // Alike replicas are as many as there are; a slow one counts as a part of one.
    const replicas = this.#totalRate(crew) / fastest.rate(this.#limit);
    const rounds = Math.floor((end - first) / (size * Math.max(1, replicas)) + 1e-9);
    if (rounds <= 0) return true;
    // Whoever is ahead leaves by its own deadline, answered or dropped.
    const waitMs = Math.min(rounds * latency.mean(size), queue.deadlineAt(end - 1) - startMs);
    return waitMs + latency.mean(1) <= budgetMs;
  }

  cut(nowMs: number, queue: QueueView, puller: Puller): Cut {
    const { replica, crew } = puller;
    const own = this.#curves.of(replica, crew);
    const isSlow = this.pace(puller) > 1;
    const startMs = nowMs + own.overhead.allowanceMs;
    const first = firstDueFrom(queue, startMs + own.latency.upper(1));
    own.isTooSlow = first === queue.length;
    if (own.isTooSlow) return isSlow ? tried(nowMs, queue, own) : hopeless(nowMs, queue, own);
    const at: Cutting = { queue, startMs, own };
    const best = this.#bestOf({ head: first, size: this.#sizeAt(first, at) }, at, crew);
    // A slow one gives nobody up: what is too urgent for it is left to the others.
    return isSlow
      ? { expired: 0, shed: 0, left: best.head, take: best.size }
      : { expired: first, shed: best.head - first, take: best.size };
  }

  /** Failed batches teach nothing: how soon an error comes, or a hung replica is given up, is not the model's speed. */
  completed(nowMs: number, completion: Completion): void {
    const { replica, size, outcome, wasFull } = completion;
    this.#max.completed(completion);
    if (outcome !== "ok") return;
    this.#curves.taughtBy(replica).observe(nowMs, completion);
    if (wasFull && size >= this.#cap) this.#cap = Math.ceil(1.5 * size) + 1;
  }

  retryAfterS(length: number, crew: Crew): number {
    return secondsFor(length / this.#totalRate(crew), 1);
  }

  predictedMs(size: number, { replica, crew }: Puller): number | undefined {
    const { latency } = this.#curves.of(replica, crew);
    return latency.isTaught ? latency.mean(size) : undefined;
  }

  pace({ replica, crew }: Puller): number {
    return this.#curves.pace(replica, crew);
  }

  describe(): PolicyState {
    const { latency } = this.#curves.best;
    const perMs = this.#arrivals.perMs;
    return {
      policy: this.name,
      maxBatchSize: this.#limit,
      ...(latency.isTaught ? { curve: latency.curve } : {}),
      ...(perMs === undefined || perMs === Infinity ? {} : { arrivalRate: perMs * 1000 }),
    };
  }

  get #limit(): number {
    return Math.min(this.#cap, this.#max.size);
  }

  /** Queries a millisecond that all replicas answer in the largest batches. */
  #totalRate(crew: Crew): number {
    return this.#curves.totalRate(crew, this.#limit);
  }

  /**
   * Largest batch that begins at `head` and ends in time for it. The overhead is counted twice, since it varies and
   * the answer still has to reach the caller: once here, as a later start, and once in the learned round trips.
   */
  #sizeAt(head: number, { queue, startMs, own }: Cutting): number {
    const waiting = queue.length - head;
    const deadlineAt = queue.deadlineAt(head);
    if (deadlineAt === Infinity) return Math.min(this.#max.size, waiting);
    const inTime = own.latency.largestWithin(deadlineAt - startMs);
    return Math.max(1, Math.min(this.#limit, inTime, waiting));
  }

  /**
   * `kept`, or the batch behind the fewest heads to pass over if those force batches too small to keep up. Later heads
   * allow larger batches until what waits behind them runs out, so the first head that suffices is found by halving.
   */
  #bestOf(kept: Candidate, at: Cutting, crew: Crew): Candidate {
    const { queue, own } = at;
    if (kept.size === queue.length - kept.head || kept.size >= this.#limit) return kept;
    const last = queue.length - 1;
    const objectiveMs = queue.deadlineAt(last) - queue.arrivedAt(last) - own.overhead.allowanceMs;
    const share = this.#curves.share(own, crew, { objectiveMs, largest: this.#limit });
    const needed = Math.min((this.#arrivals.perMs ?? 0) * share, own.rate(this.#limit));
    if (own.rate(kept.size) >= needed) return kept;
    const head = firstIndex(kept.head + 1, queue.length, (index) => {
      const size = this.#sizeAt(index, at);
      return size === queue.length - index || own.rate(size) >= needed;
    });
    const size = this.#sizeAt(head, at);
    return own.rate(size) > MIN_GAIN * own.rate(kept.size) ? { head, size } : kept;
  }
}

/** Of what waits a slow replica can answer nothing in time: it is left to the others, but for a try now and then. */
function tried(nowMs: number, queue: QueueView, own: ReplicaCurve): Cut {
  const left = queue.length - 1;
  const isTried = own.isTriedAt(nowMs) && queue.deadlineAt(left) > nowMs;
  return { expired: 0, shed: 0, left, take: isTried ? 1 : 0 };
}

/**
 * Nothing that waits can be in time. The one with most time left is tried all the same when even a query that just came
 * has no chance by the curve, and the curve may be outdated: without a try now and then, a model that was slow for a
 * while would never be asked again (simulated, 30 s at a twelfth of the speed in 120 s: 17 % in time without tries, 74 %
 * with them).
 */
function hopeless(nowMs: number, queue: QueueView, { latency, overhead, newsAt }: ReplicaCurve): Cut {
  const last = queue.length - 1;
  const upperMs = latency.upper(1);
  const deadlineAt = queue.deadlineAt(last);
  const isTooSlow = deadlineAt - queue.arrivedAt(last) < upperMs + overhead.allowanceMs;
  const isDue = latency.isInDoubt || nowMs - newsAt >= PROBE_EVERY * upperMs;
  return deadlineAt > nowMs && isTooSlow && isDue
    ? { expired: last, shed: 0, take: 1 }
    : { expired: last + 1, shed: 0, take: 0 };
}
