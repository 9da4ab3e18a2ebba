// Opens versions that should run again: after a restart, after a failed deployment, when they are scaled up.
import { ShuttingDownError } from "../errors.ts";
import type { Log } from "../log.ts";
import type { ServedVersion } from "../query/served-version.ts";
import type { Serving } from "../query/serving.ts";
import type { Registry } from "../registry/registry.ts";
import type { Runtime, RunningReplica } from "../runtimes/runtime.ts";
import type { Version } from "../types.ts";
import { unlessAborted } from "./abort.ts";
import type { BundleStore } from "./bundle-store.ts";

export interface ReopeningParts {
  readonly registry: Registry;
  readonly bundles: BundleStore;
  readonly runtime: Runtime;
  readonly serving: Serving;
  readonly log: Log;
}

export class Reopening {
  readonly #parts: ReopeningParts;
  readonly #signal: AbortSignal;
  readonly #running = new Map<string, Promise<void>>();

  constructor(parts: ReopeningParts, signal: AbortSignal) {
    this.#parts = parts;
    this.#signal = signal;
  }

  /**
   * Opens a version in the background, with the replicas of it that run already, and scales it to what the registry
   * wants. What goes wrong is logged.
   */
  start(version: Version, found: readonly RunningReplica[] = []): void {
    const key = keyOf(version);
    if (this.#running.has(key) || this.#signal.aborted) return;
    const run = this.#reopen(version, found).finally(() => this.#running.delete(key));
    this.#running.set(key, run);
  }

  /** Resolves when nothing is being done for the version in the background. */
  async settled(version: Version): Promise<void> {
    await this.#running.get(keyOf(version));
  }

  async close(): Promise<void> {
    await Promise.all(this.#running.values());
  }

  /** Opens a version that does not run, with no replicas yet. @throws what the runtime's preparation throws */
  async open(version: Version): Promise<ServedVersion> {
    const { bundles, runtime, serving, log } = this.#parts;
    const bundle = await bundles.get(version.bundle);
    const names = { model: version.model, version: version.version };
    const report = (message: string): void => log.debug(names, message);
    const image = await runtime.prepare(bundle, { ...names, report, signal: this.#signal });
    this.#signal.throwIfAborted();
    return serving.open(version, bundle, image);
  }

  async #reopen(version: Version, found: readonly RunningReplica[]): Promise<void> {
    const { registry, serving, log } = this.#parts;
    const names = { model: version.model, version: version.version };
    try {
      if (serving.find(version.model, version.version) !== undefined) return;
      const served = await this.open(version);
      // Retired or deleted while it was being prepared.
      const wanted = registry.findVersion(version.model, version.version)?.desiredReplicas ?? 0;
      // Those that are not fit any more are replaced: that is up to their places, which `scale` counts.
      const adopted = Promise.allSettled(found.map((running) => served.adopt(running)));
      if (wanted === 0) await serving.close(version.model, version.version, 0);
      else await unlessAborted(served.scale(wanted), this.#signal);
      await unlessAborted(adopted, this.#signal);
      log.info({ ...names, replicas: wanted }, "version reopened");
    } catch (error) {
      if (error instanceof ShuttingDownError || this.#signal.aborted) return;
      // Nobody would send them anything.
      if (serving.find(version.model, version.version) === undefined)
        for (const running of found) void running.stop(0);
      log.error(
        { ...names, err: error },
        "a version that should run could not be reopened; scale it to try again",
      );
    }
  }
}

function keyOf({ model, version }: Version): string {
  return `${model}/${version}`;
}
