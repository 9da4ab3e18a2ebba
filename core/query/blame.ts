// Who is to blame for batches that fail: the replica, which is left out for a while, or their queries.
import { DeadlineExceededError, type WindjammerError } from "../errors.ts";
import type { Log } from "../log.ts";
import type { VersionMetrics } from "../metric-handles.ts";
import type { Replicas } from "../replicas/pool.ts";
import type { Replica } from "../replicas/replica.ts";
import type { Version } from "../types.ts";
import type { Flight } from "./flight.ts";

/** A batch that was at `replica`; `failedOn` where its queries failed before. */
type Tried = Pick<Flight, "replica" | "failedOn" | "sentAt">;

export interface BlameParts {
  readonly version: Version;
  readonly pool: Replicas;
  readonly metrics: VersionMetrics;
  readonly log: Log;
}

/**
 * Tells by second tries: what another replica answers was the fault of the first, what fails there too that of the queries.
 * Where a query may be computed once only, whoever fails three batches in a row is left out, until nobody is left.
 */
export class Blame {
  readonly #parts: BlameParts;

  constructor(parts: BlameParts) {
    this.#parts = parts;
  }

  answered({ replica, failedOn }: Tried): void {
    if (replica.health.noteAnswer())
      this.#parts.log.info({ replica: replica.id }, "an ejected replica answers again");
    if (failedOn === undefined || failedOn === replica || !failedOn.health.isFailing) return;
    this.#eject(failedOn, `replica ${replica.id} answered what it failed`);
  }

  /** True when only a second try could tell whether the replica is failing. */
  failed({ replica, failedOn, sentAt }: Tried, error: WindjammerError): boolean {
    const { health } = replica;
    // It was given too little time, and says nothing of itself.
    if (error instanceof DeadlineExceededError) return false;
    if (failedOn !== undefined) {
      if (failedOn !== replica) failedOn.health.acquit(performance.now());
      return false;
    }
    health.noteFailure(sentAt, performance.now());
    const { pool, version } = this.#parts;
    if (!health.isFailing) return false;
    if (!pool.hasOther(replica)) {
      // Without second tries they were judged one by one, and now all of them fail.
      if (!version.settings.isRetryable) pool.reinstate();
      return false;
    }
    if (health.ejectedFor === undefined && version.settings.isRetryable) return true;
    this.#eject(replica, error.message);
    return health.ejectedFor !== undefined;
  }

  #eject(replica: Replica, why: string): void {
    const { metrics, log } = this.#parts;
    // Told once, and not of every batch that was on its way.
    const { health } = replica;
    if (health.isResting(performance.now()) && !health.isProbed) return;
    const pauseMs = health.eject(why, performance.now());
    metrics.replicaEjected();
    log.warn({ replica: replica.id, reason: why, pauseMs }, "ejecting a replica that fails every batch");
  }
}
