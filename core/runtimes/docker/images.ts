// Images of bundles: named by what is in them, built when the engine has none, pushed, removed again.
import type { BundleFolder } from "../../types.ts";
import type { Engine, ImageState } from "../engine.ts";
import type { BuiltImage, PrepareOptions } from "../runtime.ts";
import { buildImage } from "./image-build.ts";
import { isForeignImage, planForeignImage } from "./foreign-image.ts";
import { planImage, type ImagePlan } from "./image-plan.ts";
import { findBaseImage, pushImage } from "./image-transfer.ts";
import type { DockerOptions } from "./index.ts";
import { LABEL } from "./labels.ts";
import type { Lockfiles } from "./lockfiles.ts";
import { planPythonImage } from "./python-image.ts";

/** What a failed build left may serve the next try for so long. */
const KEEP_LEFTOVERS_S = 3_600;

export class Images {
  readonly #engine: Engine;
  readonly #options: DockerOptions;
  readonly #lockfiles: Lockfiles;
  readonly #building = new Map<string, Promise<void>>();

  constructor(engine: Engine, options: DockerOptions, lockfiles: Lockfiles) {
    this.#engine = engine;
    this.#options = options;
    this.#lockfiles = lockfiles;
  }

  /**
   * The bundle's image, which the engine has then, and the registry that it is pushed to.
   * @throws ImageBuildError, PackageNotFoundError, PackageInstallError, DiskFullError, EngineUnreachableError
   */
  async prepare(bundle: BundleFolder, options: PrepareOptions): Promise<BuiltImage> {
    const { model, version } = options;
    const keptLockfile = await this.#lockfiles.find(bundle.hash);
    const names = {
      ...(model === undefined ? {} : { model }),
      ...(version === undefined ? {} : { version }),
    };
    const plan = await (isForeignImage(bundle)
      ? planForeignImage(bundle, names)
      : bundle.manifest.container?.kind === "python"
        ? planPythonImage(bundle, this.#options, names)
        : planImage(bundle, this.#options, { ...names, keptLockfile }));
    for (
      let running = this.#building.get(plan.tag);
      running !== undefined;
      running = this.#building.get(plan.tag)
    ) {
      // Another caller's build may be cancelled by that caller; ours then is one of its own.
      await running.catch(() => {});
      options.signal.throwIfAborted();
    }
    const ready = this.#ready(bundle, plan, options).finally(() => this.#building.delete(plan.tag));
    this.#building.set(plan.tag, ready);
    await ready;
    // Also one that was there: the push after its build may have failed. A registry that has it answers at once.
    const { push } = this.#options;
    if (push === undefined) return { image: plan.tag };
    return { image: plan.tag, pushed: await pushImage(this.#engine, { tag: plan.tag, push }, options) };
  }

  /** Removes the images of a bundle that nothing runs any more, and what was only made to build them. */
  async forget(bundle: string): Promise<void> {
    const images = await this.#engine.images({ [LABEL.bundle]: bundle });
    for (const { id, tags } of images) {
      for (const name of tags.length === 0 ? [id] : tags) await this.#engine.removeImage(name);
    }
    await this.#lockfiles.remove(bundle);
    await this.#removeStages(new Set(images.map(({ labels }) => labels[LABEL.packages])));
  }

  async #ready(bundle: BundleFolder, plan: ImagePlan, options: PrepareOptions): Promise<void> {
    const { tag, baseImage, madeLockfile } = plan;
    const engine = this.#engine;
    const found = await engine.findImage(tag);
    const isDone = found !== undefined && plan.isPinned;
    const base =
      baseImage === undefined || isDone
        ? undefined
        : await findBaseImage(
            engine,
            { baseImage, hasImage: found !== undefined, options: this.#options },
            options,
          );
    if (found !== undefined && isBuiltOn(found, base)) {
      options.report(`image ${tag} is there already`, { image: tag, isUnchanged: true });
    } else {
      if (found !== undefined)
        options.report(`base image ${baseImage ?? ""} is another one now: building ${tag} anew`);
      await buildImage(engine, { plan, base, options: this.#options }, options);
      // Its name is the new one's now; while a replica runs on it, the engine keeps it.
      if (found !== undefined) await engine.removeImage(found.id).catch(() => {});
    }
    if (madeLockfile === undefined) return;
    const lockfile = await engine.readFile(tag, madeLockfile);
    if (lockfile !== undefined) await this.#lockfiles.keep(bundle.hash, lockfile);
  }

  /** The layers of installed packages serve the next version with the same ones; when there is none they go. */
  async #removeStages(forgotten: ReadonlySet<string | undefined>): Promise<void> {
    const built = await this.#engine.images({ [LABEL.packages]: undefined });
    const inUse = new Set(built.map(({ labels }) => labels[LABEL.packages]));
    for (const { id, tags, labels, createdS } of await this.#engine.images({ [LABEL.stage]: undefined })) {
      const stage = labels[LABEL.stage];
      const isOver = forgotten.has(stage) || Date.now() / 1000 - createdS > KEEP_LEFTOVERS_S;
      if (tags.length > 0 || inUse.has(stage) || !isOver) continue;
      await this.#engine.removeImage(id);
    }
  }
}

/** Without a base image here nothing says that it has changed. */
function isBuiltOn({ labels }: ImageState, base: string | undefined): boolean {
  return base === undefined || labels[LABEL.base] === base;
}
