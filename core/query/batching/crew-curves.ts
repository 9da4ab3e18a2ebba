// What is known of each of the replicas that share a queue, and of all of them together.
import { LatencyModel } from "./latency-model.ts";
import { Overhead } from "./overhead.ts";
import type { Completion, Crew, PolicyState } from "./policy.ts";

/** One that takes less than so many times as long as the fastest counts as fast as it: noise is no difference. */
const SLOW_FROM = 1.25;
/** One that is too slow for all that waits is tried again after twice as long as it had been left alone before, within these. */
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 60_000;

/** What a batch may take of an objective, beside the wait for the one before (simulated: 0.5 to 1 differ little). */
const SHARE_OF_OBJECTIVE = 0.7;

/** What batches are held to. */
interface Bound {
  readonly objectiveMs: number;
  readonly largest: number;
}

/** How long the batches of one replica take, and the way to it and back. */
export class ReplicaCurve {
  readonly latency: LatencyModel = new LatencyModel();
  readonly overhead: Overhead = new Overhead();
  /** True while it can answer nothing that waits in time. */
  isTooSlow: boolean = false;
  #newsAt = -Infinity;
  #pauseMs = FIRST_PAUSE_MS;

  /** When a batch last taught it. */
  get newsAt(): number {
    return this.#newsAt;
  }

  /** Queries a millisecond, in batches of `size`. */
  rate(size: number): number {
    return size / this.latency.mean(size);
  }

  /** The same, in the largest batches that an objective leaves time for; 0 where that is none. */
  rateWithin({ objectiveMs, largest }: Bound): number {
    const size = Math.min(largest, this.latency.largestWithin(SHARE_OF_OBJECTIVE * objectiveMs));
    // A line through nought takes no time for none.
    return size === 0 ? 0 : this.rate(size);
  }

  /** True when one that is too slow is to be tried all the same: it may not be so any more, the sooner where it surprised. */
  isTriedAt(nowMs: number): boolean {
    return nowMs - this.#newsAt >= (this.latency.isInDoubt ? FIRST_PAUSE_MS : this.#pauseMs);
  }

  /** It answered a batch. */
  observe(nowMs: number, { size, latencyMs, computeMs }: Completion): void {
    this.latency.observe(size, latencyMs);
    this.overhead.observe(latencyMs, computeMs);
    const sinceMs = this.#newsAt === -Infinity ? 0 : nowMs - this.#newsAt;
    this.#pauseMs = Math.min(LONGEST_PAUSE_MS, Math.max(FIRST_PAUSE_MS, 2 * sinceMs));
    this.#newsAt = nowMs;
  }
}

/** Each replica has a curve of its own: one that is slow, or far away, teaches nothing of the others. */
export class CrewCurves {
  readonly #curves = new WeakMap<object, ReplicaCurve>();
  #fastest = new ReplicaCurve();
  /** Who is there, as of the last look; undefined: something was learned since. */
  #crew: Crew | undefined;
  #size = 0;
  #totalRate = 0;

  /** @param learned of the same version elsewhere: known until its own replicas have answered, and what they begin with */
  constructor(learned?: PolicyState) {
    if (learned?.curve === undefined) return;
    this.#size = learned.maxBatchSize;
    this.#fastest.latency.beginAs(learned.curve, Math.max(2, learned.maxBatchSize));
  }

  /** Of the one that answers a single query soonest; what it knew stays when nobody is there. */
  fastest(crew: Crew): ReplicaCurve {
    this.#look(crew, this.#size);
    return this.#fastest;
  }

  /** Of the fastest at the last look. */
  get best(): ReplicaCurve {
    return this.#fastest;
  }

  /** Its own, and before its first batch that of the fastest. */
  of(replica: object, crew: Crew): ReplicaCurve {
    return this.#curves.get(replica) ?? this.fastest(crew);
  }

  /** How many times as long as the fastest it takes for a query; 1 for most, Infinity while all that waits is too urgent for it. */
  pace(replica: object, crew: Crew): number {
    const curve = this.of(replica, crew);
    const ratio = curve.latency.mean(1) / this.fastest(crew).latency.mean(1);
    if (!(ratio >= SLOW_FROM)) return 1;
    return curve.isTooSlow ? Infinity : ratio;
  }

  /** Queries a millisecond that all of them, or one where nobody is there, answer in batches of `size`. */
  totalRate(crew: Crew, size: number): number {
    this.#look(crew, size);
    return this.#totalRate;
  }

  /** Part of the queries of an objective that falls to a replica, by what each of them can answer in time. */
  share(own: ReplicaCurve, crew: Crew, bound: Bound): number {
    let total = 0;
    for (const replica of crew) total += this.of(replica, crew).rateWithin(bound);
    return total > 0 ? own.rateWithin(bound) / total : 1;
  }

  /** The curve that a batch of the replica teaches: begun from that of its sisters. */
  taughtBy(replica: object): ReplicaCurve {
    this.#crew = undefined;
    let curve = this.#curves.get(replica);
    if (curve !== undefined) return curve;
    curve = new ReplicaCurve();
    if (this.#fastest.latency.isTaught) {
      curve.latency.beginAs(this.#fastest.latency.curve, Math.max(this.#size, 2));
      curve.overhead.beginAs(this.#fastest.overhead);
    }
    this.#curves.set(replica, curve);
    return curve;
  }

  #look(crew: Crew, size: number): void {
    if (crew === this.#crew && size === this.#size) return;
    this.#crew = crew;
    this.#size = size;
    let fastest: ReplicaCurve | undefined;
    for (const replica of crew) {
      const curve = this.#curves.get(replica);
      if (curve !== undefined && !(curve.latency.mean(1) >= (fastest?.latency.mean(1) ?? Infinity)))
        fastest = curve;
    }
    this.#fastest = fastest ?? this.#fastest;
    this.#totalRate = 0;
    for (const replica of crew) this.#totalRate += (this.#curves.get(replica) ?? this.#fastest).rate(size);
    if (crew.length === 0) this.#totalRate = this.#fastest.rate(size);
  }
}
