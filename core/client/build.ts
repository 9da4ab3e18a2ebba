// An image of a model, without a server: bundled by its deployer, built by a runtime, pushed where that is asked for.
import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { checkHasImage } from "../deploy/container-kind.ts";
import type { Deployer } from "../deploy/deployer.ts";
import { DEFAULT_PREPARE_TIMEOUT_MS } from "../deploy/settings.ts";
import { withinLimit } from "../deploy/prepare.ts";
import { InvalidOptionsError } from "../errors.ts";
import type { BuiltImage, Runtime } from "../runtimes/runtime.ts";
import { makeBundle, type MadeBundle } from "./bundle.ts";
import { clientEvents } from "./deploy.ts";
import { checkDeployOptions, type CheckedOptions } from "./deploy-options.ts";
import type { DeployOptions } from "./interface.ts";

/**
 * Builds the image of a model as a deployment does, and neither runs nor registers it. A later deployment of the same
 * model on the same engine finds the image there; `docker({ push })` sends it to a registry, too.
 *
 * @param options as of a deploy call; what concerns serving is checked and else of no effect
 * @param runtime a new one that has images: `docker({ … })`; it is closed again
 * @throws InvalidOptionsError, UnsupportedModelError, ImageBuildError, PackageNotFoundError, EngineUnreachableError, …
 * @example
 * const { image } = await buildImage(onnx, { name: "digits", version: "1", model: "digits.onnx" }, docker());
 */
export async function buildImage<Options extends object>(
  deployer: Deployer<Options>,
  options: DeployOptions & Options,
  runtime: Runtime,
): Promise<BuiltImage> {
  if (!makesImages(runtime)) {
    throw new InvalidOptionsError(
      `the ${runtime.name} runtime makes no images; give one that does, such as docker()`,
      { details: { option: "runtime" } },
    );
  }
  const checked = checkDeployOptions(deployer, options);
  checked.signal?.throwIfAborted();
  await using made = await makeBundle(deployer, checked.own, clientEvents(checked.onEvent));
  checkHasImage(runtime, made.manifest);
  const root = await mkdtemp(join(tmpdir(), "windjammer-build-"));
  try {
    const owner = `build-${randomBytes(6).toString("hex")}`;
    await runtime.open({ runDir: join(root, "run"), cacheDir: join(root, "cache"), owner });
    return await built(runtime, made, checked);
  } finally {
    await runtime.close();
    await rm(root, { recursive: true, force: true });
  }
}

type ImageRuntime = Runtime & Required<Pick<Runtime, "build">>;

function makesImages(runtime: Runtime): runtime is ImageRuntime {
  return runtime.build !== undefined;
}

function built(
  runtime: ImageRuntime,
  { folder, hash, manifest }: MadeBundle,
  { request, onEvent, signal }: CheckedOptions<unknown>,
): Promise<BuiltImage> {
  const { name: model, version, prepareTimeoutMs: timeoutMs = DEFAULT_PREPARE_TIMEOUT_MS } = request;
  const bundle = { hash, root: folder, files: folder, manifest };
  return withinLimit(
    (options) => runtime.build(bundle, options),
    { model, version, isImage: true },
    {
      report: clientEvents(onEvent, "prepare"),
      signal: signal ?? new AbortController().signal,
      timeoutMs,
    },
  );
}
