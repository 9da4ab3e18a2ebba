// Writes a value as JSON for the wire: typed arrays and bigints as numbers, and nothing that JSON would lose.
import type { InputType } from "../../containers/protocol.ts";
import { MAX_JSON_DEPTH } from "../config.ts";
import { showValue } from "../deploy/issues.ts";
import { InvalidInputError } from "../errors.ts";

/**
 * JSON text of one input. A typed array becomes a list of numbers, except that bytes of a `bytes` application become
 * base64.
 * @param path where the value stands, for errors: "input", "inputs[3]"
 * @throws InvalidInputError for undefined, NaN, infinities, functions and cycles, naming the path
 */
export function encodeInput(value: unknown, inputType: InputType, path: string): string {
  if (inputType === "bytes" && value instanceof Uint8Array) {
    const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    return `"${bytes.toString("base64")}"`;
  }
  return encodeValue(value, path, 0);
}

/** @throws InvalidInputError, as `encodeInput` */
export function encodeJson(value: unknown, path: string): string {
  return encodeValue(value, path, 0);
}

function encodeValue(value: unknown, path: string, depth: number): string {
  switch (typeof value) {
    case "number":
      if (!Number.isFinite(value)) throw refuse(path, `${value} is not a JSON number`, value);
      return String(value);
    case "string":
      return JSON.stringify(value);
    case "boolean":
    case "bigint":
      return String(value);
    case "object":
      return value === null ? "null" : encodeObject(value, path, depth);
    case "undefined":
      throw refuse(path, "undefined is not JSON; leave it out, or give null", value);
    default:
      throw refuse(path, `a ${typeof value} is not JSON`, value);
  }
}

function encodeObject(value: object, path: string, depth: number): string {
  if (depth >= MAX_JSON_DEPTH)
    throw refuse(path, `nested deeper than ${MAX_JSON_DEPTH} levels, or in a circle`, undefined);
  if (Array.isArray(value)) return encodeArray(value, path, depth);
  if (ArrayBuffer.isView(value) && !(value instanceof DataView))
    return encodeArray(value as unknown as ArrayLike<unknown>, path, depth);
  if ("toJSON" in value && typeof value.toJSON === "function")
    return encodeValue(value.toJSON(), path, depth + 1);
  if (
    value instanceof Map ||
    value instanceof Set ||
    value instanceof ArrayBuffer ||
    value instanceof DataView
  )
    throw refuse(path, `a ${value.constructor.name} is not JSON; give an array or a plain object`, undefined);
  const fields = Object.entries(value).map(
    ([key, field]) => `${JSON.stringify(key)}:${encodeValue(field, `${path}.${key}`, depth + 1)}`,
  );
  return `{${fields.join(",")}}`;
}

/** Index by index, since holes count as undefined and a typed array's own `map` gives numbers. */
function encodeArray(values: ArrayLike<unknown>, path: string, depth: number): string {
  let text = "[";
  for (let index = 0; index < values.length; index++) {
    if (index > 0) text += ",";
    const value = values[index];
    // The path is only made where it may be needed: most inputs are long lists of numbers.
    text +=
      typeof value === "number" && Number.isFinite(value)
        ? String(value)
        : encodeValue(value, `${path}[${index}]`, depth + 1);
  }
  return `${text}]`;
}

function refuse(path: string, problem: string, value: unknown): InvalidInputError {
  return new InvalidInputError(`${path}: ${problem}`, {
    details: { field: path, ...(value === undefined ? {} : { got: showValue(value) }) },
  });
}
