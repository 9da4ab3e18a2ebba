// Runs a batching policy in virtual time: queries arrive, replicas work, answers are counted.
import type { BatchingPolicy, Cut, Puller, QueueView } from "../../../../core/query/batching/policy.ts";
import { normal, randomNumbers } from "./random.ts";
import { OBJECTIVE_MS, type Workload } from "./workloads.ts";

/** What became of the queries, by number. */
export interface Tally {
  readonly total: number;
  readonly inTime: number;
  readonly late: number;
  readonly refused: number;
  readonly expired: number;
  readonly shed: number;
  readonly batches: number;
  /** Largest batch that was cut. */
  readonly largest: number;
  /** Median latency of the queries that were run, ms. */
  readonly medianMs: number;
  /** By index of the query: 1 if answered in time. */
  readonly isInTime: Uint8Array;
}

export interface SimulationOptions {
  /** The policy is told of no deadlines: how a server without latency objectives does on the same arrivals. */
  readonly hidesDeadlines?: boolean;
  /** One replica that holds several batches at once. Default: each replica holds one, and computes it at once. */
  readonly inFlight?: InFlight;
}

interface InFlight {
  /** Batches that it is given at once. */
  readonly most: number;
  /** Those of them that it computes side by side; the others wait there, in order. */
  readonly places: number;
}

interface Waiting {
  readonly index: number;
  readonly arrivedAt: number;
  readonly deadlineAt: number;
}

/** Waiting queries, earliest deadline first. */
class DeadlineQueue implements QueueView {
  #items: Waiting[] = [];
  #head = 0;

  get length(): number {
    return this.#items.length - this.#head;
  }

  deadlineAt(index: number): number {
    return this.#at(index).deadlineAt;
  }

  arrivedAt(index: number): number {
    return this.#at(index).arrivedAt;
  }

  push(query: Waiting): void {
    let at = this.#items.length;
    while (at > this.#head && (this.#items[at - 1]?.deadlineAt ?? 0) > query.deadlineAt) at -= 1;
    if (at === this.#items.length) this.#items.push(query);
    else this.#items.splice(at, 0, query);
  }

  take(count: number, left: number = 0): Waiting[] {
    if (left + count > this.length) throw new RangeError(`${count} queries taken of ${this.length}`);
    if (left > 0) return this.#items.splice(this.#head + left, count);
    const taken = this.#items.slice(this.#head, this.#head + count);
    this.#head += count;
    if (this.#head > 4096) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return taken;
  }

  #at(index: number): Waiting {
    const query = index < 0 ? undefined : this.#items[this.#head + index];
    if (query === undefined) throw new RangeError(`the policy looked at query ${index} of ${this.length}`);
    return query;
  }
}

interface Running {
  readonly replica: number;
  /** undefined: it had company, and what it took to compute is not told apart from the wait for the others. */
  readonly computeMs: number | undefined;
  readonly startedAt: number;
  readonly endsAt: number;
  readonly queries: readonly Waiting[];
}

/** Runs `policy` over `workload` until nothing is left to do. */
export function simulate(policy: BatchingPolicy, workload: Workload, options: SimulationOptions = {}): Tally {
  return new Simulation(policy, workload, options).run();
}

class Simulation {
  readonly #policy: BatchingPolicy;
  readonly #workload: Workload;
  readonly #hidesDeadlines: boolean;
  readonly #queue = new DeadlineQueue();
  readonly #crew: readonly object[];
  /** When each place of the one that holds several is free again; none: there is no such replica. */
  readonly #freeAt: number[];
  readonly #noise: () => number;
  readonly #isInTime: Uint8Array;
  readonly #latencies: number[] = [];
  readonly #counts = { inTime: 0, late: 0, refused: 0, expired: 0, shed: 0, batches: 0, largest: 0 };
  #running: Running[] = [];
  #askAt = Infinity;
  #next = 0;

  constructor(policy: BatchingPolicy, workload: Workload, options: SimulationOptions) {
    this.#policy = policy;
    this.#workload = workload;
    const { most, places } = options.inFlight ?? { most: workload.replicas, places: 0 };
    const holdsSeveral = {};
    this.#crew = Array.from({ length: most }, () => (places > 0 ? holdsSeveral : {}));
    this.#freeAt = Array.from({ length: places }, () => 0);
    this.#hidesDeadlines = options.hidesDeadlines ?? false;
    this.#noise = randomNumbers(workload.seed ^ 0x9e3779b9);
    this.#isInTime = new Uint8Array(workload.arrivals.length);
  }

  run(): Tally {
    for (let now = this.#nextEvent(); now < Infinity; now = this.#nextEvent()) {
      this.#finish(now);
      this.#arrive(now);
      this.#dispatch(now);
    }
    const latencies = Float64Array.from(this.#latencies).toSorted();
    const medianMs = latencies[latencies.length >> 1] ?? NaN;
    return { total: this.#isInTime.length, ...this.#counts, medianMs, isInTime: this.#isInTime };
  }

  #nextEvent(): number {
    let at = Math.min(this.#workload.arrivals[this.#next] ?? Infinity, this.#askAt);
    for (const batch of this.#running) at = Math.min(at, batch.endsAt);
    return at;
  }

  #finish(now: number): void {
    const done = this.#running.filter((batch) => batch.endsAt <= now);
    if (done.length === 0) return;
    this.#running = this.#running.filter((batch) => batch.endsAt > now);
    for (const { replica: batch, queries, startedAt, endsAt, computeMs } of done) {
      for (const { index, arrivedAt } of queries) this.#answer(index, now - arrivedAt);
      const latencyMs = endsAt - startedAt;
      const size = queries.length;
      const replica = this.#crew[batch] ?? {};
      const compute = computeMs === undefined ? {} : { computeMs };
      this.#policy.completed(now, { replica, size, latencyMs, ...compute, outcome: "ok", wasFull: true });
    }
  }

  #answer(index: number, latencyMs: number): void {
    this.#latencies.push(latencyMs);
    if (latencyMs <= this.#objectiveMs(index)) {
      this.#isInTime[index] = 1;
      this.#counts.inTime += 1;
    } else {
      this.#counts.late += 1;
    }
  }

  #objectiveMs(index: number): number {
    return this.#workload.objectiveMs?.(index) ?? OBJECTIVE_MS;
  }

  #arrive(now: number): void {
    const { arrivals } = this.#workload;
    while ((arrivals[this.#next] ?? Infinity) <= now) {
      const index = this.#next;
      const deadlineAt = this.#hidesDeadlines ? Infinity : now + this.#objectiveMs(index);
      const isAdmitted = this.#policy.admit(now, deadlineAt, this.#queue, this.#crew);
      if (isAdmitted) this.#queue.push({ index, arrivedAt: now, deadlineAt });
      else this.#counts.refused += 1;
      this.#next += 1;
    }
  }

  #dispatch(now: number): void {
    this.#askAt = Infinity;
    for (const replica of this.#freeOnes()) {
      if (!this.#isServed(now, replica)) return;
    }
  }

  /** False when the policy wants time. */
  #isServed(now: number, replica: number): boolean {
    while (this.#queue.length > 0) {
      const cut = this.#policy.cut(now, this.#queue, this.#puller(replica));
      this.#queue.take(cut.expired + cut.shed);
      this.#counts.expired += cut.expired;
      this.#counts.shed += cut.shed;
      if (cut.take > 0) this.#start(now, replica, cut);
      else if (cut.askAgainMs !== undefined) this.#askAt = now + Math.max(1e-3, cut.askAgainMs);
      else if (cut.expired + cut.shed > 0) continue;
      else if (this.#running.length === 0 && this.#crew.length === 1)
        throw new Error("the policy neither takes nor drops a query, nor asks for time");
      return cut.take > 0 || cut.askAgainMs === undefined;
    }
    return true;
  }

  #puller(replica: number): Puller {
    return { replica: this.#crew[replica] ?? {}, crew: this.#crew };
  }

  #start(now: number, replica: number, { take: size, left }: Cut): void {
    this.#counts.batches += 1;
    this.#counts.largest = Math.max(this.#counts.largest, size);
    const { latencyMs, paceOf, wayMsOf } = this.#workload;
    const workMs = latencyMs(size, now) * (paceOf?.(replica, now) ?? 1) * this.#noiseFactor();
    const endsAt = this.#computedAt(now, workMs) + (wayMsOf?.(replica) ?? 0);
    const isAlone = this.#freeAt.length === 0 || this.#running.length === 0;
    const computeMs = isAlone ? workMs : undefined;
    this.#running.push({ replica, startedAt: now, endsAt, computeMs, queries: this.#queue.take(size, left) });
  }

  #computedAt(now: number, workMs: number): number {
    if (this.#freeAt.length === 0) return now + workMs;
    const place = this.#freeAt.indexOf(Math.min(...this.#freeAt));
    const endsAt = Math.max(now, this.#freeAt[place] ?? 0) + workMs;
    this.#freeAt[place] = endsAt;
    return endsAt;
  }

  /** The fastest first. */
  #freeOnes(): readonly number[] {
    const pace = (replica: number): number => this.#policy.pace?.(this.#puller(replica)) ?? 1;
    return Array.from(this.#crew.keys())
      .filter((replica) => !this.#running.some((batch) => batch.replica === replica))
      .toSorted((one, other) => pace(one) - pace(other));
  }

  /** 8 % lognormal; one batch in 200 takes three times as long. */
  #noiseFactor(): number {
    const factor = Math.exp(0.08 * normal(this.#noise));
    return this.#noise() < 0.005 ? 3 * factor : factor;
  }
}
