// The queue of a version with its batching policy, from the first query to the last.
import type { Log } from "../log.ts";
import type { VersionMetrics } from "../metric-handles.ts";
import type { Replicas } from "../replicas/pool.ts";
import type { Version } from "../types.ts";
import { within } from "../wait.ts";
import { batchingPolicy } from "./batching/index.ts";
import type { BatchingPolicy, PolicyState } from "./batching/policy.ts";
import { BatchCodec } from "./batch-body.ts";
import type { Query } from "./query.ts";
import { BatchQueue } from "./queue.ts";

export interface VersionQueueParts {
  readonly version: Version;
  /** Those that take its batches. */
  readonly replicas: Replicas;
  readonly metrics: VersionMetrics;
  readonly log: Log;
  readonly maxQueueLength: number;
  /** What another process has learned of the version. */
  readonly learned?: PolicyState | undefined;
}

/** What a queue holds, and what its policy has learned. */
export interface QueueState {
  readonly queueLength: number;
  /** Batches that are on their way to replicas. */
  readonly inFlight: number;
  readonly policy: PolicyState;
  /** Replicas that get no batches from it since they fail them, and why. */
  readonly ejected: ReadonlyMap<string, string>;
}

export class VersionQueue {
  readonly #replicas: Replicas;
  readonly #policy: BatchingPolicy;
  readonly #queue: BatchQueue;

  constructor({ version, replicas, metrics, log, maxQueueLength, learned }: VersionQueueParts) {
    const { contract } = version.manifest;
    this.#replicas = replicas;
    const most = contract.isBatched ? contract.maxBatchSize : 1;
    this.#policy = batchingPolicy(version.settings.batching, most, learned);
    this.#queue = new BatchQueue({
      version,
      pool: replicas,
      policy: this.#policy,
      codec: new BatchCodec(version.manifest, version.model, version.version),
      metrics,
      log,
      maxLength: maxQueueLength,
    });
  }

  get length(): number {
    return this.#queue.length;
  }

  /** Settles the query exactly once: with its result, at its deadline, or with what went wrong. */
  enqueue(query: Query): void {
    this.#queue.enqueue(query);
  }

  /** A replica became ready, or went. */
  replicasChanged(): void {
    this.#queue.replicasChanged();
  }

  state(): QueueState {
    const { ejected } = this.#replicas;
    const { length: queueLength, inFlight } = this.#queue;
    return { queueLength, inFlight, policy: this.#policy.describe(), ejected };
  }

  /** Takes nothing more, lets what is here finish for `graceMs`, then gives it up. Resolves with the ms that are left. */
  async drain(graceMs: number): Promise<number> {
    this.#queue.stopTaking();
    const until = performance.now() + graceMs;
    await within(this.#queue.whenIdle(), graceMs);
    this.#queue.close();
    return Math.max(0, until - performance.now());
  }
}
