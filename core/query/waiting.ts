// The queries that wait for a replica of one version: lanes of such as fit into one batch, and those that go alone.
import {
  CallerGoneError,
  DeadlineExceededError,
  OverloadedError,
  ShuttingDownError,
  type WindjammerError,
} from "../errors.ts";
import type { DropReason, VersionMetrics } from "../metrics.ts";
import type { Version } from "../types.ts";
import { Lane } from "./lane.ts";
import type { Pending } from "./pending.ts";

export class WaitingQueries {
  readonly #lanes = new Map<string, Lane>();
  /** Queries from a batch that failed as a whole: each goes alone, so that a bad one fails alone. */
  readonly #alone = new Lane("");
  readonly #label: string;
  readonly #metrics: VersionMetrics;
  #length = 0;

  constructor(version: Version, metrics: VersionMetrics) {
    this.#label = `model ${version.model} version ${version.version}`;
    this.#metrics = metrics;
  }

  get length(): number {
    return this.#length;
  }

  /** The lane for rows of this key. */
  lane(key: string): Lane {
    let lane = this.#lanes.get(key);
    if (lane === undefined) {
      lane = new Lane(key);
      this.#lanes.set(key, lane);
    }
    return lane;
  }

  add(lane: Lane, pending: Pending): void {
    lane.add(pending);
    this.#length++;
  }

  addAlone(pending: Pending): void {
    this.add(this.#alone, pending);
  }

  /** Lanes by the deadline of their heads; among equals the one that has waited longest. Empty ones are forgotten. */
  byUrgency(): readonly Lane[] {
    const lanes: Lane[] = [];
    for (const lane of this.#lanes.values()) {
      if (lane.length > 0) lanes.push(lane);
      else this.#lanes.delete(lane.key);
    }
    if (lanes.length < 2) return lanes;
    return lanes.toSorted(
      (one, other) =>
        compare(one.deadlineAt(0), other.deadlineAt(0)) || compare(one.arrivedAt(0), other.arrivedAt(0)),
    );
  }

  /** The most urgent query that has to go alone. */
  takeAlone(): Pending | undefined {
    return this.take(this.#alone, 1)[0];
  }

  /** Up to `size` heads of a lane; those whose callers have gone are left out, not replaced. */
  take(lane: Lane, size: number): Pending[] {
    const taken: Pending[] = [];
    while (taken.length < size) {
      const pending = this.#shift(lane);
      if (pending === undefined) break;
      if (this.#isWanted(pending)) taken.push(pending);
    }
    return taken;
  }

  /** Heads that cannot be answered in time any more. */
  expire(lane: Lane, count: number): void {
    for (let index = 0; index < count; index++) this.#dropHead(lane, "deadline", () => this.expired());
  }

  /** Heads given up for the sake of the rest. */
  shed(lane: Lane, count: number, retryAfterS: number): void {
    const error = (): WindjammerError =>
      this.overloaded("serving it would have made others late", retryAfterS);
    for (let index = 0; index < count; index++) this.#dropHead(lane, "shed", error);
  }

  /** Drops whatever is overdue. */
  expireDue(now: number): void {
    for (const lane of this.#all()) while (lane.length > 0 && lane.deadlineAt(0) <= now) this.expire(lane, 1);
  }

  failAll(reason: DropReason, error: () => WindjammerError): void {
    for (const lane of this.#all()) while (lane.length > 0) this.#dropHead(lane, reason, error);
  }

  earliestDeadline(): number {
    let earliest = Infinity;
    for (const lane of this.#all()) earliest = Math.min(earliest, lane.deadlineAt(0));
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

  #all(): readonly Lane[] {
    return [...this.#lanes.values(), this.#alone];
  }

  #shift(lane: Lane): Pending | undefined {
    const pending = lane.shift();
    if (pending !== undefined) this.#length--;
    return pending;
  }

  #dropHead(lane: Lane, reason: DropReason, error: () => WindjammerError): void {
    const pending = this.#shift(lane);
    if (pending !== undefined && this.#isWanted(pending)) this.drop(pending, reason, error());
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

/** Like subtraction, and right for Infinity. */
function compare(one: number, other: number): number {
  if (one === other) return 0;
  return one < other ? -1 : 1;
}
