// The part of a project's package-lock.json that a bundle's packages need: what they depend on, in the versions here.
import { access, readFile, writeFile } from "node:fs/promises";
import { dirname, join, posix, relative, sep } from "node:path";
import { z } from "zod";
import type { BundleReport } from "../core/index.ts";

const NAME = "package-lock.json";
const OTHERS: readonly string[] = [
  "pnpm-lock.yaml",
  "yarn.lock",
  "bun.lock",
  "bun.lockb",
  "npm-shrinkwrap.json",
];
const names = z.record(z.string(), z.string()).optional();
const entrySchema = z.looseObject({
  version: z.string().optional(),
  resolved: z.string().optional(),
  name: z.string().optional(),
  link: z.boolean().optional(),
  dependencies: names,
  optionalDependencies: names,
  peerDependencies: names,
  peerDependenciesMeta: z.record(z.string(), z.looseObject({ optional: z.boolean().optional() })).optional(),
});
const lockSchema = z.looseObject({
  lockfileVersion: z.union([z.literal(2), z.literal(3)]),
  packages: z.record(z.string(), entrySchema),
});
type Entry = z.infer<typeof entrySchema>;
type Entries = Readonly<Record<string, Entry>>;

export interface Locked {
  /** Text of a package-lock.json for just these packages; undefined: npm resolves what they depend on. */
  readonly text: string | undefined;
  readonly notes: readonly string[];
}

/** Packages of a bundle by exact version. */
export interface Wanted {
  readonly packages: Readonly<Record<string, string>>;
  /** A folder whose node_modules, or one above, holds a package as the project's imports find it. */
  readonly importerOf: (name: string) => string;
}

/** Writes the lockfile of a bundle's packages into its folder, where there is one; gives notes for the manifest. */
export async function writeLockfile(
  wanted: Wanted,
  folder: string,
  report: BundleReport,
): Promise<readonly string[]> {
  const { text, notes } = await lockPackages(wanted);
  if (text !== undefined) await writeFile(join(folder, NAME), text);
  for (const note of notes) report(`warning: ${note}`);
  return notes;
}

/**
 * The exact transitive versions, from the project's package-lock.json (version 2 or 3). A note says why there are none
 * where another lockfile is there, or one that says something else than the bundle.
 */
export async function lockPackages({ packages, importerOf }: Wanted): Promise<Locked> {
  const [first] = Object.keys(packages);
  const found = first === undefined ? undefined : await findLock(importerOf(first));
  if (found === undefined) return { text: undefined, notes: [] };
  try {
    const entries = await lockedEntries(found, { packages, importerOf });
    const root = { name: "model-packages", dependencies: packages };
    const lock = { name: root.name, lockfileVersion: 3, requires: true, packages: { "": root, ...entries } };
    return { text: `${JSON.stringify(lock, null, 2)}\n`, notes: [] };
  } catch (error) {
    if (!(error instanceof NotLocked)) throw error;
    const note = `what the packages depend on is resolved anew where the model runs: ${error.message}`;
    return { text: undefined, notes: [note] };
  }
}

async function lockedEntries(
  { folder, name }: FoundLock,
  { packages, importerOf }: Wanted,
): Promise<Entries> {
  if (name !== NAME) throw new NotLocked(`${name} is not read, only ${NAME} of npm 7 and newer`);
  const lock = lockSchema.safeParse(await readJson(join(folder, NAME)));
  if (!lock.success)
    throw new NotLocked(`${NAME} is not of version 2 or 3; \`npm install\` with npm 7 or newer writes one`);
  return new Subset(lock.data.packages).of(packages, (each) => keyOf(folder, importerOf(each)));
}

class NotLocked extends Error {}

/** Picks entries of a lockfile, by npm's rules of where a package finds another. */
class Subset {
  readonly #entries: Entries;
  /** By place in the project's lockfile; false: needed only as far as it can be installed. */
  readonly #isRequired = new Map<string, boolean>();

  constructor(entries: Entries) {
    this.#entries = entries;
  }

  of(packages: Readonly<Record<string, string>>, from: (name: string) => string): Entries {
    const roots = Object.entries(packages).map(([name, version]) => {
      const place = this.#find(from(name), name);
      const locked = place === undefined ? undefined : this.#entries[place]?.version;
      if (place === undefined || locked !== version)
        throw new NotLocked(`${NAME} has ${name} ${locked ?? "nowhere"}, the bundle ${version}`);
      return place;
    });
    this.#collect(roots);
    return this.#placed(roots);
  }

  /** The place that an import of `name` from another place leads to. */
  #find(from: string, name: string): string | undefined {
    for (let at = from; ; at = at === "" || !at.includes("/") ? "" : posix.dirname(at)) {
      const place = posix.join(at, "node_modules", name);
      if (this.#entries[place] !== undefined && !at.endsWith("node_modules")) return place;
      if (at === "") return undefined;
    }
  }

  #collect(roots: readonly string[]): void {
    const optional: string[] = [];
    const walk = (places: readonly string[], isRequired: boolean): void => {
      const waiting = [...places];
      for (let place = waiting.pop(); place !== undefined; place = waiting.pop()) {
        if (this.#isRequired.has(place)) continue;
        this.#isRequired.set(place, isRequired);
        waiting.push(...this.#needs(place));
        optional.push(...this.#mayHave(place));
      }
    };
    walk(roots, true);
    for (let next = optional.pop(); next !== undefined; next = optional.pop()) walk([next], false);
  }

  #needs(place: string): readonly string[] {
    const {
      dependencies = {},
      peerDependencies = {},
      peerDependenciesMeta = {},
    } = this.#entries[place] ?? {};
    const peers = Object.keys(peerDependencies).filter(
      (name) => peerDependenciesMeta[name]?.optional !== true,
    );
    return [...Object.keys(dependencies), ...peers].map((name) => {
      const found = this.#find(place, name);
      if (found === undefined) throw new NotLocked(`${NAME} lacks ${name}, which ${place} needs`);
      if (this.#entries[found]?.link === true)
        throw new NotLocked(`${name}, which ${place} needs, is a link`);
      return found;
    });
  }

  #mayHave(place: string): readonly string[] {
    const listed = Object.keys(this.#entries[place]?.optionalDependencies ?? {});
    return listed.map((name) => this.#find(place, name)).filter((found) => found !== undefined);
  }

  /** Under one folder, also those of a workspace's own node_modules. */
  #placed(roots: readonly string[]): Entries {
    const from = new Map<string, string>();
    for (const place of [...this.#isRequired.keys()].toSorted()) {
      const target = place.slice(place.indexOf("node_modules/"));
      if (from.has(target))
        throw new NotLocked(`${from.get(target)} and ${place} of ${NAME} would be in one place`);
      from.set(target, place);
    }
    const lost = roots.find((place) => place.split("node_modules/").length > 2);
    if (lost !== undefined) throw new NotLocked(`${lost} is a package inside of a package`);
    const pairs = [...from].toSorted(([a], [b]) => (a < b ? -1 : 1));
    return Object.fromEntries(pairs.map(([target, place]) => [target, this.#entry(place)]));
  }

  #entry(place: string): Entry {
    const {
      dev: _,
      devOptional: __,
      peer: ___,
      optional: ____,
      resolved,
      ...rest
    } = this.#entries[place] ?? {};
    const name = rest.name ?? place.slice(place.lastIndexOf("node_modules/") + "node_modules/".length);
    // An ordinary file of a registry is had from the registry of where it is installed; `integrity` holds it to these bytes.
    const ordinary = `/${name}/-/${posix.basename(name)}-${rest.version}.tgz`;
    if (resolved?.startsWith("file:") === true)
      throw new NotLocked(`${name} comes from ${resolved}, which is only here`);
    return {
      ...rest,
      ...(resolved === undefined || resolved.endsWith(ordinary) ? {} : { resolved }),
      ...(this.#isRequired.get(place) === true ? {} : { optional: true }),
    };
  }
}

/** A folder as places in the lockfile are written. */
function keyOf(lockFolder: string, folder: string): string {
  return relative(lockFolder, folder).split(sep).join("/");
}

interface FoundLock {
  readonly folder: string;
  readonly name: string;
}

async function findLock(from: string): Promise<FoundLock | undefined> {
  for (let folder = from; ; folder = dirname(folder)) {
    for (const name of [NAME, ...OTHERS]) if (await exists(join(folder, name))) return { folder, name };
    if (dirname(folder) === folder) return undefined;
  }
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

async function readJson(path: string): Promise<unknown> {
  return readFile(path, "utf8")
    .then((text) => JSON.parse(text) as unknown)
    .catch(() => undefined);
}
