// The objects of a live function's state, kind by kind: first empty, then filled, then as fixed as they were.
import {
  CONFIGURABLE,
  ENUMERABLE,
  WRITABLE,
  type Property,
  type Ref,
  type StateNode,
} from "../closure-format.ts";

/** What the objects of a state are made with. */
export interface Values {
  value(ref: Ref): unknown;
  bytes(at: number, length: number, maxLength?: number): ArrayBuffer;
}

/** An object without a prototype: names of captured variables are its keys. */
export function newObject(): object {
  return Object.create(null) as object;
}

/** An object of its kind and prototype, still empty. */
export function plainShell(node: StateNode, values: Values): unknown {
  const made = kindShell(node, values);
  if (node.proto !== undefined && typeof made === "object" && made !== null)
    Object.setPrototypeOf(made, values.value(node.proto) as object | null);
  return made;
}

type Shells = {
  readonly [K in StateNode["kind"]]?: (node: StateNode & { readonly kind: K }, values: Values) => unknown;
};

const SHELLS: Shells = {
  symbol: ({ key, description }) => (key === undefined ? Symbol(description) : Symbol.for(key)),
  array: ({ items, length }) => (items === undefined ? sized(length) : []),
  numbers: ({ at, length }, values) => Array.from(new Float64Array(values.bytes(at, length * 8))),
  map: () => new Map(),
  set: () => new Set(),
  weakmap: () => new WeakMap(),
  weakset: () => new WeakSet(),
  date: ({ time }, values) => new Date(values.value(time) as number),
  regexp: ({ source, flags }) => new RegExp(source, flags),
  error: () => bare(new Error("made by the loader")),
  boxed: ({ value }, values) => Object(values.value(value)) as unknown,
  buffer: ({ at, length, maxLength }, values) => values.bytes(at, length, maxLength),
  view: viewShell,
  url: ({ text }) => new URL(text),
  parameters: ({ text, of }, values) =>
    of === undefined ? new URLSearchParams(text) : (values.value(of) as URL).searchParams,
  namespace: newObject,
  cell: newObject,
};

function kindShell(node: StateNode, values: Values): unknown {
  const shell = SHELLS[node.kind] as ((each: StateNode, from: Values) => unknown) | undefined;
  return shell === undefined ? {} : shell(node, values);
}

function sized(length: number): unknown[] {
  const list: unknown[] = [];
  list.length = length;
  return list;
}

/** An error without message and stack; what it had is defined later. */
function bare(error: Error): Error {
  for (const key of Reflect.ownKeys(error)) Reflect.deleteProperty(error, key);
  return error;
}

type ViewConstructor = new (buffer: ArrayBuffer, offset: number, length?: number) => ArrayBufferView;

function viewShell(node: StateNode & { readonly kind: "view" }, values: Values): ArrayBufferView {
  const buffer = values.value(node.buffer) as ArrayBuffer;
  if (node.type === "Buffer") return Buffer.from(buffer, node.offset, node.length);
  const constructor = Reflect.get(globalThis, node.type) as ViewConstructor;
  return node.length === undefined
    ? new constructor(buffer, node.offset)
    : new constructor(buffer, node.offset, node.length);
}

const OF_FUNCTIONS: ReadonlySet<string> = new Set(["function", "class", "prototype", "bound"]);

/** Puts contents and properties in. */
export function fillKind(value: unknown, node: StateNode, values: Values): void {
  if (OF_FUNCTIONS.has(node.kind)) return fillFunction(value as object, node, values);
  fillContents(value as object, node, values);
  if (node.privates !== undefined && node.proto !== undefined)
    Object.setPrototypeOf(value, values.value(node.proto) as object | null);
  for (const property of node.properties ?? []) define(value as object, property, values);
}

type Fills = {
  readonly [K in StateNode["kind"]]?: (
    value: object,
    node: StateNode & { readonly kind: K },
    values: Values,
  ) => void;
};

/** The built-in methods themselves: a subclass may have its own. */
const FILLS: Fills = {
  array: (value, { items = [] }, values) => {
    for (const item of items) (value as unknown[]).push(values.value(item));
  },
  map: (value, { entries }, values) => {
    for (const [key, each] of entries) Map.prototype.set.call(value, values.value(key), values.value(each));
  },
  set: (value, { entries }, values) => {
    for (const each of entries) Set.prototype.add.call(value, values.value(each));
  },
  weakmap: (value, { entries }, values) => {
    for (const [key, each] of entries)
      WeakMap.prototype.set.call(value, values.value(key) as WeakKey, values.value(each));
  },
  weakset: (value, { entries }, values) => {
    for (const each of entries) WeakSet.prototype.add.call(value, values.value(each) as WeakKey);
  },
  made: note,
  cell: (value, { value: held }, values) => {
    Reflect.set(value, "v", values.value(held));
  },
  namespace: fillNamespace,
};

function fillContents(value: object, node: StateNode, values: Values): void {
  const fill = FILLS[node.kind] as ((of: object, each: StateNode, from: Values) => void) | undefined;
  fill?.(value, node, values);
}

function note(value: object, node: StateNode & { readonly kind: "made" }, values: Values): void {
  if (node.noted === undefined) return;
  const [registry, text] = node.noted.map((each) => values.value(each));
  (registry as { add(of: object, text: unknown): void }).add(value, text);
}

/** What a function or prototype has by itself goes, where the original had it no more. */
function fillFunction(value: object, node: StateNode, values: Values): void {
  if (node.proto !== undefined) Object.setPrototypeOf(value, values.value(node.proto) as object | null);
  const kept = new Set((node.properties ?? []).map(([key]) => values.value(key) as PropertyKey));
  for (const key of Reflect.ownKeys(value))
    if (!kept.has(key) && key !== "$wj_write") Reflect.deleteProperty(value, key);
  for (const property of node.properties ?? []) define(value, property, values);
}

function fillNamespace(
  value: object,
  node: StateNode & { readonly kind: "namespace" },
  values: Values,
): void {
  for (const [name, ref] of node.members)
    Object.defineProperty(value, name, { value: values.value(ref), enumerable: true });
  for (const [name, ref] of node.cells) {
    const cell = values.value(ref) as { readonly v: unknown };
    Object.defineProperty(value, name, { get: () => cell.v, enumerable: true });
  }
}

function define(value: object, [key, flags, first, second]: Property, values: Values): void {
  const common = { enumerable: (flags & ENUMERABLE) !== 0, configurable: (flags & CONFIGURABLE) !== 0 };
  const descriptor: PropertyDescriptor =
    second === undefined
      ? { ...common, value: values.value(first), writable: (flags & WRITABLE) !== 0 }
      : {
          ...common,
          get: values.value(first) as () => unknown,
          set: values.value(second) as (each: unknown) => void,
        };
  Object.defineProperty(value, values.value(key) as PropertyKey, descriptor);
}

const CONTAINERS: ReadonlySet<string> = new Set(["object", "array", "map", "set"]);

/** Whether it is plain data that holds other values. */
export function hasContents(node: StateNode): boolean {
  return CONTAINERS.has(node.kind) && node.privates === undefined;
}

/** The values in plain data. */
export function contentsOf(node: StateNode): readonly Ref[] {
  const inside = node.kind === "array" ? (node.items ?? []) : node.kind === "set" ? node.entries : [];
  const pairs = node.kind === "map" ? node.entries.flat() : [];
  const properties = (node.properties ?? []).flatMap(([, , first, second]) =>
    second === undefined ? [first] : [],
  );
  return [...inside, ...pairs, ...properties];
}

/** Takes the loader's own help off classes, and closes what was closed. */
export function finish(value: unknown, node: StateNode): void {
  if (node.kind === "class") Reflect.deleteProperty(value as object, "$wj_write");
  if (node.isFixed === true) Object.preventExtensions(value as object);
}
