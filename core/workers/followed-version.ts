// One version as a worker serves it: a queue of its own, and the replicas that all processes of the server share.
import type { WindjammerError } from "../errors.ts";
import type { Log } from "../log.ts";
import type { VersionMetrics } from "../metric-handles.ts";
import type { PolicyState } from "../query/batching/policy.ts";
import type { Query } from "../query/query.ts";
import { RecentErrors } from "../query/recent-errors.ts";
import type { Served } from "../query/router.ts";
import type { SharedReplicas } from "../query/served-version.ts";
import { VersionQueue } from "../query/version-queue.ts";
import type { LogLine, ReplicaExit, Version } from "../types.ts";
import { FollowedReplicas, type FollowedReplicasParts } from "./followed-replicas.ts";
import type { VersionReport } from "./messages.ts";

export interface FollowedVersionParts {
  readonly version: Version;
  readonly shared: SharedReplicas;
  readonly learned: PolicyState | undefined;
  readonly metrics: VersionMetrics;
  readonly log: Log;
  readonly maxQueueLength: number;
  readonly turn: FollowedReplicasParts["turn"];
  readonly senders: FollowedReplicasParts["senders"];
  readonly doubt: FollowedReplicasParts["doubt"];
}

export class FollowedVersion implements Served {
  readonly version: Version;
  readonly #replicas: FollowedReplicas;
  readonly #queue: VersionQueue;
  readonly #errors = new RecentErrors();

  constructor(parts: FollowedVersionParts) {
    const { version, shared, turn, senders, doubt } = parts;
    this.version = version;
    this.#replicas = new FollowedReplicas({
      version,
      turn,
      senders,
      doubt,
      onChange: () => this.#queue.replicasChanged(),
    });
    this.#queue = new VersionQueue({ ...parts, replicas: this.#replicas });
    this.update(shared);
  }

  get readyCount(): number {
    return this.#replicas.readyCount;
  }

  enqueue(query: Query): void {
    this.#queue.enqueue(query);
  }

  lastTrouble(): string | undefined {
    return this.#replicas.trouble;
  }

  noteError(error: WindjammerError): void {
    this.#errors.note(error);
  }

  update(shared: SharedReplicas): void {
    this.#replicas.update(shared);
  }

  looked(replica: string): void {
    this.#replicas.looked(replica);
  }

  ended(replica: string, exit: ReplicaExit, tail: readonly LogLine[]): void {
    this.#replicas.ended(replica, exit, tail);
  }

  report(): VersionReport {
    const { model, version } = this.version;
    const [answered, errors] = [this.#replicas.takeAnswered(), this.#errors.take()];
    return { model, version, state: this.#queue.state(), answered, errors };
  }

  /** Takes nothing more, lets what is here finish for `graceMs`, then leaves the replicas alone. */
  async drain(graceMs: number): Promise<void> {
    await this.#queue.drain(graceMs);
    this.#replicas.close();
  }
}
