// What a compose file needs to know of the container engine: its socket, and that the models' images are the ones it has.
import { stat } from "node:fs/promises";
import { join } from "node:path";
import type { Windjammer } from "../../client/interface.ts";
import { InvalidOptionsError, UnsupportedModelError } from "../../errors.ts";
import { isShortEnough } from "../../runtimes/docker/folders.ts";
import { DEFAULT_BASE_IMAGE } from "../../runtimes/docker/image-plan.ts";
import { LABEL } from "../../runtimes/docker/labels.ts";
import { Engine } from "../../runtimes/engine.ts";
import { openedVersions } from "./opened-versions.ts";

export interface EngineForCompose {
  /** Path of the engine's socket. */
  readonly socket: string;
  /** Group that may use it. */
  readonly group: number;
}

/**
 * @throws UnsupportedModelError for an engine that is not this machine's own, or a state folder whose path is too long
 * @throws InvalidOptionsError for images that were built on another base image; EngineUnreachableError
 */
export async function engineForCompose(
  wj: Windjammer,
  {
    baseImage = DEFAULT_BASE_IMAGE,
    stateDir,
  }: { readonly baseImage: string | undefined; readonly stateDir: string },
): Promise<EngineForCompose> {
  const engine = await Engine.connect(undefined);
  const { address } = engine;
  const { isDesktop, isRootless } = await engine.info();
  if (address.kind !== "socket" || isDesktop || isRootless) {
    const why =
      address.kind === "socket"
        ? isDesktop
          ? "runs in a virtual machine"
          : "is rootless"
        : "is on another machine";
    throw new UnsupportedModelError(
      `the engine at ${address.shown} ${why}; export compose of a server with the docker runtime is for an engine of this machine, that root runs`,
      { details: { engine: address.shown } },
    );
  }
  if (!isShortEnough(join(stateDir, "run")))
    throw new UnsupportedModelError(
      `${stateDir} is too long a path for the sockets of model containers, which would lie where a container does not see them; move the state folder to a shorter one`,
      { details: { stateDir } },
    );
  await checkBase(wj, engine, baseImage);
  return { socket: address.path, group: (await stat(address.path)).gid };
}

/** Else the server would build every model anew when it starts. @throws InvalidOptionsError */
async function checkBase(wj: Windjammer, engine: Engine, baseImage: string): Promise<void> {
  const base = await engine.findImage(baseImage);
  // The server, too, takes its images as they are where the default one is not there.
  if (base === undefined && baseImage === DEFAULT_BASE_IMAGE) return;
  for (const { model, bundle, manifest } of await openedVersions(wj)) {
    // Python's has no flag, and other containers are built on what their Dockerfile says.
    if (manifest.container !== undefined) continue;
    const images = await engine.images({ [LABEL.bundle]: bundle });
    if (images.length === 0 || images.some(({ labels }) => labels[LABEL.base] === base?.id)) continue;
    throw new InvalidOptionsError(
      `the image of model ${model} is not built on ${baseImage} as this engine has it; name the image that the server was started with: --base-image. If it is this one, it was pulled anew: start the server once more, which builds on it, and export again`,
      { details: { option: "baseImage", model } },
    );
  }
}
