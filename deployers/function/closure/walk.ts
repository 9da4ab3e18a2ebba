// The walk over everything a function holds: value by value into the node table, by a list instead of recursion.
import {
  CONFIGURABLE,
  ENUMERABLE,
  WRITABLE,
  type Property,
  type Ref,
  type StateNode,
} from "../../../containers/closure-format.ts";
import { DataFile } from "./data-file.ts";
import { pristineGlobals } from "./globals.ts";
import { Heap } from "./heap.ts";
import type { Inspection } from "./inspect.ts";
import { types } from "node:util";
import type { Draft, NamespaceDraft, Source } from "./drafts.ts";
import { exportedVariable } from "./exports.ts";
import type { Script } from "./script.ts";
import { wellKnownName, type FoundPackage, type References } from "./references.ts";
import type { Problem } from "./refuse.ts";
import { Secrets } from "./secrets.ts";
import type { Template } from "./templates.ts";
import { newVariable, type Variable, type Variables } from "./variables.ts";

export type EncodeClass = (
  value: object,
  source: Source,
  at: { readonly path: string; readonly walk: Walk },
) => void;
export type Encode = (value: object, path: string, walk: Walk) => StateNode | undefined;

export interface WalkParts {
  readonly inspection: Inspection;
  readonly references: References;
  readonly variables: Variables;
  /** Gives the node of an object or a function; the walk has reserved its id. */
  readonly encode: Encode;
  /** Names of packages that may be imported by a computed name. */
  readonly declared: readonly string[] | undefined;
  readonly scripts: readonly Script[];
  readonly encodeClass: EncodeClass;
}

interface MembersPlace {
  readonly path: string;
  /** How the module was imported. */
  readonly from?: { readonly script: Script; readonly specifier: string };
  /** The node's id, where it has one. */
  readonly id?: number;
}

const MAX_PROBLEMS = 100;

export class Walk {
  readonly inspection: Inspection;
  readonly references: References;
  readonly variables: Variables;
  readonly declared: readonly string[] | undefined;
  readonly data: DataFile = new DataFile();
  readonly problems: Problem[] = [];
  readonly warnings: string[] = [];
  readonly secrets: Secrets = new Secrets();
  /** Packages that the code imports, by specifier. */
  readonly modules: Set<string> = new Set();
  readonly packages: Map<string, FoundPackage> = new Map();
  readonly nodes: (StateNode | undefined)[] = [];
  /** Private fields that classes declare, once looked up. */
  readonly privateNames: Map<object, readonly string[]> = new Map();
  readonly drafts: Draft[] = [];
  readonly namespaces: NamespaceDraft[] = [];
  /** The last region of a pool that was given out. */
  readonly regions: Map<
    ArrayBufferLike,
    { readonly id: number; readonly start: number; readonly end: number }
  > = new Map();
  /** Buffers cut from a pool, by the pool: where their bytes start and end. */
  readonly pooled: Map<
    ArrayBufferLike,
    { readonly id: number; readonly start: number; readonly end: number }[]
  > = new Map();
  /** WeakMaps and WeakSets, whose entries wait for their keys. */
  readonly weak: { readonly id: number; readonly value: object; readonly path: string }[] = [];
  readonly templates: Template[] = [];
  /** Private fields that may be on objects of others, with the name of the class that declares them. */
  readonly foreign: Map<string, string> = new Map();
  /** Exports that could not be followed to their variables: right only while nothing writes these. */
  readonly untraced: { readonly path: string; readonly value: unknown }[] = [];
  readonly scripts: readonly Script[];
  readonly #encode: Encode;
  readonly #encodeClass: EncodeClass;
  readonly #ids = new Map<object | symbol, number>();
  readonly #started = new Set<number>();
  readonly #paths: (readonly [number, string])[] = [];
  #heap: Heap | null | undefined;
  #pristine: object | undefined;
  readonly #queue: { readonly id: number; readonly value: object; readonly path: string }[] = [];

  constructor(parts: WalkParts) {
    this.inspection = parts.inspection;
    this.references = parts.references;
    this.variables = parts.variables;
    this.declared = parts.declared;
    this.scripts = parts.scripts;
    this.#encode = parts.encode;
    this.#encodeClass = parts.encodeClass;
  }

  /** How a value is written; objects are walked later, by `drain`. */
  ref(value: unknown, path: string): Ref {
    switch (typeof value) {
      case "undefined":
        return ["u"];
      case "boolean":
        return value;
      case "string":
        this.secrets.check(value, path);
        return value;
      case "number":
        if (Number.isFinite(value) && !Object.is(value, -0)) return value;
        return ["n", Object.is(value, -0) ? "-0" : String(value)];
      case "bigint":
        return ["i", String(value)];
      case "symbol":
        return this.#symbol(value);
      default:
        return value === null ? null : ["#", this.idOf(value as object, path)];
    }
  }

  /** Taken when something needs it; undefined: this process cannot have one. */
  get heap(): Heap | undefined {
    this.#heap ??= Heap.take(this.inspection) ?? null;
    return this.#heap ?? undefined;
  }

  /** Globals that nobody has changed. */
  get pristine(): object {
    return (this.#pristine ??= pristineGlobals());
  }

  /** Id of an object's node; known objects keep theirs. */
  idOf(value: object, path: string): number {
    const known = this.#ids.get(value);
    if (known !== undefined) return known;
    const id = this.reserve(value);
    this.#queue.push({ id, value, path });
    this.#paths.push([id, path]);
    return id;
  }

  /** An id whose node the caller sets. */
  reserve(value?: object | symbol): number {
    const id = this.nodes.push(undefined) - 1;
    if (value !== undefined) this.#ids.set(value, id);
    return id;
  }

  knownId(value: object | symbol): number | undefined {
    return this.#ids.get(value);
  }

  /** Makes an object's node something that its owner describes: a method of a class, a prototype. */
  claim(value: object, node: StateNode): number {
    const id = this.#ids.get(value) ?? this.reserve(value);
    this.nodes[id] = node;
    return id;
  }

  /** Whether a class describes an object as its method. */
  isMember(value: object): boolean {
    return this.nodes[this.#ids.get(value) ?? -1]?.kind === "member";
  }

  /** Whether the function holds an object, or has it by a name that means the same everywhere. */
  isReached(value: object | symbol): boolean {
    return this.#ids.has(value) || this.references.find(value) !== undefined;
  }

  drain(): void {
    for (let next = this.#queue.pop(); next !== undefined; next = this.#queue.pop()) {
      const { id, value, path } = next;
      if (this.problems.length < MAX_PROBLEMS) this.#encodeOnce(id, value, path);
    }
  }

  /** Walks an object before all others that wait: a class before what its prototype holds. */
  encodeNow(value: object, path: string): number {
    const id = this.idOf(value, path);
    this.#encodeOnce(id, value, path);
    return id;
  }

  #encodeOnce(id: number, value: object, path: string): void {
    if (this.nodes[id] !== undefined || this.#started.has(id)) return;
    this.#started.add(id);
    const node = this.#encode(value, path, this);
    if (this.nodes[id] === undefined && node !== undefined) this.nodes[id] = node;
  }

  /** Objects and symbols with the ids of their nodes. */
  objects(): Iterable<readonly [value: object | symbol, id: number]> {
    return this.#ids;
  }

  /** Nodes of objects with the path on which each was found first. */
  paths(): readonly (readonly [id: number, path: string])[] {
    return this.#paths;
  }

  refuse(path: string, reason: string, hint: string): undefined {
    this.problems.push({ path, reason, hint });
    return undefined;
  }

  /** The node of something that is found again in the container. */
  place(value: unknown): StateNode | undefined {
    const place = this.references.find(value);
    if (place?.kind === "package") this.modules.add(place.module);
    return place;
  }

  /** Name of the package that a function's text is in. */
  packageOfFunction(value: unknown): string | undefined {
    return typeof value === "function"
      ? this.inspection.describeFunction(value).script?.packageName
      : undefined;
  }

  encodeClass(value: object, source: Source, path: string): undefined {
    this.#encodeClass(value, source, { path, walk: this });
    return undefined;
  }

  /** An export of a package or a builtin module. */
  packageRef(module: string, path: readonly string[]): Ref {
    this.modules.add(module);
    const id = this.nodes.push({ kind: "package", module, path }) - 1;
    return ["#", id];
  }

  /** Notes the package that a specifier of a script leads to. */
  addPackage(specifier: string, script: Script): void {
    const found = this.references.packageOf(specifier, script);
    if (found !== undefined) this.packages.set(found.name, found);
  }

  /** An object that has only these members of a module. */
  members(value: object, names: readonly string[], { path, from, id: given }: MembersPlace): Ref {
    const target = (types.isProxy(value) ? this.inspection.proxyTarget(value) : value) as object;
    if (!types.isModuleNamespaceObject(target)) return this.#objectMembers(target, names, path);
    const id = given ?? this.reserve();
    const members = names.map((name) => {
      const at = `${path}.${name}`;
      const found = from && exportedVariable({ ...from, name }, this.scripts);
      const make = (): Variable => {
        const each = this.#member(target, name, at);
        return newVariable({ name, value: each, path: at, ref: this.ref(each, at) });
      };
      if (found === undefined) {
        const variable = make();
        this.untraced.push({ path: at, value: variable.value });
        return [name, variable] as const;
      }
      const { script } = found;
      const declaration = { script, scope: script.scopes.program, name: found.name, instance: undefined };
      return [name, this.variables.at(declaration, make)] as const;
    });
    this.namespaces.push({ id, members });
    return ["#", id];
  }

  #member(target: object, name: string, path: string): unknown {
    try {
      return memberOf(target, name);
    } catch {
      return this.refuse(path, "has no value yet: its declaration has not run", "deploy after it");
    }
  }

  #objectMembers(target: object, names: readonly string[], path: string): Ref {
    const known = this.#ids.get(target);
    if (known !== undefined) return ["#", known];
    const id = this.reserve();
    const properties = names.flatMap((name): Property[] => {
      const descriptor = descriptorOf(target, name);
      const at = `${path}.${name}`;
      if (descriptor === undefined) return [];
      if ("value" in descriptor)
        return [[name, WRITABLE | ENUMERABLE | CONFIGURABLE, this.ref(descriptor.value, at)]];
      const [get, set] = (["get", "set"] as const).map((part) => this.ref(descriptor[part], at));
      return [[name, ENUMERABLE | CONFIGURABLE, get ?? null, set ?? null]];
    });
    this.nodes[id] = { kind: "object", properties };
    return ["#", id];
  }

  #symbol(symbol: symbol): Ref {
    const known = this.#ids.get(symbol);
    if (known !== undefined) return ["#", known];
    const id = this.reserve(symbol);
    const name = wellKnownName(symbol);
    const place = this.references.find(symbol);
    const key = Symbol.keyFor(symbol);
    const { description } = symbol;
    if (name !== undefined) this.nodes[id] = { kind: "global", path: ["Symbol", name] };
    else if (place !== undefined) this.nodes[id] = place;
    else if (key !== undefined) this.nodes[id] = { kind: "symbol", key };
    else this.nodes[id] = { kind: "symbol", ...(description === undefined ? {} : { description }) };
    return ["#", id];
  }
}

function descriptorOf(value: object, key: string): PropertyDescriptor | undefined {
  for (let at: object | null = value; at !== null; at = Object.getPrototypeOf(at) as object | null) {
    const descriptor = Object.getOwnPropertyDescriptor(at, key);
    if (descriptor !== undefined) return descriptor;
  }
  return undefined;
}

/** An export, also one that Vite takes from the default export of a CommonJS module. */
export function memberOf(module: object, name: string): unknown {
  if (Reflect.has(module, name)) return Reflect.get(module, name);
  const exported: unknown = Reflect.get(module, "default");
  return typeof exported === "object" && exported !== null ? descriptorOf(exported, name)?.value : undefined;
}
