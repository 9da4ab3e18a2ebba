// The replicas of a version that are ready: which of the free ones gets the next batch.
import type { Replica } from "./replica.ts";

/** How many times as long as the fastest of its version a replica takes; 1 for most. */
export type PaceOf = (replica: Replica) => number;

export class ReadyReplicas {
  #all: readonly Replica[] = [];
  readonly #free = new Set<Replica>();
  #crew: readonly Replica[] = [];

  get count(): number {
    return this.#all.length;
  }

  /** Those that get batches: all but the ejected ones. The same list for as long as they are the same. */
  get crew(): readonly Replica[] {
    const all = this.#all;
    if (all.every(takesBatches) || !all.some(takesBatches)) return all;
    const crew = all.filter(takesBatches);
    const isSame = crew.length === this.#crew.length && crew.every((one, at) => one === this.#crew[at]);
    if (!isSame) this.#crew = crew;
    return this.#crew;
  }

  /** How many `take` would still give; a slow one counts as a part of one. */
  freeCapacity(paceOf: PaceOf): number {
    let capacity = 0;
    for (const replica of this.#free)
      if (replica.isFree && !this.#isLeftOut(replica)) capacity += 1 / paceOf(replica);
    return capacity;
  }

  /** Those that are left out, and why. */
  get ejected(): ReadonlyMap<string, string> {
    const why = new Map<string, string>();
    for (const { id, health } of this.#all)
      if (health.ejectedFor !== undefined) why.set(id, health.ejectedFor);
    return why;
  }

  /** @param all those that are ready now, in order of preference; new ones are free */
  update(all: readonly Replica[]): void {
    for (const replica of all) if (!this.#all.includes(replica)) this.#free.add(replica);
    for (const replica of this.#all) if (!all.includes(replica)) this.#free.delete(replica);
    this.#all = all;
  }

  /** An ejected one that is free, and may be tried again. */
  takeEjected(): Replica | undefined {
    const now = performance.now();
    const due = this.#all.find(
      (replica) =>
        replica.health.ejectedFor !== undefined &&
        !replica.health.isResting(now) &&
        replica.isFree &&
        this.#free.has(replica),
    );
    if (due !== undefined) this.#free.delete(due);
    return due;
  }

  /** The fastest that is free, the first of equals. */
  take(paceOf: PaceOf): Replica | undefined {
    let best: Replica | undefined;
    let least = 0;
    for (const replica of this.#all) {
      if (!replica.isFree || !this.#free.has(replica) || this.#isLeftOut(replica)) continue;
      const pace = paceOf(replica);
      if (best !== undefined && pace >= least) continue;
      best = replica;
      least = pace;
    }
    if (best !== undefined) this.#free.delete(best);
    return best;
  }

  release(replica: Replica): void {
    if (replica.isFree) this.#free.add(replica);
  }

  /** True when another one takes batches. */
  hasOther(replica: Replica): boolean {
    return this.#all.some((other) => other !== replica && other.health.ejectedFor === undefined);
  }

  /** Leaves none out any more. */
  reinstate(): void {
    for (const { health } of this.#all) health.reinstate();
  }

  /** One that is ejected is so only while another one takes batches. */
  #isLeftOut(replica: Replica): boolean {
    return !takesBatches(replica) && this.hasOther(replica);
  }
}

function takesBatches({ health }: Replica): boolean {
  return health.ejectedFor === undefined;
}
