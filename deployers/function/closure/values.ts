// Nodes of data: arrays, objects and the kinds that JavaScript has built in, with their properties.
import { types } from "node:util";
import { EventEmitter } from "node:events";
import {
  CONFIGURABLE,
  ENUMERABLE,
  WRITABLE,
  type Property,
  type Ref,
  type Shape,
  type StateNode,
} from "../../../containers/closure-format.ts";
import { isNative } from "./globals.ts";
import { className, HINTS, refusal } from "./refuse.ts";
import { isPool } from "./pooled.ts";
import { noteTemplate, refuseTemplate } from "./templates.ts";
import type { Walk } from "./walk.ts";
import { encodeWeak } from "./weak.ts";

interface Kind {
  readonly test: (value: object) => boolean;
  /** The prototype it has by itself. */
  readonly proto: object;
  readonly node: (value: object, path: string, walk: Walk) => StateNode | undefined;
  /** Own keys that the node holds already. */
  readonly holds?: (key: string | symbol) => boolean;
}

const NUMBERS_FROM = 256;
const MAX_INDEX = 2 ** 32 - 2;
const isIndex = (key: string | symbol): boolean =>
  typeof key === "string" && /^(?:0|[1-9]\d{0,9})$/.test(key) && Number(key) <= MAX_INDEX;

const KINDS: readonly Kind[] = [
  {
    test: Array.isArray,
    proto: Array.prototype,
    node: encodeArray,
    holds: (key) => isIndex(key) || key === "length",
  },
  { test: types.isMap, proto: Map.prototype, node: encodeMap },
  { test: types.isSet, proto: Set.prototype, node: encodeSet },
  { test: types.isWeakMap, proto: WeakMap.prototype, node: encodeWeak },
  { test: types.isWeakSet, proto: WeakSet.prototype, node: encodeWeak },
  {
    test: types.isDate,
    proto: Date.prototype,
    node: (value, path, walk) => ({
      kind: "date",
      time: walk.ref(Date.prototype.getTime.call(value), path),
    }),
  },
  {
    test: types.isRegExp,
    proto: RegExp.prototype,
    node: (value) => {
      const copy = new RegExp(value as RegExp);
      return { kind: "regexp", source: copy.source, flags: copy.flags };
    },
  },
  { test: types.isNativeError, proto: Error.prototype, node: () => ({ kind: "error" }) },
  { test: types.isArrayBuffer, proto: ArrayBuffer.prototype, node: encodeBuffer },
  { test: (value) => ArrayBuffer.isView(value), proto: Object.prototype, node: encodeView, holds: isIndex },
  {
    test: types.isBoxedPrimitive,
    proto: Object.prototype,
    node: (value, path, walk) => ({
      kind: "boxed",
      value: walk.ref(unboxed(value), path),
    }),
    holds: (key) => isIndex(key) || key === "length",
  },
  {
    test: (value) => Object.getPrototypeOf(value) === URL.prototype,
    proto: URL.prototype,
    node: (value) => ({ kind: "url", text: URL.prototype.toString.call(value) }),
  },
  {
    test: (value) => Object.getPrototypeOf(value) === URLSearchParams.prototype,
    proto: URLSearchParams.prototype,
    node: encodeParameters,
  },
];

/** Whether an object has more to it than properties: a list, a Map, a Date, a view. */
export function isBuiltinKind(value: object): boolean {
  return refusal(value) !== undefined || KINDS.some(({ test }) => test(value));
}

/** @returns undefined when it was refused */
export function encodeValue(value: object, path: string, walk: Walk): StateNode | undefined {
  const refused = refusal(value);
  if (refused !== undefined) return walk.refuse(path, refused.reason, refused.hint);
  const kind = KINDS.find(({ test }) => test(value));
  const node = kind === undefined ? encodeObject(value, path, walk) : kind.node(value, path, walk);
  if (node === undefined) return undefined;
  const own = { keys: ownKeys(value, walk).filter((key) => kind?.holds?.(key) !== true), path };
  const proto = Object.getPrototypeOf(value) as object | null;
  const ownProto =
    kind === undefined || node.kind === "view" || node.kind === "boxed" ? undefined : kind.proto;
  const isUsual = proto === (ownProto ?? usualProto(node, value));
  const shape = shapeOf(value, own, walk);
  const properties = [
    ...(node.properties ?? []),
    ...(shape.properties ?? []),
    ...fixedLength(value, path, walk),
  ];
  return {
    ...node,
    ...shape,
    ...(isUsual ? {} : { proto: walk.ref(proto, `${path}.[[Prototype]]`) }),
    ...(properties.length === 0 ? {} : { properties }),
  };
}

function fixedLength(value: object, path: string, walk: Walk): readonly Property[] {
  const isFixed =
    Array.isArray(value) && Object.getOwnPropertyDescriptor(value, "length")?.writable === false;
  return isFixed ? [encodeProperty(value, "length", { walk, path })] : [];
}

const LONG = 1000;

function ownKeys(value: object, walk: Walk): readonly (string | symbol)[] {
  const isList = Array.isArray(value) || (ArrayBuffer.isView(value) && !(value instanceof DataView));
  const isLong = isList && (value as ArrayLike<unknown>).length > LONG;
  return isLong ? walk.inspection.nonIndexKeys(value) : Reflect.ownKeys(value);
}

function usualProto(node: StateNode, value: object): object | null {
  if (node.kind === "view") return node.type === "Buffer" ? Buffer.prototype : viewProto(node.type);
  if (node.kind === "boxed") return Object.getPrototypeOf(Object(unboxed(value))) as object;
  return Object.prototype;
}

function viewProto(type: string): object {
  return (Reflect.get(globalThis, type) as { readonly prototype: object }).prototype;
}

/** Properties, and whether more can be added. Getters are captured as functions, never called. */
export function shapeOf(
  value: object,
  own: { readonly keys: readonly (string | symbol)[]; readonly path: string },
  walk: Walk,
): Shape {
  const properties = own.keys.map((key) => encodeProperty(value, key, { walk, path: own.path }));
  return {
    ...(properties.length === 0 ? {} : { properties }),
    ...(Object.isExtensible(value) ? {} : { isFixed: true }),
  };
}

function encodeProperty(
  value: object,
  key: string | symbol,
  { walk, path }: { readonly walk: Walk; readonly path: string },
): Property {
  const descriptor = Object.getOwnPropertyDescriptor(value, key) ?? {};
  const at = joinPath(path, key);
  const flags = flagsOf(descriptor);
  const name = typeof key === "string" ? key : walk.ref(key, at);
  if (key === "stack" && types.isNativeError(value) && !isOwnAccessor(descriptor))
    return [name, "value" in descriptor ? flags : WRITABLE | CONFIGURABLE, walk.ref(stackOf(value), at)];
  if (!("value" in descriptor)) {
    const [get, set] = (["get", "set"] as const).map((part) => walk.ref(descriptor[part], `${at} (${part})`));
    return [name, flags, get ?? null, set ?? null];
  }
  return [name, flags, walk.ref(descriptor.value, at)];
}

function flagsOf({ writable, enumerable, configurable }: PropertyDescriptor): number {
  return (
    (writable === true ? WRITABLE : 0) |
    (enumerable === true ? ENUMERABLE : 0) |
    (configurable === true ? CONFIGURABLE : 0)
  );
}

/** Newer versions of V8 have an accessor of their own for an error's stack. */
function isOwnAccessor(descriptor: PropertyDescriptor): boolean {
  if ("value" in descriptor) return false;
  return Object.values(descriptor).some((part: unknown) => typeof part === "function" && !isNative(part));
}

/** Without the lines of V8's at its end, which name folders of this machine. */
function stackOf({ stack }: Error): unknown {
  if (typeof stack !== "string") return stack;
  const lines = stack.split("\n");
  return lines.slice(0, lines.findLastIndex((line) => !FRAME.test(line)) + 1).join("\n");
}

const FRAME = /^ {4}at .*(?::\d+:\d+\)?|\((?:native|<anonymous>|index \d+)\)|<anonymous>)$/;

function joinPath(path: string, key: string | symbol | number): string {
  if (typeof key === "number" || isIndex(key)) return `${path}[${String(key)}]`;
  if (typeof key === "symbol") return `${path}[${String(key)}]`;
  return /^[\w$#]+$/.test(key) ? `${path}.${key}` : `${path}[${JSON.stringify(key)}]`;
}

function encodeObject(value: object, path: string, walk: Walk): StateNode | undefined {
  // What is behind these prototypes is in native code or in Node's private fields.
  for (let at = Object.getPrototypeOf(value) as object | null; at !== null;) {
    if (isHidden(at, walk))
      return walk.refuse(
        path,
        `is a native object (${className(value)}), which holds something that stays in this process`,
        HINTS.setup,
      );
    at = Object.getPrototypeOf(at) as object | null;
  }
  return { kind: "object" };
}

const PLAIN_PROTOTYPES: ReadonlySet<object> = new Set<object>(
  [
    Object,
    Array,
    Function,
    Error,
    EvalError,
    RangeError,
    ReferenceError,
    SyntaxError,
    TypeError,
    URIError,
    // All that an emitter has are properties; the classes of Node that extend it hide more.
    EventEmitter,
  ].map(({ prototype }) => prototype as object),
);

/** Whether instances of this prototype have state that properties do not show. */
function isHidden(proto: object, walk: Walk): boolean {
  if (PLAIN_PROTOTYPES.has(proto)) return false;
  const place = walk.references.find(proto);
  if (place?.kind === "global") return true;
  if (place?.kind === "package" && /^\w+ node:/.test(place.module)) return true;
  const constructor: unknown = Object.getOwnPropertyDescriptor(proto, "constructor")?.value;
  if (typeof constructor !== "function") return false;
  const { script, bound } = walk.inspection.describeFunction(constructor);
  return bound === undefined && (script === undefined || script.isInternal) && constructor !== Object;
}

function encodeArray(value: object, path: string, walk: Walk): StateNode {
  const list = value as readonly unknown[];
  const { length } = list;
  noteTemplate(value, path, walk);
  if (length >= NUMBERS_FROM && isNumbers(list)) {
    const numbers = Float64Array.from(list);
    return { kind: "numbers", at: walk.data.add(new Uint8Array(numbers.buffer)), length };
  }
  const isPlain = !Object.isFrozen(list) && !hasAccessor(list, length);
  if (length === 0) return { kind: "array", length };
  if (isPlain)
    return { kind: "array", length, items: list.map((each, index) => walk.ref(each, joinPath(path, index))) };
  const indexes = Reflect.ownKeys(list).filter((key) => isIndex(key));
  const shape = shapeOf(value, { keys: indexes, path }, walk);
  return { kind: "array", length, ...shape };
}

function hasAccessor(list: readonly unknown[], length: number): boolean {
  for (let index = 0; index < length; index += 1) {
    const descriptor = Object.getOwnPropertyDescriptor(list, index);
    if (descriptor === undefined || !("value" in descriptor) || !descriptor.writable) return true;
    if (!descriptor.enumerable || !descriptor.configurable) return true;
  }
  return false;
}

function isNumbers(list: readonly unknown[]): boolean {
  if (Object.isFrozen(list) || hasAccessor(list, list.length)) return false;
  return list.every((each) => typeof each === "number");
}

/** The parameters of a URL change it and are changed by it. */
function encodeParameters(value: object, path: string, walk: Walk): StateNode {
  const text = URLSearchParams.prototype.toString.call(value);
  const context = walk.inspection.privateFields(value).find(({ name }) => name === "#context")?.value;
  const isOfUrl = context instanceof URL && context.searchParams === value;
  return { kind: "parameters", text, ...(isOfUrl ? { of: walk.ref(context, `${path} (its URL)`) } : {}) };
}

function encodeMap(value: object, path: string, walk: Walk): StateNode {
  const entries: [Ref, Ref][] = [];
  for (const [key, each] of Map.prototype.entries.call(value) as Iterable<[unknown, unknown]>) {
    const at = `${path}.get(${typeof key === "string" ? JSON.stringify(key) : typeof key})`;
    refuseTemplate(key, path, walk);
    entries.push([walk.ref(key, `${path} (key)`), walk.ref(each, at)]);
  }
  return { kind: "map", entries };
}

function encodeSet(value: object, path: string, walk: Walk): StateNode {
  const entries: Ref[] = [];
  for (const each of Set.prototype.values.call(value) as Iterable<unknown>) {
    refuseTemplate(each, path, walk);
    entries.push(walk.ref(each, `${path} (entry)`));
  }
  return { kind: "set", entries };
}

function encodeBuffer(value: object, path: string, walk: Walk): StateNode | undefined {
  const buffer = value as ArrayBuffer;
  if (buffer.detached)
    return walk.refuse(path, "is a detached ArrayBuffer, whose bytes are gone", HINTS.plain);
  return {
    kind: "buffer",
    at: walk.data.add(new Uint8Array(buffer)),
    length: buffer.byteLength,
    ...(buffer.resizable ? { maxLength: buffer.maxByteLength } : {}),
  };
}

function encodeView(value: object, path: string, walk: Walk): StateNode | undefined {
  const view = value as ArrayBufferView;
  if (types.isSharedArrayBuffer(view.buffer))
    return walk.refuse(
      path,
      "is a view of a SharedArrayBuffer, which threads share",
      "capture a copy: .slice()",
    );
  const type = Buffer.isBuffer(view) ? "Buffer" : viewType(view);
  const { buffer } = view;
  if (buffer.detached) return walk.refuse(path, "is a view of a detached ArrayBuffer", HINTS.plain);
  const { byteLength, byteOffset } = view;
  const length = byteLength / ((view as { BYTES_PER_ELEMENT?: number }).BYTES_PER_ELEMENT ?? 1);
  // Node cuts small Buffers from a pool, whose other bytes are nobody's business.
  if (isPool(buffer) && byteLength < buffer.byteLength) {
    const slices = walk.pooled.get(buffer) ?? [];
    walk.pooled.set(buffer, slices);
    slices.push({ id: walk.idOf(view, path), start: byteOffset, end: byteOffset + byteLength });
    return { kind: "view", type, buffer: null, offset: byteOffset, length };
  }
  const node = {
    kind: "view",
    type,
    buffer: walk.ref(buffer, `${path}.buffer`),
    offset: byteOffset,
  } as const;
  return isTracking(view) ? node : { ...node, length };
}

/** Whether a view is as long as its buffer is, whatever becomes of it. Only another length of the buffer shows it. */
function isTracking(view: ArrayBufferView): boolean {
  const { buffer, byteOffset } = view;
  if (!(buffer instanceof ArrayBuffer) || !buffer.resizable) return false;
  const { byteLength, maxByteLength } = buffer;
  const step = (view as { BYTES_PER_ELEMENT?: number }).BYTES_PER_ELEMENT ?? 1;
  const room = byteOffset + (Math.floor((byteLength - byteOffset) / step) + 1) * step;
  const before = view.byteLength;
  if (byteOffset + before + step <= byteLength) return false;
  if (room > maxByteLength) return isTrackingFull(buffer, view);
  buffer.resize(room);
  const isLonger = view.byteLength > before;
  buffer.resize(byteLength);
  return isLonger;
}

/** Where the buffer cannot grow: a view of a fixed length is gone when its end is cut off. */
function isTrackingFull(buffer: ArrayBuffer, view: ArrayBufferView): boolean {
  if (view.byteLength === 0) return true;
  const all = new Uint8Array(buffer).slice();
  buffer.resize(view.byteOffset + view.byteLength - 1);
  try {
    if (view instanceof DataView) return view.byteLength >= 0;
    Reflect.apply(Reflect.get(TYPED_ARRAY, "at") as () => unknown, view, [0]);
    return true;
  } catch {
    return false;
  } finally {
    buffer.resize(all.length);
    new Uint8Array(buffer).set(all);
  }
}

function viewType(view: ArrayBufferView): string {
  return view instanceof DataView ? "DataView" : String(Reflect.get(TYPED_ARRAY, Symbol.toStringTag, view));
}

/** Its getter tells the kind of any typed array, whatever a subclass says. */
const TYPED_ARRAY = Object.getPrototypeOf(Int8Array.prototype) as object;

function unboxed(value: object): unknown {
  if (types.isNumberObject(value)) return Number.prototype.valueOf.call(value);
  if (types.isStringObject(value)) return String.prototype.valueOf.call(value);
  if (types.isBooleanObject(value)) return Boolean.prototype.valueOf.call(value);
  return types.isSymbolObject(value)
    ? Symbol.prototype.valueOf.call(value)
    : BigInt.prototype.valueOf.call(value);
}
