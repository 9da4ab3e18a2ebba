// Turns what user functions return into JSON outputs, one row at a time, and says why where that cannot be.
import type { BatchResult } from "./loader.ts";
import type { ItemError } from "./protocol.ts";
import { encodeBytes, type Tensor } from "./tensors.ts";

export type RowResult = { readonly value: unknown } | { readonly error: ItemError };

const encoder = new TextEncoder();

/** Reply of one BYTES output of JSON texts; rows with an error get an empty element. */
export function jsonResult(name: string, texts: readonly (Uint8Array | ItemError)[]): BatchResult {
  const errors = texts.map((text) => (text instanceof Uint8Array ? undefined : text));
  const data = encodeBytes(texts.map((text) => (text instanceof Uint8Array ? text : NO_TEXT)));
  const output: Tensor = { name, datatype: "BYTES", shape: [texts.length], data, contentType: "json" };
  return errors.some((error) => error !== undefined) ? { outputs: [output], errors } : { outputs: [output] };
}

const NO_TEXT: Uint8Array = new Uint8Array(0);

/** UTF-8 JSON text of one row's output, or the reason why there is none. `name` is the user's function. */
export function encodeOutput(value: unknown, name: string): Uint8Array | ItemError {
  try {
    const text = jsonOf(value);
    if (text !== undefined) return encoder.encode(text);
    return invalidOutput(`${name} returned ${describe(value)} for this input; return a JSON value`);
  } catch (error) {
    const reason = error instanceof Error ? error.message.split("\n")[0] : String(error);
    const way = /BigInt/i.test(reason ?? "")
      ? " (64-bit integers are bigints: use Number(…) or a string)"
      : "";
    return invalidOutput(`${name} returned an output that cannot be written as JSON: ${reason}${way}`);
  }
}

export function invalidOutput(message: string): ItemError {
  return { code: "INVALID_MODEL_OUTPUT", message };
}

/** The rows of a returned list. A string is array-like, but never a list of outputs. */
export function listOf(value: unknown): readonly unknown[] | undefined {
  if (Array.isArray(value)) return value;
  if (isTypedArray(value)) return Array.from<unknown>(value);
  if (typeof value !== "object" || value === null || !("length" in value)) return undefined;
  const { length } = value;
  return Number.isSafeInteger(length) && (length as number) >= 0 && (length as number) < 2 ** 24
    ? Array.from(value as ArrayLike<unknown>)
    : undefined;
}

export function describe(value: unknown): string {
  if (value === null) return "null";
  if (value === undefined) return "undefined";
  if (typeof value === "bigint") return `the BigInt ${value}`;
  if (typeof value === "object") return `an object (${value.constructor?.name ?? "no prototype"})`;
  return typeof value === "function" || typeof value === "symbol"
    ? `a ${typeof value}`
    : JSON.stringify(value);
}

function jsonOf(value: unknown): string | undefined {
  if (isTypedArray(value)) return JSON.stringify(Array.from<unknown>(value));
  // A replacer costs several times the stringify, so what cannot hold a typed array goes without one.
  const isFlat =
    typeof value !== "object" || value === null || (Array.isArray(value) && value.every(isPrimitive));
  return isFlat ? JSON.stringify(value) : JSON.stringify(value, typedArraysAsLists);
}

function isPrimitive(value: unknown): boolean {
  return typeof value !== "object";
}

// `this` holds the value as it was before toJSON, which matters for Buffer.
function typedArraysAsLists(this: Readonly<Record<string, unknown>>, key: string, value: unknown): unknown {
  const original = this[key];
  return isTypedArray(original) ? Array.from<unknown>(original) : value;
}

type AnyTypedArray = ArrayLike<number | bigint> & ArrayBufferView;

function isTypedArray(value: unknown): value is AnyTypedArray {
  return ArrayBuffer.isView(value) && !(value instanceof DataView);
}
