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

function kindShell(node: StateNode, values: Values): unknown {
  switch (node.kind) {
    case "symbol":
      return node.key === undefined ? Symbol(node.description) : Symbol.for(node.key);
    case "array":
      return node.items === undefined ? sized(node.length) : [];
    case "numbers":
      return Array.from(new Float64Array(values.bytes(node.at, node.length * 8)));
    case "map":
      return new Map();
    case "set":
      return new Set();
    case "date":
      return new Date(values.value(node.time) as number);
    case "regexp":
      return new RegExp(node.source, node.flags);
    case "error":
      return bare(new Error("made by the loader"));
    case "boxed":
      return Object(values.value(node.value));
    case "buffer":
      return values.bytes(node.at, node.length, node.maxLength);
    case "view":
      return viewShell(node, values);
    case "url":
      return new URL(node.text);
    case "parameters":
      return new URLSearchParams(node.text);
    case "namespace":
    case "cell":
      return newObject();
    default:
      return {};
  }
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

/** Puts contents and properties in. */
export function fillKind(value: unknown, node: StateNode, values: Values): void {
  if (node.kind === "array" && node.items !== undefined) {
    const list = value as unknown[];
    for (const item of node.items) list.push(values.value(item));
  } else if (node.kind === "map") {
    for (const [key, each] of node.entries)
      Map.prototype.set.call(value, values.value(key), values.value(each));
  } else if (node.kind === "set") {
    for (const each of node.entries) Set.prototype.add.call(value, values.value(each));
  } else if (node.kind === "cell") {
    Reflect.set(value as object, "v", values.value(node.value));
  } else if (node.kind === "namespace") fillNamespace(value as object, node, values);
  else if (
    node.kind === "function" ||
    node.kind === "class" ||
    node.kind === "prototype" ||
    node.kind === "bound"
  ) {
    fillFunction(value as object, node, values);
    return;
  } else if (node.privates !== undefined && node.proto !== undefined) {
    Object.setPrototypeOf(value, values.value(node.proto) as object | null);
  }
  for (const property of node.properties ?? []) define(value as object, property, values);
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

/** Takes the loader's own help off classes, and closes what was closed. */
export function finish(value: unknown, node: StateNode): void {
  if (node.kind === "class") Reflect.deleteProperty(value as object, "$wj_write");
  if (node.isFixed === true) Object.preventExtensions(value as object);
}
