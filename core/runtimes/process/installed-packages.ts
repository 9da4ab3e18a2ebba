// Finds packages that are installed already: where Node itself would look from a folder, by exact version.
import { readFile, realpath } from "node:fs/promises";
import { dirname, join } from "node:path";

export interface InstalledPackage {
  readonly version: string;
  /** Real path, links followed. */
  readonly folder: string;
}

/** What was found for a set of packages from one starting folder. */
export interface Found {
  /** By package name; complete when every package is there in the version asked for. */
  readonly matching: ReadonlyMap<string, InstalledPackage>;
  /** Packages that are there in another version. */
  readonly others: ReadonlyMap<string, InstalledPackage>;
}

/** Looks a package up in `from`/node_modules and those of the folders above; the nearest one counts. */
export async function findPackage(name: string, from: string): Promise<InstalledPackage | undefined> {
  for (let folder = from; ; folder = dirname(folder)) {
    const found = await readPackage(join(folder, "node_modules", name));
    if (found !== undefined) return found;
    if (dirname(folder) === folder) return undefined;
  }
}

/** Looks a whole set up from one folder, so that packages that meet in the model come from one installation. */
export async function findPackages(packages: Readonly<Record<string, string>>, from: string): Promise<Found> {
  const matching = new Map<string, InstalledPackage>();
  const others = new Map<string, InstalledPackage>();
  for (const [name, version] of Object.entries(packages)) {
    const found = await findPackage(name, from);
    if (found !== undefined) (found.version === version ? matching : others).set(name, found);
  }
  return { matching, others };
}

async function readPackage(folder: string): Promise<InstalledPackage | undefined> {
  try {
    const json = JSON.parse(await readFile(join(folder, "package.json"), "utf8")) as { version?: unknown };
    return typeof json.version === "string"
      ? { version: json.version, folder: await realpath(folder) }
      : undefined;
  } catch {
    return undefined;
  }
}
