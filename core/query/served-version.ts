// One version that runs: its queue and its replicas, joined.
import { ShuttingDownError, type WindjammerError } from "../errors.ts";
import { ReplicaPool } from "../replicas/pool.ts";
import type { ReplicaParts } from "../replicas/slot.ts";
import type { ReplicaTransport } from "../replicas/transport.ts";
import type { LogOptions, ReplicaStats, RunningReplica } from "../runtimes/runtime.ts";
import type { BundleFolder, LogLine, ReplicaStatus, Version } from "../types.ts";
import { batchingPolicy } from "./batching/index.ts";
import type { BatchingPolicy, PolicyState } from "./batching/policy.ts";
import { BatchCodec } from "./batch-body.ts";
import type { Query } from "./query.ts";
import { BatchQueue } from "./queue.ts";
import { type RecentError, RecentErrors } from "./recent-errors.ts";

export interface ServedVersionParts extends ReplicaParts {
  readonly maxQueueLength: number;
}

export class ServedVersion {
  readonly version: Version;
  readonly bundle: BundleFolder;
  readonly image: string;
  readonly #pool: ReplicaPool;
  readonly #queue: BatchQueue;
  readonly #policy: BatchingPolicy;
  readonly #errors = new RecentErrors();
  #isDraining = false;

  constructor(parts: ServedVersionParts) {
    const { version, metrics } = parts;
    const { contract } = version.manifest;
    this.version = version;
    this.bundle = parts.bundle;
    this.image = parts.image;
    this.#policy = batchingPolicy(version.settings.batching, contract.isBatched ? contract.maxBatchSize : 1);
    this.#pool = new ReplicaPool(parts, () => this.#queue.replicasChanged());
    this.#queue = new BatchQueue({
      version,
      pool: this.#pool,
      policy: this.#policy,
      codec: new BatchCodec(version.manifest, version.model, version.version),
      metrics,
      maxLength: parts.maxQueueLength,
    });
  }

  get readyCount(): number {
    return this.#pool.readyCount;
  }

  get startingCount(): number {
    return this.#pool.startingCount;
  }

  get queueLength(): number {
    return this.#queue.length;
  }

  /** Settles the query exactly once: with its result, at its deadline, or with what went wrong. */
  enqueue(query: Query): void {
    if (this.#isDraining) {
      const { model, version } = this.version;
      query.settle({
        kind: "error",
        error: new ShuttingDownError(`model ${model} version ${version} is being stopped; try again`),
      });
      return;
    }
    this.#queue.enqueue(query);
  }

  /** Why a replica went lately, while none has answered since: "replica digits-1-r1 exited with code 1: <last log line>". */
  lastTrouble(): string | undefined {
    return this.#pool.trouble;
  }

  /** A query of it ended in this error. */
  noteError(error: WindjammerError): void {
    this.#errors.note(error);
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
    return this.#pool.statuses();
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

  describe(): { readonly queueLength: number; readonly policy: PolicyState } {
    return { queueLength: this.queueLength, policy: this.#policy.describe() };
  }

  /** Takes nothing more, lets what is here finish for `graceMs`, then stops every replica. */
  async drain(graceMs: number): Promise<void> {
    this.#isDraining = true;
    const until = performance.now() + graceMs;
    await within(this.#queue.whenIdle(), graceMs);
    this.#queue.close();
    await this.#pool.close(Math.max(0, until - performance.now()));
  }
}

async function within(work: Promise<void>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const bound = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([work, bound]);
  clearTimeout(timer);
}
