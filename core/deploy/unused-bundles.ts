// Removes bundles that nothing refers to: of failed deployments, deleted versions, and uploads that were never deployed.
import type { Log } from "../log.ts";
import type { Registry } from "../registry/registry.ts";
import type { Runtime } from "../runtimes/runtime.ts";
import type { BundleStore } from "./bundle-store.ts";
import type { ModelLocks } from "./model-locks.ts";

const SWEEP_EVERY_MS = 300_000;
/** An upload and the deployment that follows it, or is tried again, are well within this. */
export const KEEP_UNUSED_MS = 900_000;

export interface UnusedBundlesParts {
  readonly registry: Registry;
  readonly bundles: BundleStore;
  readonly runtime: Runtime;
  readonly locks: ModelLocks;
  readonly log: Log;
}

export class UnusedBundles {
  readonly #parts: UnusedBundlesParts;
  readonly #keepMs: number;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> = Promise.resolve();

  constructor(parts: UnusedBundlesParts, keepMs: number) {
    this.#parts = parts;
    this.#keepMs = keepMs;
  }

  /** Sweeps now and then. */
  start(): void {
    this.#timer ??= setInterval(() => void this.sweep(), SWEEP_EVERY_MS).unref();
  }

  /** Removes those that were uploaded more than `keepMs` ago. Never rejects: the next one tries again. */
  sweep(keepMs: number = this.#keepMs): Promise<void> {
    this.#running = this.#running.then(() => this.#sweep(keepMs));
    return this.#running;
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#running;
  }

  async #sweep(keepMs: number): Promise<void> {
    const { bundles, log } = this.#parts;
    try {
      for (const { hash, uploadedAt } of await bundles.list()) {
        if (Date.now() - uploadedAt < keepMs || this.#isNeeded(hash)) continue;
        await this.#remove(hash);
      }
    } catch (error) {
      log.warn({ err: error }, "bundles that nothing refers to could not be removed");
    }
  }

  async #remove(hash: string): Promise<void> {
    const { bundles, runtime, log } = this.#parts;
    log.info({ bundle: hash }, "removing a bundle that nothing refers to");
    try {
      await runtime.forget?.(hash);
      // A deployment may have begun meanwhile; it prepares the bundle anew.
      if (!this.#isNeeded(hash)) await bundles.remove(hash);
    } catch (error) {
      log.warn({ err: error, bundle: hash }, "a bundle could not be removed");
    }
  }

  #isNeeded(hash: string): boolean {
    const { registry, locks } = this.#parts;
    return registry.versions().some(({ bundle }) => bundle === hash) || locks.bundles().includes(hash);
  }
}
