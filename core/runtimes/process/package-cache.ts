// Folders of installed packages, one a dependency set, shared by every server of a user.
import { createHash, randomBytes } from "node:crypto";
import { access, mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { isNodeError } from "../../errors.ts";
import { npmInstall } from "./npm.ts";
import { type InstallOptions, isOwned, Turns } from "./installing.ts";

/** All that decides what an installation holds, beside the Node that runs it. */
export interface DependencySet {
  readonly packages: Readonly<Record<string, string>>;
  readonly allowScripts: Readonly<Record<string, boolean>>;
  /** Text of a package-lock.json; undefined: npm resolves what the packages themselves depend on. */
  readonly lockfile: string | undefined;
}

export interface Installation {
  readonly key: string;
  readonly nodeModules: string;
  /** Text of the package-lock.json that describes it. */
  readonly lockfile: string;
}

const UNFINISHED = ".unfinished-";

/**
 * An installation is made under a temporary name and renamed when it is complete: a killed server leaves nothing that
 * looks installed, and of two processes that install the same set the first one wins.
 */
export class PackageCache {
  readonly #root: string;
  readonly #turns = new Turns();

  constructor(root: string) {
    this.#root = root;
  }

  /** Makes the folder and removes what killed servers left unfinished. */
  async open(): Promise<void> {
    await mkdir(this.#root, { recursive: true });
    const stale = (await readdir(this.#root)).filter(
      (name) => name.startsWith(UNFINISHED) && !isOwned(name.slice(UNFINISHED.length)),
    );
    await Promise.all(stale.map((name) => rm(join(this.#root, name), { recursive: true, force: true })));
  }

  async find(set: DependencySet): Promise<Installation | undefined> {
    const key = keyOf(set);
    const folder = join(this.#root, key);
    try {
      const nodeModules = join(folder, "node_modules");
      await access(nodeModules);
      return { key, nodeModules, lockfile: await readFile(join(folder, "package-lock.json"), "utf8") };
    } catch {
      return undefined;
    }
  }

  /** @throws PackageNotFoundError, PackageInstallError, DiskFullError; the signal's reason when aborted */
  async install(set: DependencySet, options: InstallOptions): Promise<Installation> {
    const key = keyOf(set);
    return this.#turns.take(key, options.signal, () => this.#findOrInstall(set, key, options));
  }

  async #findOrInstall(set: DependencySet, key: string, options: InstallOptions): Promise<Installation> {
    const found = await this.find(set);
    if (found !== undefined) return found;
    options.onInstall();
    const temporary = join(this.#root, `${UNFINISHED}${process.pid}-${randomBytes(6).toString("hex")}`);
    try {
      await mkdir(temporary, { recursive: true });
      await writeFile(join(temporary, "package.json"), packageJson(set));
      if (set.lockfile !== undefined) await writeFile(join(temporary, "package-lock.json"), set.lockfile);
      const scripts = Object.keys(set.allowScripts).filter((name) => set.allowScripts[name] === true);
      await npmInstall(
        { hasLockfile: set.lockfile !== undefined, scripts },
        { folder: temporary, signal: options.signal, onLine: options.onLine },
      );
      await renameUnlessThere(temporary, join(this.#root, key));
    } finally {
      await rm(temporary, { recursive: true, force: true });
    }
    const installed = await this.find(set);
    if (installed === undefined)
      throw new Error(`${join(this.#root, key)} is incomplete; remove it and try again`);
    return installed;
  }
}

/** Renames a folder; where one of that name is already, it stays and the new one is left behind. */
export async function renameUnlessThere(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (error) {
    if (!isNodeError(error) || (error.code !== "ENOTEMPTY" && error.code !== "EEXIST")) throw error;
  }
}

function keyOf({ packages, allowScripts, lockfile }: DependencySet): string {
  const [nodeMajor] = process.versions.node.split(".");
  const platform = [nodeMajor, process.versions.modules, process.platform, process.arch];
  const parts = [sorted(packages), sorted(allowScripts), lockfile ?? null, platform];
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex");
}

function sorted<V>(record: Readonly<Record<string, V>>): [string, V][] {
  return Object.entries(record).toSorted(([a], [b]) => (a < b ? -1 : 1));
}

function packageJson({ packages, allowScripts }: DependencySet): string {
  return JSON.stringify(
    { name: "model-packages", private: true, dependencies: packages, allowScripts },
    null,
    2,
  );
}
