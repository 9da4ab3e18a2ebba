// The queries that wait for a replica of one version: lanes of such as fit into one batch, or are tried again together.
import {
  CallerGoneError,
  DeadlineExceededError,
  OverloadedError,
  ShuttingDownError,
  type WindjammerError,
} from "../errors.ts";
import type { DropReason, VersionMetrics } from "../metric-handles.ts";
import type { Version } from "../types.ts";
import { type Failed, Lane } from "./lane.ts";
import type { Pending } from "./pending.ts";
import { DEFAULT_PRIORITY, type Query } from "./query.ts";

/** Rows of one batch together; a larger one would hold up the container longer than it saves calls. */
const MAX_BATCH_BYTES = 64 * 2 ** 20;
/** Queries whose callers have gone are looked for at most this often, ms. */
const PURGE_EVERY_MS = 50;

export class WaitingQueries {
  readonly #lanes = new Map<string, Lane>();
  readonly #label: string;
  readonly #metrics: VersionMetrics;
  #retries = 0;
  #length = 0;
  #bytes = 0;
  #purgedAt = 0;

  constructor(version: Version, metrics: VersionMetrics) {
    this.#label = `model ${version.model} version ${version.version}`;
    this.#metrics = metrics;
  }

  get length(): number {
    return this.#length;
  }

  /** Bytes of all rows that wait. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The lane of a query's class, for rows of its key. */
  laneOf({ row, priority }: Query): Lane {
    const isUsual = priority === undefined || priority === DEFAULT_PRIORITY;
    const key = isUsual ? row.key : `${row.key}|${priority}`;
    let lane = this.#lanes.get(key);
    if (lane === undefined) {
      lane = new Lane(key, priority);
      this.#lanes.set(key, lane);
    }
    return lane;
  }

  add(lane: Lane, pending: Pending): void {
    lane.add(pending);
    this.#length++;
    this.#bytes += pending.bytes;
  }

  /** A part of a batch that failed: a lane of its own, in deadline order with the others. */
  addRetry(part: readonly Pending[], failed: Failed): void {
    const lane = new Lane(`retry ${++this.#retries}`, part[0]?.query.priority, failed);
    this.#lanes.set(lane.key, lane);
    for (const pending of part) this.add(lane, pending);
  }

  /**
   * The lane of the first class whose head has the earliest deadline, or has waited longest among equals.
   * @param passedOver lanes that are held back for now
   */
  mostUrgent(passedOver: ReadonlySet<Lane>): Lane | undefined {
    let urgent: Lane | undefined;
    for (const lane of this.#lanes.values()) {
      if (lane.length > 0 && !passedOver.has(lane) && (urgent === undefined || isBefore(lane, urgent)))
        urgent = lane;
    }
    return urgent;
  }

  /**
   * Up to `size` of a lane, within a batch's bytes; those whose callers have gone are left out, not replaced.
   * @param left heads that stay
   */
  take(lane: Lane, size: number, left: number = 0): Pending[] {
    const taken: Pending[] = [];
    for (let bytes = 0; taken.length < size;) {
      bytes += lane.at(left)?.bytes ?? 0;
      if (taken.length > 0 && bytes > MAX_BATCH_BYTES) break;
      const pending = this.#remove(lane, left);
      if (pending === undefined) break;
      if (this.#isWanted(pending)) taken.push(pending);
    }
    return taken;
  }

  /** Heads that cannot be answered in time any more. */
  expire(lane: Lane, count: number): void {
    this.#dropHeads(lane, count, { reason: "deadline", error: () => this.expired() });
  }

  /** Heads given up for the sake of the rest. */
  shed(lane: Lane, count: number, error: () => WindjammerError): void {
    this.#dropHeads(lane, count, { reason: "shed", error });
  }

  /** Drops whatever is overdue. */
  expireDue(now: number): void {
    for (const lane of this.#lanes.values()) {
      let due = 0;
      while (lane.deadlineAt(due) <= now) due++;
      this.expire(lane, due);
    }
  }

  failAll(reason: DropReason, error: () => WindjammerError): void {
    for (const lane of this.#lanes.values()) this.#dropHeads(lane, lane.length, { reason, error });
  }

  /** Drops queries whose callers have gone, wherever they wait; called when room is needed. */
  purgeAbandoned(now: number): void {
    if (now < this.#purgedAt + PURGE_EVERY_MS) return;
    this.#purgedAt = now;
    // A copy: lanes come and go meanwhile.
    for (const lane of Array.from(this.#lanes.values())) {
      const waiting = Array.from({ length: lane.length }, () => this.#shift(lane));
      for (const pending of waiting) {
        if (pending === undefined || !this.#isWanted(pending)) continue;
        this.#lanes.set(lane.key, lane);
        this.add(lane, pending);
      }
    }
  }

  earliestDeadline(): number {
    let earliest = Infinity;
    for (const lane of this.#lanes.values()) earliest = Math.min(earliest, lane.deadlineAt(0));
    return earliest;
  }

  /** Settles a query with an error that is no fault of the model, and counts it. */
  drop(pending: Pending, reason: DropReason, error: WindjammerError): void {
    if (pending.fail(error)) this.#metrics.dropped(reason);
  }

  expired(): WindjammerError {
    return new DeadlineExceededError(`${this.#label} did not answer before the deadline`);
  }

  overloaded(why: string, retryAfterS: number): WindjammerError {
    const message = `${this.#label} is overloaded: ${why}; try again in ${retryAfterS} s, or add replicas`;
    return new OverloadedError(message, { retryAfterS });
  }

  stopping(): WindjammerError {
    return new ShuttingDownError(`${this.#label} is being stopped; try again`);
  }

  /** A lane is forgotten with its last query: one caller can make thousands, by shape. */
  #shift(lane: Lane): Pending | undefined {
    return this.#remove(lane, 0);
  }

  #remove(lane: Lane, index: number): Pending | undefined {
    const pending = lane.remove(index);
    if (pending === undefined) return undefined;
    this.#length--;
    this.#bytes -= pending.bytes;
    if (lane.length === 0) this.#lanes.delete(lane.key);
    return pending;
  }

  /** All leave before the first is settled: whoever hears of it may add new ones. */
  #dropHeads(
    lane: Lane,
    count: number,
    why: { readonly reason: DropReason; readonly error: () => WindjammerError },
  ): void {
    const heads: Pending[] = [];
    while (heads.length < count) {
      const pending = this.#shift(lane);
      if (pending === undefined) break;
      heads.push(pending);
    }
    for (const pending of heads) if (this.#isWanted(pending)) this.drop(pending, why.reason, why.error());
  }

  /** False for a query that is settled, and for one whose caller has gone, which is settled here. */
  #isWanted(pending: Pending): boolean {
    if (!pending.query.isAbandoned) return !pending.isSettled;
    this.drop(
      pending,
      "abandoned",
      new CallerGoneError("the caller closed the connection before the answer"),
    );
    return false;
  }
}

function isBefore(lane: Lane, other: Lane): boolean {
  if (lane.priority !== other.priority) return lane.priority < other.priority;
  const [deadlineAt, otherDeadlineAt] = [lane.deadlineAt(0), other.deadlineAt(0)];
  return deadlineAt === otherDeadlineAt
    ? lane.arrivedAt(0) < other.arrivedAt(0)
    : deadlineAt < otherDeadlineAt;
}
