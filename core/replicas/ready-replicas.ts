// The replicas of a version that are ready: which of those with room gets the next batch.
import type { Replica } from "./replica.ts";

/** How many times as long as the fastest of its version a replica takes; 1 for most. */
export type PaceOf = (replica: Replica) => number;

export class ReadyReplicas {
  #all: readonly Replica[] = [];
  /** Each as many times as it holds batches. */
  #places: readonly Replica[] = [];
  #crew: readonly Replica[] = [];
  /** Some are not ejected: the others get nothing but tries. */
  #hasTakers = false;

  get count(): number {
    return this.#all.length;
  }

  /** Those that get batches, as many times as they hold some: all but the ejected ones. The same list for as long as they are the same. */
  get crew(): readonly Replica[] {
    return this.#crew;
  }

  /** How many without a batch `take` would still give; a slow one counts as a part of one. */
  idleCapacity(paceOf: PaceOf): number {
    let capacity = 0;
    for (const replica of this.#all)
      if (replica.taken === 0 && this.#mayTake(replica)) capacity += 1 / paceOf(replica);
    return capacity;
  }

  /** Those that are left out, and why. */
  get ejected(): ReadonlyMap<string, string> {
    const why = new Map<string, string>();
    for (const { id, health } of this.#all)
      if (health.ejectedFor !== undefined) why.set(id, health.ejectedFor);
    return why;
  }

  /** @param all those that are ready now, in order of preference */
  update(all: readonly Replica[]): void {
    this.#all = all;
    this.#places = all.flatMap((replica) => Array.from({ length: replica.maxInFlight }, () => replica));
    for (const { health } of all) health.onChange = () => this.#chooseCrew();
    this.#chooseCrew();
  }

  /** An ejected one that may be tried again: with one batch at a time. */
  takeEjected(passedOver?: ReadonlySet<Replica>): Replica | undefined {
    const now = performance.now();
    const due = this.#all.find(
      (replica) =>
        replica.health.ejectedFor !== undefined &&
        !replica.health.isResting(now) &&
        replica.isFree &&
        replica.taken === 0 &&
        passedOver?.has(replica) !== true,
    );
    due?.take();
    return due;
  }

  /** The fastest with room, the first of equals: one with batches counts as slower by as many. */
  take(paceOf: PaceOf, passedOver?: ReadonlySet<Replica>): Replica | undefined {
    let best: Replica | undefined;
    let least = 0;
    for (const replica of this.#all) {
      if (!this.#mayTake(replica) || passedOver?.has(replica) === true) continue;
      const pace = paceOf(replica) * (1 + replica.taken);
      if (best !== undefined && pace >= least) continue;
      best = replica;
      least = pace;
    }
    best?.take();
    return best;
  }

  /** True when another one takes batches. */
  hasOther(replica: Replica): boolean {
    return this.#all.some((other) => other !== replica && takesBatches(other));
  }

  /** Leaves none out any more. */
  reinstate(): void {
    for (const { health } of this.#all) health.reinstate();
  }

  /** One that is ejected is left out while another one takes batches; without others it gets one at a time. */
  #mayTake(replica: Replica): boolean {
    if (!replica.isFree) return false;
    return takesBatches(replica) || (replica.taken === 0 && !this.#hasTakers);
  }

  /** Only where one came, went, was ejected or got batches again: it is asked for many times a batch. */
  #chooseCrew(): void {
    const takers = this.#all.filter(takesBatches);
    this.#hasTakers = takers.length > 0;
    const isWhole = takers.length === this.#all.length || !this.#hasTakers;
    this.#crew = isWhole ? this.#places : this.#places.filter(takesBatches);
  }
}

function takesBatches({ health }: Replica): boolean {
  return health.ejectedFor === undefined;
}
