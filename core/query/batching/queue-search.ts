// Binary searches over waiting queries, which are in deadline order: long queues stay cheap.
import type { QueueView } from "./policy.ts";

/** Smallest index in [from, length] for which `test` holds, given that it then holds for all behind; length if none. */
export function firstIndex(from: number, length: number, test: (index: number) => boolean): number {
  let low = from;
  let high = length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (test(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Index of the first query whose deadline is not before `timeMs`. */
export function firstDueFrom(queue: QueueView, timeMs: number): number {
  return firstIndex(0, queue.length, (index) => queue.deadlineAt(index) >= timeMs);
}

/** Queries that an earliest-deadline-first queue serves before a new one of this deadline. */
export function countAhead(queue: QueueView, deadlineAt: number): number {
  return firstIndex(0, queue.length, (index) => queue.deadlineAt(index) > deadlineAt);
}
