// Every version that runs on this frontend.
import { ReplicaNotFoundError, WindjammerError } from "../errors.ts";
import type { Log } from "../log.ts";
import type { Metrics } from "../metrics.ts";
import type { LogOptions, ReplicaStats, Runtime, RunningReplica } from "../runtimes/runtime.ts";
import type { BundleFolder, LogLine, ReplicaExit, ReplicaStatus, Version } from "../types.ts";
import { ServedVersion } from "./served-version.ts";

export interface ServingParts {
  readonly runtime: Runtime;
  readonly metrics: Metrics;
  readonly log: Log;
  readonly maxQueueLength: number;
}

/** Other processes that send batches to the same replicas. */
export interface ServingFollowers {
  opened(served: ServedVersion): void;
  /** A replica became ready, went, or was given up. */
  changed(served: ServedVersion): void;
  replicaEnded(running: RunningReplica, exit: ReplicaExit): void;
  /** How many they are. */
  readonly count: number;
  /** Resolves when they have told what they counted, and which replicas answered them. */
  hearOut(): Promise<void>;
  /** Resolves when the others have let go of the version: at the latest after `graceMs`. */
  closing(served: ServedVersion, graceMs: number): Promise<void>;
}

export class Serving {
  readonly #parts: ServingParts;
  readonly #served = new Map<string, ServedVersion>();
  #followers: ServingFollowers | undefined;
  #lastId = 0;

  constructor(parts: ServingParts) {
    this.#parts = parts;
  }

  /** They hear of every version that is opened from now on. */
  follow(followers: ServingFollowers): void {
    this.#followers = followers;
  }

  /** Names of replicas that run already, of an earlier frontend: none of them is given again. */
  reserveIds(ids: readonly string[]): void {
    const numbers = ids.map((id) => Number(/-r(\d+)$/.exec(id)?.[1] ?? 0));
    this.#lastId = Math.max(this.#lastId, ...numbers);
  }

  /** A name for a replica, never used before: "digits-1-r3". */
  nextId({ model, version }: Pick<Version, "model" | "version">): string {
    return `${model}-${version}-r${++this.#lastId}`;
  }

  /** Opens a version with no replicas yet. */
  open(version: Version, bundle: BundleFolder, image: string): ServedVersion {
    const key = keyOf(version.model, version.version);
    if (this.#served.has(key))
      throw new WindjammerError(`model ${version.model} version ${version.version} runs already`);
    const { runtime, log, maxQueueLength } = this.#parts;
    const metrics = this.#parts.metrics.version(version.model, version.version);
    const nextId = (): string => this.nextId(version);
    const served = new ServedVersion({
      version,
      bundle,
      image,
      runtime,
      metrics,
      log,
      maxQueueLength,
      nextId,
      ...(this.#followers === undefined ? {} : { others: this.#followers }),
      onChange: () => this.#followers?.changed(served),
      onEnd: (running, exit) => this.#followers?.replicaEnded(running, exit),
    });
    this.#served.set(key, served);
    this.#followers?.opened(served);
    return served;
  }

  find(model: string, version: string): ServedVersion | undefined {
    return this.#served.get(keyOf(model, version));
  }

  all(): readonly ServedVersion[] {
    return [...this.#served.values()];
  }

  replicas(): readonly ReplicaStatus[] {
    return this.all().flatMap((served) => served.replicas());
  }

  /** @throws ReplicaNotFoundError */
  logs(replica: string, options: LogOptions): AsyncIterable<LogLine> {
    return this.#servedBy(replica).logs(replica, options);
  }

  /** @throws ReplicaNotFoundError, also for one that has ended */
  async stats(replica: string): Promise<ReplicaStats> {
    return this.#servedBy(replica).stats(replica);
  }

  #servedBy(replica: string): ServedVersion {
    const served = this.all().find((candidate) => candidate.hasReplica(replica));
    if (served === undefined)
      throw new ReplicaNotFoundError(`no replica ${replica}; see GET /api/v1/replicas for those there are`);
    return served;
  }

  /** Drains a version and forgets it; unknown ones are fine. */
  async close(model: string, version: string, graceMs: number): Promise<void> {
    const key = keyOf(model, version);
    const served = this.#served.get(key);
    if (served === undefined) return;
    const until = performance.now() + graceMs;
    await this.#followers?.closing(served, graceMs);
    await served.drain(Math.max(0, until - performance.now()));
    if (this.#served.get(key) === served) this.#served.delete(key);
  }

  /** Closes a version that is no more, and takes its series out of the metrics. */
  async forget(model: string, version: string, graceMs: number): Promise<void> {
    await this.close(model, version, graceMs);
    this.#parts.metrics.removeVersion(model, version);
  }

  async closeAll(graceMs: number): Promise<void> {
    await Promise.all(this.all().map(({ version }) => this.close(version.model, version.version, graceMs)));
  }
}

function keyOf(model: string, version: string): string {
  return `${model}/${version}`;
}
