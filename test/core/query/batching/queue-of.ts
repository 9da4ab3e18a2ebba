// A queue to show to a policy, made from plain numbers.
import type { Crew, Puller, QueueView } from "../../../../core/query/batching/policy.ts";

/** Waiting queries by deadline (sorted here) and arrival; counts how often the policy looks at one. */
export class ShownQueue implements QueueView {
  readonly #queries: readonly { readonly deadlineAt: number; readonly arrivedAt: number }[];
  looks = 0;

  constructor(queries: readonly { readonly deadlineAt: number; readonly arrivedAt: number }[]) {
    this.#queries = queries.toSorted((a, b) => (a.deadlineAt < b.deadlineAt ? -1 : 1));
  }

  get length(): number {
    return this.#queries.length;
  }

  deadlineAt(index: number): number {
    return this.#at(index).deadlineAt;
  }

  arrivedAt(index: number): number {
    return this.#at(index).arrivedAt;
  }

  #at(index: number): { readonly deadlineAt: number; readonly arrivedAt: number } {
    this.looks += 1;
    const query = this.#queries[index];
    if (query === undefined) throw new RangeError(`the policy looked at query ${index} of ${this.length}`);
    return query;
  }
}

/** `count` queries that arrived at `arrivedAt`, with `objectiveMs` each. */
export function alike(count: number, arrivedAt: number, objectiveMs: number): ShownQueue {
  return new ShownQueue(
    Array.from({ length: count }, () => ({ arrivedAt, deadlineAt: arrivedAt + objectiveMs })),
  );
}

/** The first of all crews. */
export const replica: object = { id: "r1" };
const others: Crew = [2, 3, 4].map((number) => ({ id: `r${number}` }));

/** Up to four replicas, the same ones every time. */
export function crewOf(count: number): Crew {
  return [replica, ...others].slice(0, count);
}

/** The first of so many. */
export function pullerOf(count: number): Puller {
  return { replica, crew: crewOf(count) };
}
