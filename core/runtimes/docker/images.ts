// Images of bundles: named by what is in them, built when the engine has none, pushed, removed again.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { CONTEXT, dockerfile, packageJson, type ImageSpec } from "../../../containers/dockerfile.ts";
import { EngineRefusedError, EngineUnreachableError, InvalidBundleError } from "../../errors.ts";
import type { BundleFolder } from "../../types.ts";
import type { BuildRequest, Engine } from "../engine.ts";
import type { PrepareOptions } from "../runtime.ts";
import { buildError } from "./build-errors.ts";
import { BuildLog } from "./build-log.ts";
import { bundleFiles, contextStream, serverFiles, type ContextFile, type ContextTexts } from "./context.ts";
import type { DockerOptions, PushOptions } from "./index.ts";
import { LABEL } from "./labels.ts";

const DEFAULT_BASE_IMAGE = "node:24-bookworm-slim";
const LOCKFILE = "package-lock.json";
const FIRST_RETRY_MS = 500;

/** Also the capitals of old packages; never a leading hyphen, which npm would take for an option. */
const PACKAGE_NAME = /^(?:@[A-Za-z0-9][A-Za-z0-9._~-]*\/)?[A-Za-z0-9][A-Za-z0-9._~-]*$/;
const EXACT_VERSION = /^\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?$/;

interface Plan {
  readonly tag: string;
  readonly texts: ContextTexts;
  readonly files: readonly ContextFile[];
}

export class Images {
  readonly #engine: Engine;
  readonly #options: DockerOptions;
  readonly #building = new Map<string, Promise<void>>();

  constructor(engine: Engine, options: DockerOptions) {
    this.#engine = engine;
    this.#options = options;
  }

  /**
   * Name of the bundle's image, which the engine has then.
   * @throws ImageBuildError, PackageNotFoundError, PackageInstallError, DiskFullError, EngineUnreachableError
   */
  async prepare(bundle: BundleFolder, options: PrepareOptions): Promise<string> {
    checkPackages(bundle);
    const plan = await this.#plan(bundle, options);
    for (
      let running = this.#building.get(plan.tag);
      running !== undefined;
      running = this.#building.get(plan.tag)
    ) {
      // Another caller's build may be cancelled by that caller; ours then is one of its own.
      await running.catch(() => {});
      options.signal.throwIfAborted();
    }
    if ((await this.#engine.findImage(plan.tag)) !== undefined) {
      options.report(`image ${plan.tag} is there already`, { image: plan.tag, isUnchanged: true });
    } else {
      const build = this.#build(plan, options).finally(() => this.#building.delete(plan.tag));
      this.#building.set(plan.tag, build);
      await build;
    }
    // Also one that is there: the push after its build may have failed. A registry that has it answers at once.
    if (this.#options.push !== undefined) await this.#push(plan.tag, this.#options.push, options);
    return plan.tag;
  }

  /** Removes the images of a bundle that nothing runs any more. */
  async forget(bundle: string): Promise<void> {
    for (const { id, tags } of await this.#engine.images({ [LABEL.bundle]: bundle })) {
      for (const name of tags.length === 0 ? [id] : tags) await this.#engine.removeImage(name);
    }
  }

  async #plan(bundle: BundleFolder, names: Pick<PrepareOptions, "model" | "version">): Promise<Plan> {
    const { manifest } = bundle;
    const [files, server] = await Promise.all([bundleFiles(bundle.files), serverFiles()]);
    const lockfile = await readFile(join(bundle.files, LOCKFILE), "utf8").catch(() => undefined);
    const { baseImage = DEFAULT_BASE_IMAGE, aptPackages = [], buildAptPackages = [], npmrc } = this.#options;
    const spec: ImageSpec = {
      baseImage,
      aptPackages,
      buildAptPackages,
      packages: manifest.packages,
      scripts: Object.keys(manifest.allowScripts).filter((name) => manifest.allowScripts[name] === true),
      hasLockfile: lockfile !== undefined,
      hasNpmrc: npmrc !== undefined,
      hasWeights: files.some(({ name }) => name.startsWith(`${CONTEXT.weights}/`)),
      entry: server.entry,
      buildArguments: Object.keys(this.#options.buildArgs ?? {}),
      labels: {
        ...(names.model === undefined ? {} : { [LABEL.model]: names.model }),
        ...(names.version === undefined ? {} : { [LABEL.version]: names.version }),
        [LABEL.bundle]: bundle.hash,
        [LABEL.contract]: JSON.stringify(manifest.contract),
        [LABEL.deployer]: manifest.deployer,
        [LABEL.release]: server.hash.slice(0, 12),
      },
    };
    const text = dockerfile(spec);
    const key = createHash("sha256").update(text).update(server.hash).digest("hex").slice(0, 12);
    const texts: Record<string, string> = { Dockerfile: text, ...server.texts };
    if (Object.keys(manifest.packages).length > 0) texts["package.json"] = packageJson(spec);
    if (lockfile !== undefined) texts[LOCKFILE] = lockfile;
    if (npmrc !== undefined) texts[".npmrc"] = npmrc;
    return {
      tag: `windjammer/${repositoryOf(names.model)}:${tagOf(names.version, key)}`,
      texts,
      files: [...server.files, ...files],
    };
  }

  async #build(plan: Plan, options: PrepareOptions): Promise<void> {
    const startedAt = performance.now();
    const bytes = plan.files.reduce((sum, { size }) => sum + size, 0);
    options.report(`building image ${plan.tag} from ${(bytes / 1e6).toFixed(1)} MB`, {
      image: plan.tag,
      bytes,
    });
    const log = await this.#buildWith("classic", plan, options).catch((error: unknown) => {
      // Engines that have given up the classic builder say so at once.
      if (
        !(error instanceof EngineRefusedError) ||
        !/buildkit|legacy builder|classic builder/i.test(error.message)
      )
        throw error;
      return this.#buildWith("buildkit", plan, options);
    });
    const { outcome } = log;
    if (outcome.error !== undefined) throw buildError("building the image", outcome);
    const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
    options.report(`built ${plan.tag} in ${seconds} s, ${outcome.cachedSteps} steps from the cache`, {
      image: plan.tag,
      cachedSteps: outcome.cachedSteps,
    });
  }

  async #buildWith(
    builder: BuildRequest["builder"],
    plan: Plan,
    { report, signal }: PrepareOptions,
  ): Promise<BuildLog> {
    const { baseImage = DEFAULT_BASE_IMAGE, buildArgs = {}, buildNetwork, pull } = this.#options;
    const log = new BuildLog(report, baseImage);
    const request: BuildRequest = {
      tag: plan.tag,
      buildArgs,
      networkMode: buildNetwork,
      shouldPull: pull === "always",
      builder,
    };
    const context = contextStream(plan.texts, plan.files);
    for await (const message of this.#engine.build(context, request, signal)) log.take(message);
    return log;
  }

  async #push(tag: string, push: PushOptions, { report, signal }: PrepareOptions): Promise<void> {
    const { repository, tries = 3, ...login } = push;
    const [name = "", version = ""] = tag.split(":");
    const target = `${repository}/${name.slice(name.indexOf("/") + 1)}`;
    await this.#engine.tag(tag, target, version);
    for (let attempt = 1; ; attempt++) {
      const log = new BuildLog(report, `${target}:${version}`);
      try {
        for await (const message of this.#engine.push(`${target}:${version}`, login, signal))
          log.take(message);
        const { outcome } = log;
        if (outcome.error !== undefined) throw buildError(`pushing ${target}:${version}`, outcome);
        report(`pushed ${target}:${version}`, {
          image: `${target}:${version}`,
          digest: outcome.digest ?? "",
        });
        return;
      } catch (error) {
        const isLast = attempt >= tries || signal.aborted || error instanceof EngineUnreachableError;
        if (isLast) throw error;
        report(`pushing failed, attempt ${attempt} of ${tries}: ${(error as Error).message}`);
        await delay(FIRST_RETRY_MS * 2 ** attempt, undefined, { signal });
      }
    }
  }
}

/** Names and versions end up in a Dockerfile and in arguments of npm: only plain ones are let through. */
function checkPackages({ manifest }: BundleFolder): void {
  for (const [name, version] of Object.entries(manifest.packages)) {
    if (PACKAGE_NAME.test(name) && EXACT_VERSION.test(version)) continue;
    throw new InvalidBundleError(
      `packages: expected npm packages by exact version, got ${JSON.stringify(name)}: ${JSON.stringify(version)}; correct the model's packages`,
    );
  }
  const wrong = Object.keys(manifest.allowScripts).find((name) => !PACKAGE_NAME.test(name));
  if (wrong !== undefined)
    throw new InvalidBundleError(`allowScripts: ${JSON.stringify(wrong)} is not the name of an npm package`);
}

/** Engines allow less in a repository's name than we do in a model's. */
function repositoryOf(model: string | undefined): string {
  return model === undefined ? "bundle" : model.replaceAll(/[^a-z0-9]+/g, "-");
}

function tagOf(version: string | undefined, key: string): string {
  return version === undefined ? key : `${version}-${key}`;
}
