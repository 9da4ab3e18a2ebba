// Decides import by import what goes into a module's bundle (the user's files) and what stays outside (packages).
import { isBuiltin } from "node:module";
import { dirname, isAbsolute, join, sep } from "node:path";
import type { OnResolveArgs, OnResolveResult, Plugin, PluginBuild } from "esbuild";
import { InvalidOptionsError } from "../core/index.ts";
import { packageOfImport, readPackage } from "./packages.ts";

/** The packages that the imports of one module lead to. */
export class Imports {
  /** Versions the user gave: they need not be installed here. */
  readonly declared: Readonly<Record<string, string>>;
  /** Bare imports that lead nowhere. */
  readonly unresolved: Set<string> = new Set();
  readonly #found = new Map<string, Map<string, string>>();

  constructor(declared: Readonly<Record<string, string>>) {
    this.declared = declared;
  }

  found(name: string, version: string, importer: string): void {
    const versions = this.#found.get(name) ?? new Map<string, string>();
    this.#found.set(name, versions.set(version, importer));
  }

  /**
   * Exact versions of the declared packages and of those that `specifiers` import, by name; and those imported, but
   * not installed.
   * @throws InvalidOptionsError when two versions of one package are imported
   */
  used(specifiers: readonly string[]): {
    readonly packages: Readonly<Record<string, string>>;
    readonly missing: readonly string[];
  } {
    const packages = new Map(Object.entries(this.declared));
    const missing = new Set<string>();
    for (const name of new Set(specifiers.filter((path) => !isBuiltin(path)).map(packageOfImport))) {
      if (packages.has(name)) continue;
      const version = this.#onlyVersion(name);
      if (version === undefined) missing.add(name);
      else packages.set(name, version);
    }
    const sorted = [...packages].toSorted(([a], [b]) => (a < b ? -1 : 1));
    return { packages: Object.fromEntries(sorted), missing: [...missing].toSorted() };
  }

  #onlyVersion(name: string): string | undefined {
    const [first, ...others] = [...(this.#found.get(name) ?? [])];
    if (others.length === 0) return first?.[0];
    const list = [first, ...others].map((entry) => `${entry?.[0]} by ${entry?.[1]}`).join(" and ");
    throw new InvalidOptionsError(
      `the module imports ${name} in two versions (${list}), and a bundle holds one; choose it with packages: { "${name}": "${first?.[0]}" }`,
      { details: { option: "packages" } },
    );
  }
}

/** Marks the plugin's own look-ups, so that it lets them through. */
const LOOKING = Symbol("looking");

export function importPlugin(imports: Imports): Plugin {
  return {
    name: "windjammer-imports",
    setup(build) {
      build.onResolve({ filter: /.*/ }, async (args) => {
        if (args.pluginData === LOOKING || args.kind === "entry-point") return undefined;
        if (args.path.endsWith(".node")) return refuse(NATIVE_ADDON);
        const isBare = !isAbsolute(args.path) && !/^[.#]|^[a-z]+:/.test(args.path);
        return isBare && !isBuiltin(args.path) ? resolveBare({ build, args, imports }) : undefined;
      });
    },
  };
}

const NATIVE_ADDON =
  "a native add-on runs on one platform only and cannot be bundled; import the package that builds it";
const OWN_PACKAGE =
  "the module of a function runs in the model container, where there is no Windjammer; move what is deployed into a file of its own, and import only types from windjammer";

function refuse(text: string): OnResolveResult {
  return { errors: [{ text }] };
}

interface Look {
  readonly build: PluginBuild;
  readonly args: OnResolveArgs;
  readonly imports: Imports;
}

async function resolveBare({ build, args, imports }: Look): Promise<OnResolveResult | undefined> {
  const name = packageOfImport(args.path);
  if (name === "windjammer") return refuse(OWN_PACKAGE);
  if (imports.declared[name] !== undefined) return { path: args.path, external: true };
  const { kind, importer, resolveDir } = args;
  const found = await build.resolve(args.path, { kind, importer, resolveDir, pluginData: LOOKING });
  if (found.errors.length > 0) {
    // Esbuild fails on it by itself, with the place, or leaves it be where the import stands in a try block.
    imports.unresolved.add(args.path);
    return undefined;
  }
  // Without a root it is the user's own: a workspace package, a path of his tsconfig.
  const root = found.external ? undefined : packageRoot(found.path);
  return root === undefined ? undefined : external({ args, imports }, name, root);
}

async function external(
  { args, imports }: Omit<Look, "build">,
  name: string,
  root: string,
): Promise<OnResolveResult> {
  const installed = await readPackage(root);
  if (installed?.version === undefined || installed.name !== name) {
    return refuse(
      `"${name}" leads to ${root}, which is package ${installed?.name ?? "without a name"} ${installed?.version ?? "without a version"}; import it by its own name, or declare ${name} in the option packages`,
    );
  }
  imports.found(name, installed.version, args.importer);
  return { path: args.path, external: true };
}

/** Folder of the package a file belongs to; undefined for a file outside node_modules. */
function packageRoot(file: string): string | undefined {
  const marker = `${sep}node_modules${sep}`;
  const at = file.lastIndexOf(marker);
  if (at < 0) return undefined;
  const modules = file.slice(0, at + marker.length);
  const inside = dirname(file).slice(modules.length).split(sep);
  return join(modules, ...inside.slice(0, inside[0]?.startsWith("@") ? 2 : 1));
}
