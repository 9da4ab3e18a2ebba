// Images that a server's versions run on: one that somebody removes is missed at once, and built anew.
import type { Log } from "../../log.ts";
import type { BundleFolder } from "../../types.ts";
import type { Engine } from "../engine.ts";

/** What an image is for. */
export interface ImageUse {
  readonly model: string;
  readonly version: string;
  readonly bundle: BundleFolder;
}

export class KeptImages {
  /** By the image's name. */
  readonly #uses = new Map<string, ImageUse>();
  /** Names of those that are being built anew. */
  readonly #mending = new Set<string>();
  readonly #engine: Pick<Engine, "findImage">;
  readonly #rebuild: (use: ImageUse) => Promise<unknown>;
  readonly #log: Log;
  readonly #closing: AbortSignal;

  constructor(
    engine: Pick<Engine, "findImage">,
    {
      rebuild,
      log,
      closing,
    }: {
      readonly rebuild: (use: ImageUse) => Promise<unknown>;
      readonly log: Log;
      readonly closing: AbortSignal;
    },
  ) {
    this.#engine = engine;
    this.#closing = closing;
    this.#rebuild = rebuild;
    this.#log = log;
  }

  /** From now on the image is missed when it goes. */
  keep(image: string, use: ImageUse): void {
    this.#uses.set(image, use);
  }

  /** Those of a bundle (sha256, hex) may go. */
  release(bundle: string): void {
    for (const [image, use] of this.#uses) if (use.bundle.hash === bundle) this.#uses.delete(image);
  }

  /** Looks whether all are there; those that are not are built in the background. @throws EngineUnreachableError */
  async check(): Promise<void> {
    for (const [image, use] of this.#uses) {
      if (this.#mending.has(image) || (await this.#engine.findImage(image)) !== undefined) continue;
      // Released meanwhile.
      if (this.#uses.has(image)) void this.#mend(image, use);
    }
  }

  /** Never rejects. */
  async #mend(image: string, use: ImageUse): Promise<void> {
    const { model, version } = use;
    const details = { model, version, image };
    this.#mending.add(image);
    this.#log.warn(
      details,
      `image ${image} of model ${model} version ${version} was removed from the engine by somebody else; building it anew`,
    );
    const startedAt = performance.now();
    try {
      await this.#rebuild(use);
      const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
      this.#log.info(details, `image ${image} is on the engine again, after ${seconds} s`);
    } catch (error) {
      if (this.#closing.aborted) return;
      this.#log.warn(
        { ...details, err: error },
        `image ${image} of model ${model} version ${version} could not be built anew; the next start of a replica tries it again`,
      );
    } finally {
      this.#mending.delete(image);
    }
  }
}
