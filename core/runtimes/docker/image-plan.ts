// What is to be in the image of a bundle: its name, its Dockerfile, the other files of its build context.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import {
  CONTEXT,
  dockerfile,
  IMAGE_PATHS,
  packageJson,
  type ImageSpec,
} from "../../../containers/dockerfile.ts";
import { InvalidBundleError } from "../../errors.ts";
import type { BundleFolder } from "../../types.ts";
import { packageVersion } from "../../version.ts";
import type { Labels } from "../engine.ts";
import type { PrepareOptions } from "../runtime.ts";
import {
  bundleFiles,
  serverFiles,
  type ContextFile,
  type ContextTexts,
  type ServerFiles,
} from "./context.ts";
import type { DockerOptions } from "./index.ts";
import { LABEL } from "./labels.ts";

/** What models in Node are built on where nothing else is named. */
export const DEFAULT_BASE_IMAGE = "node:24-bookworm-slim";
const LOCKFILE = "package-lock.json";

/** Also the capitals of old packages; never a leading hyphen, which npm would take for an option. */
const PACKAGE_NAME = /^(?:@[A-Za-z0-9][A-Za-z0-9._~-]*\/)?[A-Za-z0-9][A-Za-z0-9._~-]*$/;
const EXACT_VERSION = /^\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?$/;

export interface ImagePlan {
  readonly tag: string;
  /** Image it is built on; undefined: its Dockerfile names it, and the build fetches it. */
  readonly baseImage: string | undefined;
  /** Built once: another base under the same name changes nothing. */
  readonly isPinned: boolean;
  /** Beside those in the Dockerfile. */
  readonly labels: Labels;
  readonly texts: ContextTexts;
  readonly files: readonly ContextFile[];
  /** The Dockerfile has what only BuildKit understands. */
  readonly needsBuildkit: boolean;
  /** Path in the image of a lockfile that the build makes, and that another build of the bundle is to have. */
  readonly madeLockfile: string | undefined;
}

/**
 * @param keptLockfile what an earlier build of this bundle resolved its packages to
 * @throws InvalidBundleError
 */
export async function planImage(
  bundle: BundleFolder,
  options: DockerOptions,
  {
    model,
    version,
    keptLockfile,
  }: Pick<PrepareOptions, "model" | "version"> & { readonly keptLockfile: string | undefined },
): Promise<ImagePlan> {
  checkPackages(bundle);
  const { manifest } = bundle;
  const [files, server] = await Promise.all([bundleFiles(bundle.files), serverFiles()]);
  const ownLockfile = await readFile(join(bundle.files, LOCKFILE), "utf8").catch(() => undefined);
  const lockfile = ownLockfile ?? keptLockfile;
  const hasPackages = Object.keys(manifest.packages).length > 0;
  const spec = specOf(bundle, options, { model, version, ownLockfile, files, server });
  const recipe = dockerfile(spec);
  const texts: Record<string, string> = {
    Dockerfile: lockfile === ownLockfile ? recipe : dockerfile({ ...spec, hasLockfile: true }),
    ...server.texts,
  };
  if (hasPackages) texts["package.json"] = packageJson(spec);
  if (hasPackages && lockfile !== undefined) texts[LOCKFILE] = lockfile;
  if (hasPackages && options.npmrc !== undefined) texts[".npmrc"] = options.npmrc;
  return {
    tag: imageTag({ model, version }, digest([recipe, server.hash])),
    baseImage: spec.baseImage,
    isPinned: false,
    labels: {},
    texts,
    files: [...server.files, ...files],
    needsBuildkit: hasPackages && options.npmrc !== undefined,
    madeLockfile: hasPackages && lockfile === undefined ? `${IMAGE_PATHS.root}/${LOCKFILE}` : undefined,
  };
}

interface Ingredients {
  readonly model: string | undefined;
  readonly version: string | undefined;
  readonly ownLockfile: string | undefined;
  readonly files: readonly ContextFile[];
  readonly server: ServerFiles;
}

function specOf(
  { hash, manifest }: BundleFolder,
  options: DockerOptions,
  { model, version, ownLockfile, files, server }: Ingredients,
): ImageSpec {
  const { baseImage = DEFAULT_BASE_IMAGE, aptPackages = [], buildAptPackages = [], npmrc } = options;
  const { packages, allowScripts } = manifest;
  const scripts = Object.keys(allowScripts).filter((name) => allowScripts[name] === true);
  const packageFile = packageJson({ packages, scripts });
  const packagesKey = digest([
    packageFile,
    ownLockfile ?? "",
    baseImage,
    ...aptPackages,
    ...buildAptPackages,
  ]);
  return {
    baseImage,
    aptPackages,
    buildAptPackages,
    packages,
    packagesKey,
    scripts,
    // Not a kept one: a rebuild has the name that the first build had.
    hasLockfile: ownLockfile !== undefined,
    hasNpmrc: npmrc !== undefined,
    hasWeights: files.some(({ name }) => name.startsWith(`${CONTEXT.weights}/`)),
    entry: server.entry,
    buildArguments: Object.keys(options.buildArgs ?? {}),
    labels: {
      ...(model === undefined ? {} : { [LABEL.model]: model }),
      ...(version === undefined ? {} : { [LABEL.version]: version }),
      [LABEL.bundle]: hash,
      [LABEL.contract]: JSON.stringify(manifest.contract),
      [LABEL.deployer]: manifest.deployer,
      [LABEL.server]: server.hash.slice(0, 12),
      [LABEL.release]: packageVersion(),
      ...(Object.keys(packages).length > 0 ? { [LABEL.packages]: packagesKey } : {}),
    },
  };
}

export function digest(parts: readonly string[]): string {
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 12);
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

/** "windjammer/digits:1-0123456789ab" */
export function imageTag(
  { model, version }: { readonly model: string | undefined; readonly version: string | undefined },
  key: string,
): string {
  return `windjammer/${repositoryOf(model)}:${tagOf(version, key)}`;
}

/** Engines allow less in a repository's name than we do in a model's. */
function repositoryOf(model: string | undefined): string {
  return model === undefined ? "bundle" : model.replaceAll(/[^a-z0-9]+/g, "-");
}

function tagOf(version: string | undefined, key: string): string {
  return version === undefined ? key : `${version}-${key}`;
}
