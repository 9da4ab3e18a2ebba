// Opens versions that should run again: after a restart, after a failed deployment, when they are scaled up.
import { ShuttingDownError, toWindjammerError } from "../errors.ts";
import type { Log } from "../log.ts";
import type { ServedVersion } from "../query/served-version.ts";
import type { Serving } from "../query/serving.ts";
import type { Registry } from "../registry/registry.ts";
import type { Runtime, RunningReplica } from "../runtimes/runtime.ts";
import type { Version } from "../types.ts";
import { versionKey } from "../version-key.ts";
import { pause, unlessAborted } from "../wait.ts";
import type { BundleStore } from "./bundle-store.ts";
import { prepareWithin } from "./prepare.ts";
import { stopReplicas } from "./recovery.ts";
import { DEFAULT_PREPARE_TIMEOUT_MS } from "./settings.ts";

export interface ReopeningParts {
  readonly registry: Registry;
  readonly bundles: BundleStore;
  readonly runtime: Runtime;
  readonly serving: Serving;
  readonly log: Log;
}

/** Pause before the next try: doubles with each one that failed. */
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 30_000;

/** Tries one version again and again. */
interface Trying {
  readonly stop: AbortController;
  readonly ended: Promise<void>;
}

export class Reopening {
  readonly #parts: ReopeningParts;
  readonly #signal: AbortSignal;
  readonly #trying = new Map<string, Trying>();
  readonly #opening = new Set<string>();
  readonly #lastErrors = new Map<string, string>();

  constructor(parts: ReopeningParts, signal: AbortSignal) {
    this.#parts = parts;
    this.#signal = signal;
  }

  /**
   * Opens a version in the background and scales it to what the registry wants, if it should run and does not. A
   * failed try is logged, and repeated after a growing pause for as long as the version should run.
   * @param found replicas of the version that run already: those that are fit become its own, the others are stopped
   */
  start(version: Version, found: readonly RunningReplica[] = []): void {
    const key = versionKey(version);
    if (this.#trying.has(key) || this.#signal.aborted) return;
    const stop = new AbortController();
    const waiting = [...found];
    const signal = AbortSignal.any([stop.signal, this.#signal]);
    const ended = this.#keepTrying(version, waiting, signal).finally(async () => {
      this.#trying.delete(key);
      this.#lastErrors.delete(key);
      await stopReplicas(waiting, this.#parts.log);
    });
    this.#trying.set(key, { stop, ended });
  }

  /** Ends the tries, so that the caller can open the version; resolves when the one that runs now has ended. */
  async take(version: Version): Promise<void> {
    const trying = this.#trying.get(versionKey(version));
    trying?.stop.abort();
    await trying?.ended;
  }

  /** Whether a version that does not run is being opened, and why the last try failed. */
  stateOf(version: Version): { readonly isOpening: boolean; readonly lastError: string | undefined } {
    const key = versionKey(version);
    return { isOpening: this.#opening.has(key), lastError: this.#lastErrors.get(key) };
  }

  async close(): Promise<void> {
    await Promise.all([...this.#trying.values()].map(({ ended }) => ended));
  }

  /** Opens a version that does not run, with no replicas yet. @throws what the runtime's preparation throws */
  async open(version: Version): Promise<ServedVersion> {
    const { bundles, runtime, serving, log } = this.#parts;
    const key = versionKey(version);
    const report = (message: string): void =>
      log.debug({ model: version.model, version: version.version }, message);
    this.#opening.add(key);
    try {
      const bundle = await bundles.get(version.bundle);
      const options = { report, signal: this.#signal, timeoutMs: DEFAULT_PREPARE_TIMEOUT_MS };
      const image = await prepareWithin(runtime, { version, bundle }, options);
      this.#signal.throwIfAborted();
      return serving.open(version, bundle, image);
    } finally {
      this.#opening.delete(key);
    }
  }

  async #keepTrying(version: Version, waiting: RunningReplica[], signal: AbortSignal): Promise<void> {
    let pauseMs = FIRST_PAUSE_MS;
    while (!signal.aborted && this.#replicasOf(version) > 0) {
      const { serving, log } = this.#parts;
      if (serving.find(version.model, version.version) !== undefined) return;
      try {
        await this.#reopen(version, waiting, signal);
        return;
      } catch (error) {
        if (error instanceof ShuttingDownError || signal.aborted) return;
        const { message } = toWindjammerError(error);
        this.#lastErrors.set(versionKey(version), message);
        const names = { model: version.model, version: version.version };
        log.error({ ...names, err: error, pauseMs }, "a version could not be reopened; it is tried again");
      }
      await pause(pauseMs, signal);
      pauseMs = Math.min(LONGEST_PAUSE_MS, pauseMs * 2);
    }
  }

  /**
   * @param waiting emptied of those that the open version takes over
   * @throws when it could not be opened; replicas that do not start are the open version's matter
   */
  async #reopen(version: Version, waiting: RunningReplica[], signal: AbortSignal): Promise<void> {
    const { serving, log } = this.#parts;
    const names = { model: version.model, version: version.version };
    const served = await this.open(version);
    // Retired or deleted while it was being prepared.
    const replicas = this.#replicasOf(version);
    if (replicas === 0) {
      await serving.close(version.model, version.version, 0);
      return;
    }
    // Before `scale`, which counts their places; one that is not fit is replaced there.
    for (const running of waiting.splice(0)) served.adopt(running).catch(() => undefined);
    try {
      await unlessAborted(served.scale(replicas), signal);
      log.info({ ...names, replicas }, "version reopened");
    } catch (error) {
      if (!signal.aborted)
        log.error({ ...names, err: error }, "replicas of a reopened version did not start");
    }
  }

  #replicasOf({ model, version }: Version): number {
    return this.#parts.registry.findVersion(model, version)?.desiredReplicas ?? 0;
  }
}
