// What is captured by reference: objects every Node has, and the exports of builtin modules and installed packages.
import { readFileSync } from "node:fs";
import { createRequire, isBuiltin, Module } from "node:module";
import { dirname, join } from "node:path";
import { types } from "node:util";
import { closureRoots, OPAQUE_ROOTS } from "../../../containers/closure-format.ts";
import { packageOfImport } from "../../packages.ts";
import { importOf } from "./imports.ts";
import { ownSetUps } from "./prepare.ts";
import { resolveFrom, IMPORT } from "./resolve.ts";
import type { Script } from "./script.ts";
import { viteSpecifier } from "./vite.ts";

/** Where a value is found again in a model container. */
export type Place =
  | { readonly kind: "global"; readonly path: readonly string[] }
  | { readonly kind: "package"; readonly module: string; readonly path: readonly string[] };

export interface FoundPackage {
  readonly name: string;
  readonly version: string;
  /** The resolved file, for messages. */
  readonly file: string;
  /** Why it cannot be installed by its name and version elsewhere. */
  readonly problem: string | undefined;
}

type FoundFile = Omit<FoundPackage, "problem">;

/** How deep exports are looked through. */
const EXPORT_DEPTH = 3;

export class References {
  readonly #places = new Map<unknown, Place>();
  readonly #packages = new Map<string, FoundPackage>();
  /** Folders of scripts that a package was looked up from. */
  readonly #lookedUp = new Set<string>();
  readonly #seen = new Set<Script>();
  /** URLs of ES modules. */
  readonly #loaded: ReadonlySet<string>;
  /** Members of packages that the user's files have put something else in. */
  readonly #changed: ReadonlyMap<string, ReadonlySet<string>>;
  readonly #isUsers: (fn: object) => boolean;
  readonly #resolved = new Map<string, string | undefined>();

  /**
   * Reads no getter and loads no module that is not loaded already.
   * @param isUsers whether a function stands in a file of the user's, wherever it is found
   */
  constructor(scripts: readonly Script[], isUsers: (fn: object) => boolean) {
    this.#isUsers = isUsers;
    this.#loaded = new Set(scripts.filter(({ isModule }) => isModule).map(({ url }) => url));
    this.#changed = changedMembers(scripts);
    for (const [name, value] of closureRoots()) this.#add(value, { kind: "global", path: [name] });
    for (const [name, value] of closureRoots())
      if (!OPAQUE_ROOTS.has(name)) this.#explore(value, { kind: "global", path: [name] }, 6);
    // What packages import is looked up only where a function of theirs is taken along.
    for (const script of scripts) if (script.packageName === undefined) this.addImports(script);
  }

  find(value: unknown): Place | undefined {
    const place = this.#places.get(value);
    return place?.kind === "package" && typeof value === "function" && this.#isUsers(value)
      ? undefined
      : place;
  }

  /** Package that a specifier of a script leads to; undefined: a builtin, the user's own file, or nothing. */
  packageOf(specifier: string, script: Script): FoundPackage | undefined {
    if (isBuiltin(specifier) || isRelative(specifier) || script.path === undefined) return undefined;
    const name = packageOfImport(specifier);
    const known = this.#packages.get(name);
    const from = `${dirname(script.path)}\0${name}`;
    if (known !== undefined && this.#lookedUp.has(from)) return known;
    this.#lookedUp.add(from);
    for (const conditions of [IMPORT, undefined]) {
      const url = this.#resolve(script.path, specifier, conditions);
      const at = url === undefined ? undefined : packageAt(url);
      if (at === undefined) continue;
      const problem = otherVersion(known, at) ?? installProblem(at.name, name, script.path);
      const found = known === undefined || problem !== undefined ? { ...at, problem } : known;
      this.#packages.set(name, found);
      return found;
    }
    return known;
  }

  /** A package that was looked up before, by name. */
  packageNamed(name: string): FoundPackage | undefined {
    return this.#packages.get(name);
  }

  /** Notes what a script imports, once. */
  addImports(script: Script): void {
    if (script.path === undefined || script.isInternal || this.#seen.has(script)) return;
    this.#seen.add(script);
    let imports;
    try {
      ({ imports } = script.scopes);
    } catch {
      return;
    }
    for (const written of imports) {
      const specifier = viteSpecifier(written, script.path) ?? written;
      if (isBuiltin(specifier)) this.#addBuiltin(specifier);
      else if (script.packageName === undefined && !isRelative(specifier))
        this.#addPackage(specifier, script);
    }
  }

  #addBuiltin(specifier: string): void {
    const module = `require ${specifier.startsWith("node:") ? specifier : `node:${specifier}`}`;
    const value: unknown = process.getBuiltinModule(specifier);
    this.#add(value, { kind: "package", module, path: [] });
    this.#explore(value, { kind: "package", module, path: [] }, 2);
  }

  #addPackage(specifier: string, script: Script): void {
    const path = script.path ?? "";
    const found = this.packageOf(specifier, script);
    if (found === undefined) return;
    for (const [verb, conditions] of [
      ["import", IMPORT],
      ["require", undefined],
    ] as const) {
      const url = this.#resolve(path, specifier, conditions);
      const module = url === undefined ? undefined : this.#loadedModule(url);
      if (module === undefined) continue;
      // What import gives of a CommonJS module is its exports as the default export.
      const start = verb === "import" && !types.isModuleNamespaceObject(module.value) ? ["default"] : [];
      const place: Place = { kind: "package", module: `${verb} ${specifier}`, path: start };
      this.#add(module.value, place);
      this.#explore(module.value, place, EXPORT_DEPTH);
    }
  }

  /** For all files of a folder at once. */
  #resolve(path: string, specifier: string, conditions: readonly string[] | undefined): string | undefined {
    const key = `${conditions === undefined ? "require" : "import"} ${dirname(path)}\0${specifier}`;
    if (!this.#resolved.has(key)) this.#resolved.set(key, resolveFrom(path, specifier, conditions));
    return this.#resolved.get(key);
  }

  #loadedModule(url: string): { readonly value: unknown } | undefined {
    if (!url.startsWith("file:")) return undefined;
    const path = decodeURIComponent(new URL(url).pathname);
    const require = createRequire(url);
    const cached = require.cache[path];
    if (cached?.loaded === true) return { value: cached.exports };
    if (!this.#loaded.has(url)) return undefined;
    try {
      return { value: loadedModule(path) };
    } catch {
      // A module with top-level await cannot be had at once; its exports are found through import bindings.
      return undefined;
    }
  }

  #add(value: unknown, place: Place): boolean {
    const isObject = (typeof value === "object" && value !== null) || typeof value === "function";
    // A symbol that a package exports is a key that others have, too.
    const isKey = typeof value === "symbol" && wellKnownName(value) === undefined && isLocal(value);
    if ((!isObject && !isKey) || this.#places.has(value)) return false;
    this.#places.set(value, place);
    return true;
  }

  #addMembers(of: { readonly value: object; readonly place: Place }): { value: object; place: Place }[] {
    const added: { value: object; place: Place }[] = [];
    const changed = of.place.kind === "package" ? this.#changed.get(specifierOf(of.place)) : undefined;
    for (const [step, value] of members(of.value)) {
      const place = { ...of.place, path: [...of.place.path, step] };
      if (changed?.has(memberKey(place.path)) === true) continue;
      if (this.#add(value, place) && typeof value !== "symbol") added.push({ value: value as object, place });
    }
    return added;
  }

  #explore(start: unknown, place: Place, depth: number): void {
    if (typeof start === "symbol") return;
    let level: { readonly value: object; readonly place: Place }[] = [{ value: start as object, place }];
    for (let at = 0; at < depth && level.length > 0; at += 1) {
      level = level.flatMap((each) => this.#addMembers(each));
    }
  }
}

/** What stands in a member that was changed is the user's, not the package's: such members by specifier. */
function changedMembers(scripts: readonly Script[]): ReadonlyMap<string, ReadonlySet<string>> {
  const found = new Map<string, Set<string>>();
  for (const script of scripts)
    for (const { root, changed } of ownSetUps(script)) {
      const imported = changed === undefined ? undefined : importOf(root, script);
      if (imported === undefined || changed === undefined) continue;
      const known = changed.includes("*") ? changed.slice(0, changed.indexOf("*")) : changed;
      const ofModule = found.get(imported.specifier) ?? new Set();
      found.set(imported.specifier, ofModule.add(memberKey([...imported.path, ...known])));
    }
  return found;
}

/** A path, whichever way the module was loaded. */
function memberKey(path: readonly string[]): string {
  return path.filter((step) => step !== "default").join(" ");
}

function specifierOf({ module }: Place & { readonly kind: "package" }): string {
  return module.slice(module.indexOf(" ") + 1);
}

function isLocal(symbol: symbol): boolean {
  return Symbol.keyFor(symbol) === undefined;
}

/**
 * Exports of an ES module that is loaded. Not by `require`, where tsx makes another module of the same text, and runs it.
 */
function loadedModule(path: string): unknown {
  const module = new Module(path) as Module & {
    _compile(text: string, path: string, format: "module"): void;
  };
  module._compile(readFileSync(path, "utf8"), path, "module");
  return module.exports as unknown;
}

/** What hangs on an object, without calling anything. */
function* members(value: object): Generator<readonly [string, unknown]> {
  if (types.isProxy(value) || ArrayBuffer.isView(value)) return;
  for (const key of Reflect.ownKeys(value)) {
    const step = stepOf(key);
    const descriptor = step === undefined ? undefined : Object.getOwnPropertyDescriptor(value, key);
    if (step === undefined || descriptor === undefined) continue;
    if ("value" in descriptor) yield [step, descriptor.value];
    else if (isExport(descriptor)) yield [step, exportOf(value, key)];
    for (const part of ["get", "set"] as const)
      if (descriptor[part] !== undefined) yield [`${part} ${step}`, descriptor[part]];
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== null) yield ["[[Prototype]]", prototype];
}

/** What compilers write for a live export: reading it is reading a variable. */
const EXPORT_GETTER =
  /^(?:\(\)\s*=>\s*[\w$]+(?:\.[\w$]+|\[[\w$]+\])?|(?:function\s*)?(?:[\w$]+)?\s*\(\)\s*\{\s*return [\w$]+(?:\.[\w$]+)?;?\s*\})$/;

function isExport(descriptor: PropertyDescriptor): boolean {
  const getter: unknown = Reflect.get(descriptor, "get");
  const isLive = typeof getter === "function" && descriptor.set === undefined;
  return (
    isLive && descriptor.enumerable === true && EXPORT_GETTER.test(Function.prototype.toString.call(getter))
  );
}

function exportOf(value: object, key: PropertyKey): unknown {
  try {
    return Reflect.get(value, key);
  } catch {
    return undefined;
  }
}

const WELL_KNOWN = new Map<symbol, string>(
  Object.getOwnPropertyNames(Symbol)
    .map((name) => [Reflect.get(Symbol, name) as unknown, name] as const)
    .filter((entry): entry is readonly [symbol, string] => typeof entry[0] === "symbol"),
);

/** "iterator" of `Symbol.iterator`. */
export function wellKnownName(symbol: symbol): string | undefined {
  return WELL_KNOWN.get(symbol);
}

function stepOf(key: string | symbol): string | undefined {
  if (typeof key === "string") return /^(?:get |set |@@|\[\[|_)/.test(key) ? undefined : key;
  const name = WELL_KNOWN.get(key);
  return name === undefined ? undefined : `@@${name}`;
}

function isRelative(specifier: string): boolean {
  return /^(?:\.{0,2}\/|file:|data:|#|\.{1,2}$)/.test(specifier);
}

/** A model container has each package once: what the functions of the one file need would be another version's. */
function otherVersion(known: FoundPackage | undefined, at: FoundFile): string | undefined {
  if (known === undefined || known.version === at.version) return known?.problem;
  return `is imported in two versions, ${known.version} (${known.file}) and ${at.version} (${at.file}), and a model container has one`;
}

/** A package of this name and version that a registry has is another one, or none. */
function installProblem(name: string, imported: string, importer: string): string | undefined {
  if (name !== imported) return `is installed as ${imported}, another name than its own`;
  const spec = specOf(name, importer);
  return /^(?:file|link|portal):|^[./~]/.test(spec) ? `comes from ${spec}, which is only here` : undefined;
}

/** What the nearest package.json that knows the package says of it. */
function specOf(name: string, importer: string): string {
  for (let at = dirname(importer); ; at = dirname(at)) {
    const { dependencies, devDependencies, optionalDependencies } = readProject(join(at, "package.json"));
    const spec = dependencies?.[name] ?? devDependencies?.[name] ?? optionalDependencies?.[name];
    if (typeof spec === "string") return spec;
    if (dirname(at) === at) return "";
  }
}

type Specs = Readonly<Record<string, unknown>>;
interface Project {
  readonly dependencies?: Specs;
  readonly devDependencies?: Specs;
  readonly optionalDependencies?: Specs;
}

function readProject(path: string): Project {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as Project;
  } catch {
    return {};
  }
}

function packageAt(url: string): FoundFile | undefined {
  if (!url.startsWith("file:")) return undefined;
  const file = decodeURIComponent(new URL(url).pathname);
  const [, root] = /^(.*\/node_modules\/(?:@[^/]+\/)?[^/]+)\//s.exec(file) ?? [];
  if (root === undefined) return undefined;
  try {
    const { name, version } = JSON.parse(
      readFileSync(`${root}/package.json`, "utf8"),
    ) as Partial<FoundPackage>;
    return name === undefined || version === undefined ? undefined : { name, version, file };
  } catch {
    return undefined;
  }
}
