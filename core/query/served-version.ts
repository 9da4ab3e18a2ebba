// One version that runs: its queue and its replicas, joined.
import type { WindjammerError } from "../errors.ts";
import { inFlightTogether } from "../replicas/in-flight.ts";
import { type ReachableReplica, ReplicaPool, type Suspicion } from "../replicas/pool.ts";
import type { ReplicaParts } from "../replicas/slot.ts";
import type { ReplicaTransport } from "../replicas/transport.ts";
import type { LogOptions, ReplicaStats, RunningReplica } from "../runtimes/runtime.ts";
import type { BundleFolder, LogLine, ReplicaStatus, Version } from "../types.ts";
import type { Query } from "./query.ts";
import { type RecentError, RecentErrors } from "./recent-errors.ts";
import { type QueueState, VersionQueue } from "./version-queue.ts";

export interface ServedVersionParts extends ReplicaParts {
  readonly maxQueueLength: number;
  /** Called when a replica became ready, went, or was given up. */
  readonly onChange?: () => void;
}

/** What others need to send batches to a version's replicas. */
export interface SharedReplicas {
  readonly replicas: readonly ReachableReplica[];
  /** Replicas on their way. */
  readonly startingCount: number;
  readonly trouble: string | undefined;
}

export class ServedVersion {
  readonly version: Version;
  readonly bundle: BundleFolder;
  readonly image: string;
  readonly #pool: ReplicaPool;
  readonly #queue: VersionQueue;
  readonly #errors = new RecentErrors();
  #elsewhere: QueueState | undefined;

  constructor(parts: ServedVersionParts) {
    const { version, metrics, log, maxQueueLength } = parts;
    this.version = version;
    this.bundle = parts.bundle;
    this.image = parts.image;
    this.#pool = new ReplicaPool(parts, () => {
      this.#queue.replicasChanged();
      parts.onChange?.();
    });
    this.#queue = new VersionQueue({ version, replicas: this.#pool, metrics, log, maxQueueLength });
  }

  get readyCount(): number {
    return this.#pool.readyCount;
  }

  get startingCount(): number {
    return this.#pool.startingCount;
  }

  get queueLength(): number {
    return this.#queue.length + (this.#elsewhere?.queueLength ?? 0);
  }

  /** Most batches that one replica holds, of this process and all others. */
  get maxInFlight(): number {
    return inFlightTogether(this.version, this.#pool.senders);
  }

  /** Settles the query exactly once: with its result, at its deadline, or with what went wrong. */
  enqueue(query: Query): void {
    this.#queue.enqueue(query);
  }

  /** For others who send batches to the same replicas. */
  shared(): SharedReplicas {
    return {
      replicas: this.#pool.reachable(),
      startingCount: this.#pool.startingCount,
      trouble: this.#pool.trouble,
    };
  }

  /** Another one's call to a replica failed. Resolves when the replica was found ready, or is gone. */
  doubt(replica: string, why: Suspicion): Promise<void> {
    return this.#pool.doubt(replica, why);
  }

  /** What others have in their queues of this version; undefined: nobody else has one. */
  noteElsewhere(state: QueueState | undefined): void {
    this.#elsewhere = state;
  }

  /** These replicas have answered others. */
  noteAnswered(replicas: readonly string[]): void {
    this.#pool.noteAnswers(replicas);
  }

  /** Why a replica went lately, while none has answered since: "replica digits-1-r1 exited with code 1: <last log line>". */
  lastTrouble(): string | undefined {
    return this.#pool.trouble;
  }

  /** A query of it ended in this error. */
  noteError(error: WindjammerError): void {
    this.#errors.note(error);
  }

  /** Queries of it ended in these errors, elsewhere. */
  addErrors(errors: readonly RecentError[]): void {
    this.#errors.add(errors);
  }

  /** Errors of its queries, newest first. */
  recentErrors(): readonly RecentError[] {
    return this.#errors.list();
  }

  /** Starts one more replica; resolves when it is ready. @throws ReplicaStartError, ContractMismatchError */
  startReplica(signal: AbortSignal): Promise<ReplicaStatus> {
    return this.#pool.startOne(signal);
  }

  /** Takes over a container that an earlier frontend started. @throws ReplicaStartError, ContractMismatchError; it is being replaced then */
  adopt(running: RunningReplica): Promise<void> {
    return this.#pool.adopt(running);
  }

  /** Takes in a replica that came by itself, until it ends; nothing replaces it. */
  join(running: RunningReplica, transport: ReplicaTransport): void {
    this.#pool.join(running, transport);
  }

  /** Resolves when `count` replicas are ready. @throws ReplicaStartError; it goes on trying in the background */
  scale(count: number): Promise<void> {
    return this.#pool.scale(count);
  }

  replicas(): readonly ReplicaStatus[] {
    const { ejected } = this.describe();
    return this.#pool.statuses().map((status) => {
      const why = ejected.get(status.id);
      return why === undefined ? status : Object.assign({ ejectedFor: why }, status);
    });
  }

  hasReplica(id: string): boolean {
    return this.#pool.hasReplica(id);
  }

  /** @throws ReplicaNotFoundError */
  logs(replica: string, options: LogOptions): AsyncIterable<LogLine> {
    return this.#pool.logs(replica, options);
  }

  /** @throws ReplicaNotFoundError, also for one that has ended */
  stats(replica: string): Promise<ReplicaStats> {
    return this.#pool.stats(replica);
  }

  /** Its queues together; what was learned is that of those who have queries. */
  describe(): QueueState {
    const own = this.#queue.state();
    const { policy } = this.#elsewhere ?? own;
    const ejected = new Map([...(this.#elsewhere?.ejected ?? []), ...own.ejected]);
    const inFlight = own.inFlight + (this.#elsewhere?.inFlight ?? 0);
    return { queueLength: this.queueLength, inFlight, policy, ejected };
  }

  /** Takes nothing more, lets what is here finish for `graceMs`, then stops every replica. */
  async drain(graceMs: number): Promise<void> {
    await this.#pool.close(await this.#queue.drain(graceMs));
  }
}
