// The replicas of a version that are ready: which of the free ones gets the next batch.
import type { Replica } from "./replica.ts";

export class ReadyReplicas {
  #all: readonly Replica[] = [];
  readonly #free = new Set<Replica>();

  get count(): number {
    return this.#all.length;
  }

  /** Those that `take` would still give. */
  get freeCount(): number {
    const now = performance.now();
    let count = 0;
    for (const replica of this.#free) if (replica.isFree && !this.#isLeftOut(replica, now)) count++;
    return count;
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

  /** An ejected one that may be tried again, else the first that is free. */
  take(): Replica | undefined {
    const now = performance.now();
    let first: Replica | undefined;
    for (const replica of this.#all) {
      if (!replica.isFree || !this.#free.has(replica) || this.#isLeftOut(replica, now)) continue;
      first ??= replica;
      if (replica.health.ejectedFor === undefined) continue;
      first = replica;
      break;
    }
    if (first !== undefined) this.#free.delete(first);
    return first;
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

  /** One that is ejected rests only while another one takes batches. */
  #isLeftOut(replica: Replica, now: number): boolean {
    return replica.health.isResting(now) && this.hasOther(replica);
  }
}
