// Loads a live function: makes the objects of its state, runs its factories, and ties the two together.
import { closeSync, openSync, readFileSync, readSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import {
  closureRoots,
  followPath,
  type Capture,
  type ClosureState,
  type Ref,
  type StateNode,
} from "../closure-format.ts";
import { showAuthorsLines } from "../user-function.ts";
import {
  contentsOf,
  fillKind,
  finish,
  hasContents,
  newObject,
  plainShell,
  type Values,
} from "./closure-values.ts";

export interface ClosureFiles {
  readonly codeFile: string;
  readonly packagesFile: string;
  readonly stateFile: string;
  readonly dataFile: string;
}

export interface LoadedClosure {
  readonly fn: (...parameters: readonly unknown[]) => unknown;
  readonly setup: (() => unknown) | undefined;
}

type Factory = (constants: object) => readonly [made: object, set: (late: object) => void];

interface PackagesModule {
  readonly require: NodeJS.Require;
  readonly modules: Readonly<Record<string, unknown>>;
}

/** @throws Error when a package or a part of Node is missing, or the files do not fit together */
export async function loadClosure(modelDir: string, files: ClosureFiles): Promise<LoadedClosure> {
  showAuthorsLines();
  const packages = (await import(pathToFileURL(join(modelDir, files.packagesFile)).href)) as PackagesModule;
  const require = createRequire(join(modelDir, files.codeFile));
  const factories = require(`./${files.codeFile}`) as Readonly<Record<string, Factory>>;
  const state = JSON.parse(readFileSync(join(modelDir, files.stateFile), "utf8")) as ClosureState;
  const data = openSync(join(modelDir, files.dataFile), "r");
  try {
    const decoder = new Decoder(state.nodes, { packages, factories, data });
    await decoder.prepare(state.prepare);
    decoder.run();
    const fn = decoder.value(state.entry);
    const setup = decoder.value(state.setup);
    if (typeof fn !== "function") throw new Error(`${files.stateFile} holds no function`);
    return {
      fn: fn as LoadedClosure["fn"],
      setup: typeof setup === "function" ? (setup as () => unknown) : undefined,
    };
  } finally {
    closeSync(data);
  }
}

type Constructor = new (...parameters: readonly unknown[]) => object;

/**
 * Puts the private fields of a class on an object, or on a new one. What `super` makes is what the class above gives,
 * so for this moment that is a function that gives the object; a class without one makes the object itself.
 */
function constructOn(owner: Constructor, made: object | undefined, shell: () => object): object {
  const base = Object.getPrototypeOf(owner) as object | null;
  if (made === undefined && base === Function.prototype) return Reflect.construct(owner, []);
  const object = made ?? shell();
  function Given(): object {
    return object;
  }
  Object.setPrototypeOf(owner, Given);
  try {
    return Reflect.construct(owner, []);
  } catch {
    // A package's constructor runs on without parameters; what counts has happened when its `super` was done.
    return object;
  } finally {
    Object.setPrototypeOf(owner, base);
  }
}

interface Parts {
  readonly packages: PackagesModule;
  readonly factories: Readonly<Record<string, Factory>>;
  readonly data: number;
}

const NOT_MADE: unique symbol = Symbol("not made");

class Decoder implements Values {
  readonly #nodes: readonly StateNode[];
  readonly #parts: Parts;
  readonly #roots = closureRoots();
  readonly #values: unknown[];
  readonly #setters = new Map<number, (late: object) => void>();
  readonly #blank = { on: false };
  readonly #filled = new Set<number>();

  constructor(nodes: readonly StateNode[], parts: Parts) {
    this.#nodes = nodes;
    this.#parts = parts;
    this.#values = Array.from({ length: nodes.length }, () => NOT_MADE);
  }

  /** Packages as they were set up: others look things up in them. */
  async prepare(functions: readonly Ref[]): Promise<void> {
    for (const ref of functions) {
      const node = Array.isArray(ref) ? this.#nodes[ref[1] as number] : undefined;
      if (node?.kind === "function") this.#settle(node.constants.map(([, constant]) => constant));
      await (this.value(ref) as () => Promise<void>)();
    }
  }

  /** First every object, then what is in them, then what makes them fixed; nothing of the user's runs in between. */
  run(): void {
    for (const id of this.#nodes.keys()) this.#make(id);
    for (const [id, node] of this.#nodes.entries()) this.#fill(id, node);
    for (const [id, node] of this.#nodes.entries()) finish(this.#values[id], node);
  }

  value(ref: Ref): unknown {
    if (!Array.isArray(ref)) return ref;
    const [tag, what] = ref as readonly [string, (string | number)?];
    if (tag === "#") return this.#make(what as number);
    if (tag === "i") return BigInt(what ?? 0);
    return tag === "n" ? Number(what) : undefined;
  }

  bytes(at: number, length: number, maxLength?: number): ArrayBuffer {
    const buffer =
      maxLength === undefined
        ? new ArrayBuffer(length)
        : new ArrayBuffer(length, { maxByteLength: maxLength });
    const view = new Uint8Array(buffer);
    for (let done = 0; done < length;) {
      const read = readSync(this.#parts.data, view, done, Math.min(2 ** 30, length - done), at + done);
      if (read === 0) throw new Error("the data file is shorter than the state says");
      done += read;
    }
    return buffer;
  }

  #make(id: number): unknown {
    const known = this.#values[id];
    if (known !== NOT_MADE) return known;
    const node = this.#nodes[id];
    if (node === undefined) throw new Error(`the state has no node ${id}`);
    const made = this.#shell(id, node);
    this.#values[id] = made;
    return made;
  }

  #shell(id: number, node: StateNode): unknown {
    switch (node.kind) {
      case "global":
        return followPath(this.#roots.get(node.path[0] ?? ""), node.path.slice(1));
      case "package":
        return this.#exported(node.module, node.path);
      case "made":
        return this.#madeAnew(node);
      case "require":
        return this.#parts.packages.require;
      case "function":
      case "class":
        return this.#run(id, node);
      case "prototype":
        return Reflect.get(this.#make(node.of) as object, "prototype");
      case "member":
        return this.#member(node);
      case "bound":
        return Function.prototype.bind.apply(this.value(node.target) as () => unknown, [
          this.value(node.self),
          ...node.parameters.map((each) => this.value(each)),
        ]) as unknown;
      default:
        return node.privates === undefined ? plainShell(node, this) : this.#blankInstance(node);
    }
  }

  #exported(module: string, path: readonly string[]): unknown {
    const start = this.#parts.packages.modules[module] as object;
    const [name = ""] = path;
    // An export may be undefined; a step that is none, such as "[[Prototype]]", is no export.
    return path.length === 1 && name in start ? Reflect.get(start, name) : followPath(start, path);
  }

  #run(id: number, node: StateNode & { readonly kind: "function" | "class" }): unknown {
    const factory = this.#parts.factories[node.code];
    if (factory === undefined) throw new Error(`the code file has no ${node.code}`);
    const constants = this.#captures(node.constants);
    Reflect.set(constants, "$wj_blank", this.#blank);
    const [made, set] = factory(constants);
    this.#setters.set(id, set);
    return made;
  }

  #captures(captures: readonly Capture[]): object {
    const values = newObject();
    for (const [name, ref] of captures) Reflect.set(values, name, this.value(ref));
    return values;
  }

  #member(node: StateNode & { readonly kind: "member" }): unknown {
    const owner = this.#make(node.of) as object;
    const holder = node.on === "class" ? owner : (Reflect.get(owner, "prototype") as object);
    const descriptor = Object.getOwnPropertyDescriptor(holder, this.value(node.key) as PropertyKey);
    const found: unknown = descriptor?.[node.part];
    if (found === undefined) throw new Error(`a class has lost its member ${String(node.key)}`);
    return found;
  }

  /** Private fields exist only on what their class has constructed, so it does, but nobody's constructor runs. */
  #blankInstance(node: StateNode): unknown {
    const owners = new Set((node.privates ?? []).map(([owner]) => this.#make(owner) as Constructor));
    this.#blank.on = true;
    try {
      let made: object | undefined;
      for (const owner of owners) made = constructOn(owner, made, () => plainShell(node, this) as object);
      for (const key of Reflect.ownKeys(made ?? {})) Reflect.deleteProperty(made ?? {}, key);
      return made;
    } finally {
      this.#blank.on = false;
    }
  }

  /** What a constructor that makes an object anew reads of its parameters has to be there. */
  #madeAnew({ of, parameters }: StateNode & { readonly kind: "made" }): unknown {
    this.#settle(parameters);
    return Reflect.construct(
      this.value(of) as Constructor,
      parameters.map((each) => this.value(each)),
    );
  }

  /** Fills plain data before its turn. */
  #settle(refs: readonly Ref[]): void {
    const open = [...refs];
    for (let ref = open.pop(); ref !== undefined; ref = open.pop()) {
      if (!Array.isArray(ref) || ref[0] !== "#") continue;
      const id = ref[1] as number;
      const node = this.#nodes[id];
      if (node === undefined || this.#filled.has(id) || !hasContents(node)) continue;
      this.#make(id);
      this.#fill(id, node);
      open.push(...contentsOf(node));
    }
  }

  #fill(id: number, node: StateNode): void {
    if (this.#filled.has(id)) return;
    this.#filled.add(id);
    if (node.kind === "function" || node.kind === "class") {
      this.#setters.get(id)?.(this.#captures(node.late));
    }
    const value = this.#values[id];
    for (const [owner, name, ref] of node.privates ?? []) {
      const write = Object.getOwnPropertyDescriptor(this.#make(owner), "$wj_write")?.value as
        | ((object: unknown, name: string, value: unknown) => void)
        | undefined;
      write?.(value, name, this.value(ref));
    }
    fillKind(value, node, this);
  }
}
