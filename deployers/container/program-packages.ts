// npm packages of a program: those of its own package.json, in exact versions, and those that the options name.
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { InvalidModelFileError, isExactVersion } from "../../core/index.ts";
import { toPath } from "../location.ts";
import { checkExact, installedVersion, type PackageOptions } from "../packages.ts";

const packageFile = z.object({ dependencies: z.record(z.string(), z.string()).optional() });

/**
 * Ranges become the versions that are installed beside the program.
 * @param bundle where its files have been copied to; a lockfile for other versions is taken out of it
 * @throws InvalidModelFileError, InvalidOptionsError for a range of which nothing is installed
 */
export async function programPackages(
  { folder, packages }: PackageOptions & { readonly folder?: string | URL | undefined },
  bundle: string,
): Promise<Record<string, string>> {
  const from = folder === undefined ? process.cwd() : toPath(folder);
  const wanted = folder === undefined ? {} : await dependenciesOf(from);
  const exact: Record<string, string> = {};
  for (const [name, version] of Object.entries(wanted)) {
    exact[name] = isExactVersion(version) ? version : ((await installedVersion(name, from)) ?? version);
  }
  const all = { ...exact, ...packages };
  await checkExact(all, from);
  const isAsLocked = Object.keys(all).every((name) => all[name] === wanted[name]);
  if (!isAsLocked) await rm(join(bundle, "package-lock.json"), { force: true });
  return Object.fromEntries(Object.entries(all).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

async function dependenciesOf(folder: string): Promise<Readonly<Record<string, string>>> {
  const path = join(folder, "package.json");
  const text = await readFile(path, "utf8").catch(() => undefined);
  if (text === undefined) return {};
  try {
    return packageFile.parse(JSON.parse(text)).dependencies ?? {};
  } catch (error) {
    throw new InvalidModelFileError(`${path} cannot be understood: ${(error as Error).message}`, {
      cause: error,
      details: { path },
    });
  }
}
