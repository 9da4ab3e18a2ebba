// Contract of a batching policy: how many waiting queries go to a free replica now, and which are given up.
// A policy is pure: time and queue come in, a decision comes out. It holds what was learned of one version's replicas,
// and never a timer.

/** The queries that wait and fit into one batch, in deadline order (earliest first). */
export interface QueueView {
  readonly length: number;
  /** Deadline of the query at `index`, ms; Infinity without one. */
  deadlineAt(index: number): number;
  /** Arrival of the query at `index`, ms. */
  arrivedAt(index: number): number;
}

/**
 * The replicas that get batches of a queue, most of them alike: each stands in it once for each batch that it may hold at
 * once, so that the length is how many batches are out at most. Of each a policy may remember what it learned.
 */
export type Crew = readonly object[];

/** One that is free. */
export interface Puller {
  readonly replica: object;
  /** With the others that share the queue. */
  readonly crew: Crew;
}

/** What is done at the head of the queue: first `expired`, then `shed` queries leave it, then `take` go to the replica. */
export interface Cut {
  /** Heads that cannot be answered in time any more, even alone (DeadlineExceededError). */
  readonly expired: number;
  /** Heads given up because serving them would make the rest late (OverloadedError). */
  readonly shed: number;
  /** Heads that stay, for a faster replica: the batch is taken behind them. Default 0. */
  readonly left?: number;
  /** Size of the batch; 0: none now. */
  readonly take: number;
  /** With `take` 0: ask again in this many ms, unless a query arrives before (only policies with a delay). */
  readonly askAgainMs?: number;
}

/** A batch that came back, or did not. */
export interface Completion {
  readonly replica: object;
  readonly size: number;
  /** From dispatch to result, ms: what a query sees of it. */
  readonly latencyMs: number;
  /** The loader's own time within it, ms; undefined when the container does not report it. */
  readonly computeMs?: number;
  readonly outcome: "ok" | "failed" | "out-of-memory";
  /** True when the queue held at least `size` matching queries at the cut, so that the size was the policy's choice. */
  readonly wasFull: boolean;
}

export interface BatchingPolicy {
  /** For people: "slo". */
  readonly name: string;
  /** True: idle replicas share what waits, instead of the first one taking all it may. */
  readonly sharesAmongIdle: boolean;
  /**
   * A query comes in. True: as far as is known it can be answered in time behind what waits already.
   */
  admit(nowMs: number, deadlineAt: number, queue: QueueView, crew: Crew): boolean;
  /** A replica is free. Not called with an empty queue. */
  cut(nowMs: number, queue: QueueView, puller: Puller): Cut;
  completed(nowMs: number, completion: Completion): void;
  /**
   * Whole seconds, at least 1, in which `length` waiting queries will be answered by the crew, each replica with all the
   * batches that it may hold at once: when who was refused may come again.
   */
  retryAfterS(length: number, crew: Crew): number;
  /** How long a batch of this size should take, ms; undefined: nothing is known yet, or the policy learns no such thing. */
  predictedMs?(size: number, puller: Puller): number | undefined;
  /** How many times as long as the fastest replica this one takes, 1 for most; Infinity: all is too urgent for it. Missing: not learned. */
  pace?(puller: Puller): number;
  /** What was learned, for the management API and metrics. */
  describe(): PolicyState;
}

/** Learned latency of a batch of n: fixedMs + perRowMs × n; all but a few take at most `upperFactor` times that. */
export interface Curve {
  readonly fixedMs: number;
  readonly perRowMs: number;
  readonly upperFactor: number;
  /** How many it was learned from. */
  readonly batches: number;
}

export interface PolicyState {
  readonly policy: string;
  /** Largest batch the policy would cut now. */
  readonly maxBatchSize: number;
  /** Of the fastest replica; undefined before the first batch. */
  readonly curve?: Curve;
  /** Arrivals a second. */
  readonly arrivalRate?: number;
}
