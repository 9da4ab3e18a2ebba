// Gives a bundle the packages it declares: from where they are installed already, else from the package cache.
import { createHash, randomBytes } from "node:crypto";
import { lstat, mkdir, readdir, readFile, readlink, rename, rm, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { InvalidBundleError } from "../../errors.ts";
import { isExactVersion, isPackageName } from "../../package-names.ts";
import type { BundleFolder } from "../../types.ts";
import type { PrepareOptions } from "../runtime.ts";
import { findPackages, type Found, type InstalledPackage } from "./installed-packages.ts";
import { renameUnlessThere, type DependencySet, type PackageCache } from "./package-cache.ts";

const LOCKFILE = "package-lock.json";
const LINKS = "linked-";

/** Where packages may come from. */
export interface PackageSources {
  /** Folders whose node_modules, and those above, are looked at, in this order. */
  readonly installedIn: readonly string[];
  readonly cache: PackageCache;
}

/**
 * Makes `bundle.root`/node_modules a link to the bundle's packages, and returns what names the set.
 * @throws InvalidBundleError, PackageNotFoundError, PackageInstallError, DiskFullError
 */
export async function preparePackages(
  bundle: BundleFolder,
  sources: PackageSources,
  options: PrepareOptions,
): Promise<string> {
  const { packages } = bundle.manifest;
  checkPackages(bundle);
  if (Object.keys(packages).length === 0) {
    await rm(join(bundle.root, "node_modules"), { recursive: true, force: true });
    return "no-packages";
  }
  const tried: Found[] = [];
  for (const folder of sources.installedIn) {
    const found = await findPackages(packages, folder);
    if (found.matching.size === Object.keys(packages).length)
      return linkInstalled(bundle, found.matching, options);
    tried.push(found);
  }
  return install(bundle, { cache: sources.cache, why: whyInstall(packages, tried) }, options);
}

/** A package of the bundle that its folder does not hold in the exact version (any more). */
export async function findLostPackage({ root, manifest }: BundleFolder): Promise<string | undefined> {
  const { packages } = manifest;
  if (Object.keys(packages).length === 0) return undefined;
  const { matching } = await findPackages(packages, root);
  return Object.keys(packages).find((name) => !matching.has(name));
}

/** Names and versions end up in files and arguments of npm: only plain ones are let through. */
function checkPackages({ manifest }: BundleFolder): void {
  for (const [name, version] of Object.entries(manifest.packages)) {
    if (!isPackageName(name)) {
      throw new InvalidBundleError(`packages: ${JSON.stringify(name)} is not the name of an npm package`);
    }
    if (!isExactVersion(version)) {
      throw new InvalidBundleError(
        `packages: ${name} needs an exact version such as "1.2.3", got ${JSON.stringify(version)}`,
      );
    }
  }
  const wrong = Object.keys(manifest.allowScripts).find((name) => !isPackageName(name));
  if (wrong !== undefined) {
    throw new InvalidBundleError(`allowScripts: ${JSON.stringify(wrong)} is not the name of an npm package`);
  }
}

async function linkInstalled(
  bundle: BundleFolder,
  packages: ReadonlyMap<string, InstalledPackage>,
  { report }: PrepareOptions,
): Promise<string> {
  for (const [name, { version, folder }] of packages) {
    report(`using ${name} ${version} from ${folder}: exact version installed there`, {
      package: name,
      version,
      folder,
    });
  }
  const targets = [...packages].map(([name, { folder }]) => [name, folder] as const);
  const key = createHash("sha256")
    .update(JSON.stringify(targets.toSorted(([a], [b]) => (a < b ? -1 : 1))))
    .digest("hex")
    .slice(0, 32);
  const links = join(bundle.root, `${LINKS}${key}`);
  const temporary = temporaryName(links);
  for (const [name, folder] of targets) {
    const link = join(temporary, name);
    await mkdir(dirname(link), { recursive: true });
    await symlink(folder, link, "dir");
  }
  await renameUnlessThere(temporary, links);
  await rm(temporary, { recursive: true, force: true });
  await pointTo(bundle, `${LINKS}${key}`);
  return key;
}

async function install(
  bundle: BundleFolder,
  { cache, why }: { readonly cache: PackageCache; readonly why: string },
  { report, signal }: PrepareOptions,
): Promise<string> {
  const { packages, allowScripts } = bundle.manifest;
  const set: DependencySet = {
    packages,
    allowScripts,
    lockfile: await readOrUndefined(join(bundle.files, LOCKFILE)),
  };
  const kept = await readOrUndefined(join(bundle.root, LOCKFILE));
  const known = set.lockfile === undefined ? await cache.find(set) : undefined;
  // The lockfile kept from an earlier install holds the bundle to it, when the cache has been emptied since.
  const isOutdated = kept !== undefined && known?.lockfile !== kept;
  const wanted = set.lockfile === undefined && isOutdated ? { ...set, lockfile: kept } : set;

  const startedAt = performance.now();
  let hasInstalled = false;
  const installation = await cache.install(wanted, {
    signal,
    onInstall: () => {
      hasInstalled = true;
      const how =
        wanted.lockfile === undefined ? "npm install" : "npm ci, as the lockfile of the bundle says";
      report(`${why} (${how})`, { packages: Object.keys(packages).length });
    },
    onLine: (line) => report(line.startsWith("npm ") ? line : `npm: ${line}`),
  });
  const durationMs = Math.round(performance.now() - startedAt);
  const folder = dirname(installation.nodeModules);
  report(
    hasInstalled
      ? `installed in ${(durationMs / 1000).toFixed(1)} s into ${folder}`
      : `using packages installed before in ${folder}`,
    { folder, durationMs },
  );
  if (kept !== installation.lockfile) await replaceFile(join(bundle.root, LOCKFILE), installation.lockfile);
  await pointTo(bundle, installation.nodeModules);
  return installation.key.slice(0, 32);
}

/** "zod 3.25.0 is not installed here (found 4.6.7 in …): installing 1 package". */
function whyInstall(packages: Readonly<Record<string, string>>, tried: readonly Found[]): string {
  const reasons: string[] = [];
  for (const [name, version] of Object.entries(packages)) {
    if (tried.some(({ matching }) => matching.has(name))) continue;
    const other = tried.map(({ others }) => others.get(name)).find((found) => found !== undefined);
    const instead = other === undefined ? "" : ` (found ${other.version} in ${other.folder})`;
    reasons.push(`${name} ${version} is not installed here${instead}`);
  }
  const why =
    reasons.length === 0 ? "the packages are not installed together in one place" : reasons.join(", ");
  const count = Object.keys(packages).length;
  return `${why}: installing ${count} package${count === 1 ? "" : "s"}`;
}

/** Replaces the link in one step, so that a replica that starts meanwhile sees the old packages or the new ones. */
async function pointTo(bundle: BundleFolder, target: string): Promise<void> {
  const link = join(bundle.root, "node_modules");
  const current = await readlink(link).catch(() => undefined);
  if (current !== target) {
    const isFolder = (await lstat(link).catch(() => undefined))?.isDirectory() === true;
    if (isFolder) await rm(link, { recursive: true, force: true });
    const temporary = temporaryName(link);
    await symlink(target, temporary, "dir");
    await rename(temporary, link);
  }
  const outdated = (await readdir(bundle.root)).filter((name) => name.startsWith(LINKS) && name !== target);
  await Promise.all(
    outdated
      .filter((name) => !name.endsWith(TEMPORARY))
      .map((name) => rm(join(bundle.root, name), { recursive: true, force: true })),
  );
}

async function replaceFile(path: string, text: string): Promise<void> {
  const temporary = temporaryName(path);
  await writeFile(temporary, text);
  await rename(temporary, path);
}

const TEMPORARY = ".new";

function temporaryName(path: string): string {
  return `${path}.${randomBytes(6).toString("hex")}${TEMPORARY}`;
}

async function readOrUndefined(path: string): Promise<string | undefined> {
  return readFile(path, "utf8").catch(() => undefined);
}
