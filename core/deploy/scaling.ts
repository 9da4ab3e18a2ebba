// Changes how many replicas of a version run.
import { DeploymentConflictError, InvalidOptionsError } from "../errors.ts";
import type { Serving } from "../query/serving.ts";
import type { ServedVersion } from "../query/served-version.ts";
import type { Registry } from "../registry/registry.ts";
import type { Version } from "../types.ts";
import { versionKey } from "../version-key.ts";
import { unlessAborted } from "../wait.ts";
import { connectsByItself } from "./container-kind.ts";
import type { ModelLocks, Work } from "./model-locks.ts";
import { replicasSchema } from "./options.ts";
import type { Reopening } from "./reopening.ts";

export interface ScalingParts {
  readonly registry: Registry;
  readonly serving: Serving;
  readonly reopening: Reopening;
  readonly locks: ModelLocks;
}

export class Scaling {
  readonly #parts: ScalingParts;
  /** Of each version the last call that still waits for its replicas. */
  readonly #waiting = new Map<string, AbortController>();

  constructor(parts: ScalingParts) {
    this.#parts = parts;
  }

  /** See `Deployments.scale`. */
  async scale(model: string, replicas: number, wanted?: string): Promise<void> {
    if (!replicasSchema.safeParse(replicas).success) {
      throw new InvalidOptionsError(`replicas: expected a whole number from 0 to 1000, got ${replicas}`, {
        details: { field: "replicas" },
      });
    }
    const { reopening, serving } = this.#parts;
    const found = this.#find(model, wanted);
    refuseOwnWill(found);
    await reopening.take(found);
    // Again, since another version may have become the current one.
    const version = this.#find(model, wanted);
    const served = serving.find(model, version.version);
    if (served !== undefined && !this.#isIdle(version, replicas)) {
      await this.#scaleServed(version, served, replicas);
      return;
    }
    await this.#parts.locks.hold(model, wishOf(version), () => this.#openOrClose(version, replicas));
  }

  /** Without the lock: the current version may be scaled while another one is being deployed. */
  async #scaleServed(version: Version, served: ServedVersion, replicas: number): Promise<void> {
    const { registry, locks } = this.#parts;
    const { model } = version;
    const { currentVersion } = registry.model(model);
    locks.refuseScaling(model, version.version, version.version === currentVersion);
    const later = this.#supersede(version, replicas);
    await registry.setDesiredReplicas(model, version.version, replicas);
    try {
      await unlessAborted(served.scale(replicas), later.signal);
    } finally {
      const key = versionKey(version);
      if (this.#waiting.get(key) === later) this.#waiting.delete(key);
    }
  }

  async #openOrClose(version: Version, replicas: number): Promise<void> {
    const { registry, serving, reopening } = this.#parts;
    const { model, settings } = version;
    this.#supersede(version, replicas);
    this.#waiting.delete(versionKey(version));
    try {
      const opened = replicas === 0 ? undefined : await reopening.open(version);
      await registry.setDesiredReplicas(model, version.version, replicas);
      if (opened !== undefined) await opened.scale(replicas);
      else if (this.#isIdle(version, 0)) await serving.close(model, version.version, settings.batchTimeoutMs);
    } finally {
      // As before, if it was to run and could not be opened.
      reopening.start(version);
    }
  }

  /** Ends an earlier call that still waits: its count is not the wish any more. */
  #supersede(version: Version, replicas: number): AbortController {
    const key = versionKey(version);
    this.#waiting
      .get(key)
      ?.abort(
        new DeploymentConflictError(
          `model ${version.model} version ${version.version} was scaled to ${replicas} meanwhile`,
          { details: { model: version.model, version: version.version, replicas } },
        ),
      );
    const later = new AbortController();
    this.#waiting.set(key, later);
    return later;
  }

  #find(model: string, version: string | undefined): Version {
    const { registry } = this.#parts;
    return registry.version(model, version ?? registry.model(model).currentVersion);
  }

  /** A version that is not the current one, without replicas, is closed; the current one keeps its queue. */
  #isIdle({ model, version }: Version, replicas: number): boolean {
    return replicas === 0 && this.#parts.registry.model(model).currentVersion !== version;
  }
}

/** @throws InvalidOptionsError for a version whose containers nobody here starts */
function refuseOwnWill({ model, version, manifest }: Version): void {
  if (!connectsByItself(manifest)) return;
  throw new InvalidOptionsError(
    `model ${model} version ${version} cannot be scaled: its containers are Clipper's and come by themselves; start or stop those`,
    { details: { field: "replicas", model, version } },
  );
}

function wishOf({ version, bundle }: Version): Omit<Work, "isSwitching"> {
  return { what: `version ${version} is being scaled`, version, bundle };
}
