// Who changes which model: one at a time, while its current version may still be scaled under a deployment of another.
import { DeploymentConflictError } from "../errors.ts";

/** What a model is busy with. */
export interface Work {
  /** "version 2 is being deployed". */
  readonly what: string;
  /** The version that it concerns; undefined: all of them. */
  readonly version: string | undefined;
  /** Kept while the work goes on, though no version may refer to it yet. */
  readonly bundle: string | undefined;
  /** From here on the work changes the current version as well. */
  isSwitching: boolean;
}

export class ModelLocks {
  readonly #works = new Map<string, Work>();

  /** Takes the model for `work`, until `release`. @throws DeploymentConflictError */
  take(model: string, wish: Omit<Work, "isSwitching">): Work {
    const holder = this.#works.get(model);
    if (holder !== undefined) throw conflict(model, holder);
    const work = { ...wish, isSwitching: false };
    this.#works.set(model, work);
    return work;
  }

  release(model: string, work: Work): void {
    if (this.#works.get(model) === work) this.#works.delete(model);
  }

  /** @throws DeploymentConflictError */
  async hold(model: string, wish: Omit<Work, "isSwitching">, change: () => Promise<void>): Promise<void> {
    const work = this.take(model, wish);
    try {
      await change();
    } finally {
      this.release(model, work);
    }
  }

  /** The current version may be scaled while another one is being deployed. @throws DeploymentConflictError */
  refuseScaling(model: string, version: string, isCurrent: boolean): void {
    const work = this.#works.get(model);
    if (work === undefined) return;
    const isOfAnother = work.version !== undefined && work.version !== version;
    if (!isCurrent || !isOfAnother || work.isSwitching) throw conflict(model, work);
  }

  /** Bundles that running work needs. */
  bundles(): readonly string[] {
    return [...this.#works.values()].flatMap(({ bundle }) => bundle ?? []);
  }
}

function conflict(model: string, { what }: Work): DeploymentConflictError {
  return new DeploymentConflictError(
    `model ${model} cannot be changed now: ${what}; try again when that has ended`,
    { details: { model, running: what } },
  );
}
