// The replicas of a version that are ready: which of those with room gets the next batch.
import type { Replica } from "./replica.ts";

export class ReadyReplicas {
  #all: readonly Replica[] = [];
  #placeCount = 0;

  get count(): number {
    return this.#all.length;
  }

  /** Batches that they may hold together. */
  get placeCount(): number {
    return this.#placeCount;
  }

  /** Those without a batch that `take` would give. */
  get idleCount(): number {
    const now = performance.now();
    let count = 0;
    for (const replica of this.#all) if (replica.taken === 0 && this.#mayTake(replica, now)) count++;
    return count;
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
    this.#placeCount = all.reduce((sum, { maxInFlight }) => sum + maxInFlight, 0);
  }

  /** An ejected one that may be tried again, else of those with the fewest batches the first. */
  take(passedOver?: ReadonlySet<Replica>): Replica | undefined {
    const now = performance.now();
    let best: Replica | undefined;
    for (const replica of this.#all) {
      if (!this.#mayTake(replica, now) || passedOver?.has(replica) === true) continue;
      if (best === undefined || replica.taken < best.taken) best = replica;
      if (replica.health.ejectedFor === undefined) continue;
      best = replica;
      break;
    }
    best?.take();
    return best;
  }

  /** True when another one takes batches. */
  hasOther(replica: Replica): boolean {
    return this.#all.some((other) => other !== replica && other.health.ejectedFor === undefined);
  }

  /** Leaves none out any more. */
  reinstate(): void {
    for (const { health } of this.#all) health.reinstate();
  }

  /** One that is ejected rests while another one takes batches, and is then tried with one at a time. */
  #mayTake(replica: Replica, now: number): boolean {
    if (!replica.isFree) return false;
    const { health, taken } = replica;
    if (health.ejectedFor === undefined) return true;
    return taken === 0 && !(health.isResting(now) && this.hasOther(replica));
  }
}
