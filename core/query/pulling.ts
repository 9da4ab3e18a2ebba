// Which replica pulls next from a queue, and how much of what waits.
import type { Replicas } from "../replicas/pool.ts";
import type { PaceOf } from "../replicas/ready-replicas.ts";
import type { Replica } from "../replicas/replica.ts";
import type { Version } from "../types.ts";
import type { BatchingPolicy, Puller } from "./batching/policy.ts";
import type { Lane } from "./lane.ts";

export interface PullingParts {
  readonly version: Version;
  readonly pool: Replicas;
  readonly policy: BatchingPolicy;
}

export class Pulling {
  readonly #parts: PullingParts;
  readonly #paceOf: PaceOf;

  constructor(parts: PullingParts) {
    const { policy } = parts;
    this.#parts = parts;
    this.#paceOf = (replica) => policy.pace?.(this.puller(replica)) ?? 1;
  }

  /** A free replica as the policy sees it. */
  puller(replica: Replica): Puller {
    return { replica, crew: this.#parts.pool.crew };
  }

  /** The one that gets the next batch; not those passed over. Where a query may be computed once only, an ejected replica is tried with one that a caller waits for. */
  next(passedOver?: ReadonlySet<Replica>): Replica | undefined {
    const { pool, version } = this.#parts;
    const ejected = version.settings.isRetryable ? undefined : pool.takeEjected(passedOver);
    return ejected ?? pool.take(this.#paceOf, passedOver);
  }

  /** An ejected replica that is to be tried with a query that another one has answered: no caller waits for it. */
  toTry(): Replica | undefined {
    const { pool, version } = this.#parts;
    return version.settings.isRetryable ? pool.takeEjected() : undefined;
  }

  /** Most of a lane that a replica may take: one query to see whether it still fails, its part where others are idle. */
  shareOf(replica: Replica, lane: Lane): number {
    if (replica.health.ejectedFor !== undefined) return 1;
    const { policy, pool } = this.#parts;
    if (!policy.sharesAmongIdle || lane.length === 1) return lane.length;
    const others = pool.idleCapacity(this.#paceOf);
    if (others === 0) return lane.length;
    return Math.max(1, Math.ceil(lane.length / (1 + this.#paceOf(replica) * others)));
  }
}
