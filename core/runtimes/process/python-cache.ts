// Virtual environments of Python models, one a set of requirements, shared by every server of a user.
import { createHash, randomBytes } from "node:crypto";
import { access, mkdir, readdir, readlink, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { isNodeError, PackageInstallError, type WindjammerError } from "../../errors.ts";
import { pipError } from "../pip-errors.ts";
import { type InstallOptions, isOwned, Turns } from "./installing.ts";
import { pipEnvironment, type Interpreter } from "./python.ts";
import { runTool } from "./tool.ts";

/** All that decides what an environment holds. */
export interface PythonSet {
  readonly interpreter: Interpreter;
  /** Lines of a requirements.txt, checked. */
  readonly requirements: readonly string[];
  /** Packages that may be built from source, which runs their own code. */
  readonly fromSource: readonly string[];
  /** Folder of wheels of the bundle, and a hash of it. */
  readonly wheels: { readonly folder: string; readonly hash: string } | undefined;
}

const ENVIRONMENT = "environment-";
const FIRST_NAME = /^environment-(\d+)-/;

/**
 * An environment has its final place from the start, since what pip writes names it; a link of the set's key to it is
 * made when it is complete. So a killed server leaves nothing that looks installed, and of two processes that install
 * the same set the first one wins.
 */
export class PythonCache {
  readonly #root: string;
  readonly #turns = new Turns();

  constructor(root: string) {
    this.#root = root;
  }

  /** Makes the folder and removes what killed servers left unfinished. */
  async open(): Promise<void> {
    await mkdir(this.#root, { recursive: true });
    const names = await readdir(this.#root);
    const linked = new Set(await Promise.all(names.map((name) => this.#target(name))));
    const stale = names.filter(
      (name) =>
        name.startsWith(ENVIRONMENT) && !linked.has(name) && !isOwned(FIRST_NAME.exec(name)?.[1] ?? ""),
    );
    await Promise.all(stale.map((name) => rm(join(this.#root, name), { recursive: true, force: true })));
  }

  /** Path of the environment's interpreter, and whether it was made by this call. */
  async install(
    set: PythonSet,
    options: InstallOptions,
  ): Promise<{ readonly python: string; readonly folder: string }> {
    const key = keyOf(set);
    return this.#turns.take(key, options.signal, () => this.#findOrInstall(set, key, options));
  }

  async #findOrInstall(
    set: PythonSet,
    key: string,
    options: InstallOptions,
  ): Promise<{ readonly python: string; readonly folder: string }> {
    const found = await this.#find(key);
    if (found !== undefined) return found;
    options.onInstall();
    const name = `${ENVIRONMENT}${process.pid}-${randomBytes(6).toString("hex")}`;
    const folder = join(this.#root, name);
    let isKept = false;
    try {
      await make(folder, set, options);
      isKept = await linkUnlessThere(name, join(this.#root, key));
    } finally {
      if (!isKept) await rm(folder, { recursive: true, force: true });
    }
    const installed = await this.#find(key);
    if (installed === undefined)
      throw new Error(`${join(this.#root, key)} is incomplete; remove it and try again`);
    return installed;
  }

  async #find(key: string): Promise<{ readonly python: string; readonly folder: string } | undefined> {
    const name = await this.#target(key);
    if (name === undefined) return undefined;
    const folder = join(this.#root, name);
    const python = join(folder, "bin", "python");
    try {
      await access(python);
      return { python, folder };
    } catch {
      // Emptied by hand, or its base interpreter has gone.
      await rm(join(this.#root, key), { force: true });
      return undefined;
    }
  }

  async #target(name: string): Promise<string | undefined> {
    return readlink(join(this.#root, name)).catch(() => undefined);
  }
}

async function make(folder: string, set: PythonSet, { signal, onLine }: InstallOptions): Promise<void> {
  const environment = pipEnvironment();
  const run = (file: string, args: readonly string[]): ReturnType<typeof runTool> =>
    runTool({ file, args, folder, environment, signal, onLine });
  await mkdir(folder, { recursive: true });
  const { executable, canInstallElsewhere } = set.interpreter;
  const made = await run(executable, [
    "-I",
    "-m",
    "venv",
    ...(canInstallElsewhere ? ["--without-pip"] : []),
    folder,
  ]);
  signal.throwIfAborted();
  if (made.exitCode !== 0) throw venvError(set.interpreter, made.lines);
  const file = join(folder, "requirements.txt");
  await writeFile(file, `${set.requirements.join("\n")}\n`);
  const python = join(folder, "bin", "python");
  const pip = canInstallElsewhere
    ? [executable, "-I", "-m", "pip", "--python", python]
    : [python, "-I", "-m", "pip"];
  const sources = set.fromSource.flatMap((name) => ["--no-binary", name]);
  const wheels = set.wheels === undefined ? [] : ["--find-links", set.wheels.folder];
  const [command = "", ...args] = [...pip, "install", "--only-binary", ":all:", ...sources, ...wheels];
  const installed = await run(command, [...args, "--requirement", file]);
  signal.throwIfAborted();
  if (installed.exitCode !== 0) throw pipError(installed);
}

function venvError({ executable, version }: Interpreter, lines: readonly string[]): WindjammerError {
  const said = lines.join("\n");
  const details = { logTail: lines.slice(-20) };
  if (/No space left on device|Errno 28/.test(said)) return pipError({ exitCode: 1, lines });
  const isMissing =
    /No module named '?(?:venv|ensurepip)|ensurepip is not available|ensurepip.*returned non-zero/i;
  if (isMissing.test(said)) {
    const [major, minor] = version.split(".");
    return new PackageInstallError(
      `${executable} (Python ${version}) cannot make a virtual environment for the model's packages: its modules venv and ensurepip are missing; ` +
        `install them (Debian and Ubuntu: apt install python3-venv, or python${major}.${minor}-venv), or name another Python with processRuntime({ python })`,
      { details },
    );
  }
  return new PackageInstallError(
    `${executable} could not make a virtual environment: ${lines.slice(-3).join("; ")}; more of its output is in the details`,
    { details },
  );
}

/** False when a link of that name is there already. */
async function linkUnlessThere(target: string, link: string): Promise<boolean> {
  try {
    await symlink(target, link, "dir");
    return true;
  } catch (error) {
    if (!isNodeError(error) || error.code !== "EEXIST") throw error;
    return false;
  }
}

function keyOf({ interpreter, requirements, fromSource, wheels }: PythonSet): string {
  const parts = [interpreter.identity, requirements, fromSource.toSorted(), wheels?.hash ?? null];
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex");
}
