// The waiting queries that fit into one batch with each other, in deadline order.
import type { QueueView } from "./batching/policy.ts";
import type { Replica } from "../replicas/replica.ts";
import type { Pending } from "./pending.ts";
import { DEFAULT_PRIORITY } from "./query.ts";

/** Dead entries at the front are cut off when there are this many, and more than half. */
const COMPACT_AT = 1024;

/** Where queries failed, and whether their replica was lost with them. */
export interface Failed {
  readonly on: Replica;
  readonly wasLost: boolean;
}

/** Earliest deadline first; among equals the earliest arrival. Equal objectives come in order, so adding is O(1). */
export class Lane implements QueueView {
  readonly key: string;
  /** Class of its queries; lower ones go first. */
  readonly priority: number;
  /** The replica where all of them failed together: they are tried again together, elsewhere if there is another one. */
  readonly failedOn: Replica | undefined;
  /** That replica was lost: the next one gets nothing else meanwhile, so that whoever is to blame harms nobody else. */
  readonly goesAlone: boolean;
  #items: Pending[] = [];
  #head = 0;

  constructor(key: string, priority: number = DEFAULT_PRIORITY, failed?: Failed) {
    this.key = key;
    this.priority = priority;
    this.failedOn = failed?.on;
    this.goesAlone = failed?.wasLost === true;
  }

  get length(): number {
    return this.#items.length - this.#head;
  }

  deadlineAt(index: number): number {
    return this.at(index)?.query.deadlineAt ?? Infinity;
  }

  arrivedAt(index: number): number {
    return this.at(index)?.query.arrivedAt ?? Infinity;
  }

  at(index: number): Pending | undefined {
    return this.#items[this.#head + index];
  }

  add(pending: Pending): void {
    const { deadlineAt } = pending.query;
    let low = this.#head;
    let high = this.#items.length;
    const last = this.#items[high - 1];
    if (last === undefined || high === this.#head || last.query.deadlineAt <= deadlineAt) {
      this.#items.push(pending);
      return;
    }
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#items[middle]?.query.deadlineAt ?? Infinity) <= deadlineAt) low = middle + 1;
      else high = middle;
    }
    this.#items.splice(low, 0, pending);
  }

  /** Takes one out from behind others. */
  remove(index: number): Pending | undefined {
    return index === 0 ? this.shift() : this.#items.splice(this.#head + index, 1)[0];
  }

  /** Takes the head off. */
  shift(): Pending | undefined {
    if (this.length === 0) return undefined;
    const pending = this.#items[this.#head];
    this.#head++;
    if (this.#head >= COMPACT_AT && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    } else if (this.#head === this.#items.length) {
      this.#items.length = 0;
      this.#head = 0;
    }
    return pending;
  }
}
