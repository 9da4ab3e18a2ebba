// How a live function is written down: the node table of its captured state, and names for what every Node has.
// Imports nothing of ours: both the deployer that writes it and the container that reads it use this one file.
import { EventEmitter } from "node:events";

/** A value: JSON's own, or a short list for what JSON lacks, or `["#", id]` for a node of the table. */
export type Ref =
  | null
  | boolean
  | number
  | string
  | readonly ["u"]
  | readonly ["n", string]
  | readonly ["i", string]
  | readonly ["#", number];

/** Bits of a property's flags. */
export const WRITABLE = 1;
export const ENUMERABLE = 2;
export const CONFIGURABLE = 4;

/** Key, flags, value; an accessor has getter and setter instead. */
export type Property = readonly [Ref, number, Ref] | readonly [Ref, number, Ref, Ref];

/** What any object can have beside what its kind says. */
export interface Shape {
  /** Undefined: the prototype that its kind has by itself. */
  readonly proto?: Ref;
  readonly properties?: readonly Property[];
  readonly isFixed?: true;
  /** Private fields: class (its node), name, value. */
  readonly privates?: readonly (readonly [number, string, Ref])[];
}

/** A name in a function's text, and what it stands for. */
export type Capture = readonly [name: string, value: Ref];

export type StateNode = Shape &
  (
    | { readonly kind: "global"; readonly path: readonly string[] }
    | { readonly kind: "package"; readonly module: string; readonly path: readonly string[] }
    | { readonly kind: "require" }
    | { readonly kind: "symbol"; readonly description?: string; readonly key?: string }
    | { readonly kind: "object" }
    | { readonly kind: "array"; readonly length: number; readonly items?: readonly Ref[] }
    | { readonly kind: "numbers"; readonly at: number; readonly length: number }
    | { readonly kind: "map"; readonly entries: readonly (readonly [Ref, Ref])[] }
    | { readonly kind: "set"; readonly entries: readonly Ref[] }
    | { readonly kind: "date"; readonly time: Ref }
    | { readonly kind: "regexp"; readonly source: string; readonly flags: string }
    | { readonly kind: "error" }
    | { readonly kind: "boxed"; readonly value: Ref }
    | { readonly kind: "buffer"; readonly at: number; readonly length: number; readonly maxLength?: number }
    | {
        readonly kind: "view";
        readonly type: string;
        readonly buffer: Ref;
        readonly offset: number;
        /** Undefined: it follows a buffer that can grow. */
        readonly length?: number;
      }
    | { readonly kind: "url"; readonly text: string }
    | { readonly kind: "parameters"; readonly text: string; readonly of?: Ref }
    | { readonly kind: "weakmap"; readonly entries: readonly (readonly [Ref, Ref])[] }
    | { readonly kind: "weakset"; readonly entries: readonly Ref[] }
    | {
        /** Made anew by its constructor, from parameters that say all of it. */
        readonly kind: "made";
        readonly of: Ref;
        readonly parameters: readonly Ref[];
        /** Registry that is told of it, and what. */
        readonly noted?: readonly [registry: Ref, text: Ref];
      }
    | {
        readonly kind: "bound";
        readonly target: Ref;
        readonly self: Ref;
        readonly parameters: readonly Ref[];
      }
    | {
        readonly kind: "function" | "class";
        readonly code: string;
        readonly constants: readonly Capture[];
        readonly late: readonly Capture[];
      }
    | { readonly kind: "prototype"; readonly of: number }
    | {
        readonly kind: "member";
        readonly of: number;
        readonly on: "prototype" | "class";
        readonly key: Ref;
        readonly part: "value" | "get" | "set";
      }
    | { readonly kind: "cell"; readonly value: Ref }
    | { readonly kind: "namespace"; readonly members: readonly Capture[]; readonly cells: readonly Capture[] }
  );

/** `state.json`. */
export interface ClosureState {
  readonly format: 1;
  readonly nodes: readonly StateNode[];
  /** Functions without parameters that set packages up, and run before anything is made. */
  readonly prepare: readonly Ref[];
  readonly entry: Ref;
  readonly setup: Ref;
}

/** Byte alignment of everything in the data file. */
export const ALIGNMENT = 8;

function* generator(): Generator {}
async function* asyncGenerator(): AsyncGenerator {}

/** Keys of every event emitter that Node gives to nobody. */
function emitterSymbols(): Readonly<Record<string, symbol>> {
  const symbols = Object.getOwnPropertySymbols(new EventEmitter());
  return Object.fromEntries(symbols.map((symbol) => [`%EventEmitter ${symbol.description}%`, symbol]));
}

/** Objects that every Node has and no global leads to, by the name that paths use. */
function hiddenRoots(): Readonly<Record<string, unknown>> {
  const proto = Object.getPrototypeOf as (value: unknown) => object;
  return {
    "%AsyncFunctionPrototype%": proto(async () => {}),
    "%GeneratorFunctionPrototype%": proto(generator),
    "%AsyncGeneratorFunctionPrototype%": proto(asyncGenerator),
    "%TypedArray%": proto(Int8Array),
    "%ArrayIteratorPrototype%": proto([].values()),
    "%MapIteratorPrototype%": proto(new Map().values()),
    "%SetIteratorPrototype%": proto(new Set().values()),
    "%StringIteratorPrototype%": proto(""[Symbol.iterator]()),
    "%AsyncIteratorPrototype%": proto(proto(proto(asyncGenerator.prototype))),
    ...emitterSymbols(),
  };
}

const GLOBAL_NAMES: readonly string[] = (
  "Object Function Array Number Boolean String Symbol BigInt Math JSON Reflect Atomics Map Set Date RegExp Promise " +
  "Proxy WeakMap WeakSet WeakRef FinalizationRegistry ArrayBuffer SharedArrayBuffer DataView Int8Array Uint8Array " +
  "Uint8ClampedArray Int16Array Uint16Array Int32Array Uint32Array Float16Array Float32Array Float64Array " +
  "BigInt64Array BigUint64Array Error EvalError RangeError ReferenceError SyntaxError TypeError URIError " +
  "AggregateError Iterator Intl WebAssembly parseInt parseFloat isNaN isFinite encodeURIComponent " +
  "decodeURIComponent encodeURI decodeURI escape unescape Buffer URL URLSearchParams TextEncoder TextDecoder " +
  "AbortController AbortSignal Event EventTarget structuredClone queueMicrotask setTimeout clearTimeout setInterval " +
  "clearInterval setImmediate clearImmediate fetch Headers Request Response FormData Blob File performance atob btoa " +
  "crypto DOMException MessageChannel ReadableStream WritableStream TransformStream process console SuppressedError " +
  "DisposableStack AsyncDisposableStack"
).split(" ");

/** Roots of paths: the globals that are the same everywhere, and the hidden ones. Never calls a getter of the user's. */
export function closureRoots(): ReadonlyMap<string, unknown> {
  const roots = new Map<string, unknown>([["globalThis", globalThis]]);
  for (const name of GLOBAL_NAMES) {
    const value: unknown = Reflect.get(globalThis, name);
    if (value !== undefined) roots.set(name, value);
  }
  for (const [name, value] of Object.entries(hiddenRoots())) roots.set(name, value);
  roots.set("process.env", process.env);
  return roots;
}

/** Globals that stay references and are not walked: what they hold belongs to the process. */
export const OPAQUE_ROOTS: ReadonlySet<string> = new Set([
  "globalThis",
  "process",
  "process.env",
  "console",
  "performance",
  "crypto",
]);

/** A key in a path: symbols of `Symbol` are written "@@iterator". */
function pathKey(key: string): PropertyKey {
  return key.startsWith("@@") ? (Reflect.get(Symbol, key.slice(2)) as symbol) : key;
}

/** Follows a path; "get …" and "set …" stand for the functions of an accessor, "[[Prototype]]" for the prototype. */
export function followPath(root: unknown, path: readonly string[]): unknown {
  let value = root;
  for (const step of path) {
    const accessor = /^(get|set) (.*)$/s.exec(step);
    if (step === "[[Prototype]]") value = Object.getPrototypeOf(value);
    else if (accessor === null) value = Reflect.get(value as object, pathKey(step));
    else
      value = Object.getOwnPropertyDescriptor(value, pathKey(accessor[2] ?? ""))?.[
        accessor[1] as "get" | "set"
      ];
    if (value === undefined) throw new Error(`this Node has no ${path.join(".")}`);
  }
  return value;
}
