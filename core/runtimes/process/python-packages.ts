// Gives a Python model its interpreter: with a requirements.txt a virtual environment, else the machine's own Python.
import { createHash, randomBytes } from "node:crypto";
import { access, readdir, readFile, readlink, rename, symlink } from "node:fs/promises";
import { join } from "node:path";
import { InvalidBundleError } from "../../errors.ts";
import { parseRequirements } from "../../python-requirements.ts";
import type { BundleFolder } from "../../types.ts";
import type { PrepareOptions } from "../runtime.ts";
import type { PythonCache } from "./python-cache.ts";
import { findInterpreter, type Interpreter } from "./python.ts";

const REQUIREMENTS = "requirements.txt";
const WHEELS = "wheels";
/** Link in the bundle's root whose target is the path of its interpreter. */
const LINK = "python";

export interface PythonSources {
  /** Command or path of the interpreter. */
  readonly python: string;
  readonly cache: PythonCache;
}

/**
 * Readies the interpreter of a bundle, and returns what names it.
 * @throws InvalidBundleError, UnsupportedModelError (no Python), PackageNotFoundError, PackageInstallError, DiskFullError
 */
export async function preparePython(
  bundle: BundleFolder,
  { python, cache }: PythonSources,
  { report, signal }: PrepareOptions,
): Promise<string> {
  const requirements = await requirementsOf(bundle);
  const interpreter = await findInterpreter(python, signal);
  if (requirements.length === 0) {
    report(
      `using Python ${interpreter.version} of ${interpreter.executable}, with what is installed there: the model has no ${REQUIREMENTS}`,
    );
    await pointTo(bundle, interpreter.executable);
    return nameOf(interpreter, interpreter.executable);
  }
  const { allowScripts } = bundle.manifest;
  const set = {
    interpreter,
    requirements,
    fromSource: Object.keys(allowScripts).filter((name) => allowScripts[name] === true),
    wheels: await wheelsOf(bundle),
  };
  const startedAt = performance.now();
  let hasInstalled = false;
  const installed = await cache.install(set, {
    signal,
    onInstall: () => {
      hasInstalled = true;
      const count = requirements.length;
      report(
        `installing ${count} Python package${count === 1 ? "" : "s"} for Python ${interpreter.version} (pip install)`,
        { packages: count },
      );
    },
    onLine: (line) => report(`pip: ${line}`),
  });
  const durationMs = Math.round(performance.now() - startedAt);
  report(
    hasInstalled
      ? `installed in ${(durationMs / 1000).toFixed(1)} s into ${installed.folder}`
      : `using Python packages installed before in ${installed.folder}`,
    { folder: installed.folder, durationMs },
  );
  await pointTo(bundle, installed.python);
  return nameOf(interpreter, installed.python);
}

/** Path of the interpreter that `preparePython` chose; undefined when it has gone since. */
export async function preparedPython({ root }: BundleFolder): Promise<string | undefined> {
  try {
    const python = await readlink(join(root, LINK));
    await access(python);
    return python;
  } catch {
    return undefined;
  }
}

/** Lines for pip: only checked ones are let through. */
async function requirementsOf({ files }: BundleFolder): Promise<readonly string[]> {
  const text = await readFile(join(files, REQUIREMENTS), "utf8").catch(() => "");
  const parsed = parseRequirements(text);
  if ("problem" in parsed) throw new InvalidBundleError(`${REQUIREMENTS}: ${parsed.problem}`);
  return parsed.requirements.map(({ line }) => line);
}

/** Wheels that came with the model: the environment is then that of this bundle alone. */
async function wheelsOf({
  files,
  hash,
}: BundleFolder): Promise<{ folder: string; hash: string } | undefined> {
  const folder = join(files, WHEELS);
  const names = await readdir(folder).catch(() => []);
  return names.length === 0 ? undefined : { folder, hash };
}

async function pointTo({ root }: BundleFolder, python: string): Promise<void> {
  const link = join(root, LINK);
  const temporary = `${link}.${randomBytes(6).toString("hex")}.new`;
  await symlink(python, temporary);
  await rename(temporary, link);
}

function nameOf(interpreter: Interpreter, python: string): string {
  return `python-${createHash("sha256").update(interpreter.identity).update(python).digest("hex").slice(0, 32)}`;
}
