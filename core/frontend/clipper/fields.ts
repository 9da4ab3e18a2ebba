// Reads the bodies of Clipper's management calls: strict types, and Clipper's own words for what is wrong.
import type { InputType, JsonValue } from "../../../containers/protocol.ts";
import { InvalidJsonError } from "../../errors.ts";
import { parseJson } from "../json-text.ts";
import { parseProblem } from "./parse-problem.ts";

/** Said with status 400, as plain text. */
export class ClipperRefusal extends Error {
  override readonly name: string = "ClipperRefusal";
}

/** A body that is not what the call takes; said with the call's schema behind it. */
export class ClipperJsonError extends ClipperRefusal {
  override readonly name = "ClipperJsonError";
}

/** Fields of a JSON object; read them in the call's order, since the first one that is wrong is said. */
export class Fields {
  readonly #value: JsonValue;

  /** @throws ClipperJsonError */
  constructor(body: Buffer) {
    this.#value = parse(body);
  }

  has(key: string): boolean {
    return isObject(this.#value) && Object.hasOwn(this.#value, key);
  }

  string(key: string): string {
    const value = this.value(key);
    if (typeof value === "string") return value;
    throw mismatch(key, "String", value);
  }

  strings(key: string): readonly string[] {
    const value = this.value(key);
    if (!Array.isArray(value)) throw mismatch(key, "Array", value);
    const list: readonly JsonValue[] = value;
    for (const each of list) {
      if (typeof each !== "string")
        throw new ClipperJsonError(`Array input of type ${typeName(each)} is not of type string`);
    }
    return list as readonly string[];
  }

  /** A 32-bit integer. */
  int(key: string): number {
    const value = this.number(key);
    if (value !== (value | 0)) throw new ClipperJsonError("Input of type Number is not of type int");
    return value;
  }

  /** A whole number of 64 bits, as far as a double tells it. */
  long(key: string): number {
    const value = this.number(key);
    if (!Number.isInteger(value)) throw new ClipperJsonError("Input of type Number is not of type long");
    return value;
  }

  number(key: string): number {
    const value = this.value(key);
    if (typeof value !== "number") throw mismatch(key, "Number", value);
    return value;
  }

  bool(key: string): boolean {
    const value = this.value(key);
    if (typeof value === "boolean") return value;
    throw mismatch(key, "bool", value);
  }

  /** In any of its spellings. */
  inputType(key: string): RpcType {
    const name = this.string(key);
    const found = INPUT_TYPES.get(name);
    if (found !== undefined) return found;
    throw new ClipperJsonError(`${name.slice(0, 100)} is not a valid input type`);
  }

  value(key: string): JsonValue {
    if (!isObject(this.#value)) throw new ClipperJsonError("Can only get key-value pair from an object");
    if (!Object.hasOwn(this.#value, key))
      throw new ClipperJsonError(`JSON object does not have required key: ${key}`);
    return this.#value[key] as JsonValue;
  }
}

type RpcType = Exclude<InputType, "json" | "tensor">;

const SPELLINGS: Readonly<Record<RpcType, readonly string[]>> = {
  bytes: ["byte", "b"],
  integers: ["ints", "integer", "int", "i"],
  floats: ["float", "f"],
  doubles: ["double", "d"],
  strings: ["string", "strs", "str", "s"],
};

/** By every spelling. */
const INPUT_TYPES: ReadonlyMap<string, RpcType> = new Map(
  Object.entries(SPELLINGS).flatMap(([name, others]) =>
    [name, ...others].map((spelling) => [spelling, name as RpcType] as const),
  ),
);

/** A value's type as Clipper's JSON library calls it. */
function typeName(value: JsonValue): string {
  if (value === null) return "Null";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return "Array";
  if (typeof value === "object") return "Object";
  return typeof value === "string" ? "String" : "Number";
}

/** A text that could not be parsed, in the words of Clipper's library; in ours where that would take it. */
export function parseErrorText(error: InvalidJsonError, body: Buffer): string {
  const isTooDeep = error.details["limit"] !== undefined;
  const problem = isTooDeep ? undefined : parseProblem(body);
  return problem === undefined
    ? `JSON parse error: ${error.message.replace(/^Error parsing JSON: /, "")}\n`
    : `JSON parse error: ${problem.text} (offset ${problem.offset})\n`;
}

function parse(body: Buffer): JsonValue {
  try {
    return parseJson(body, { expected: "an object", keepsIntegers: false });
  } catch (error) {
    if (!(error instanceof InvalidJsonError)) throw error;
    throw new ClipperJsonError(parseErrorText(error, body));
  }
}

function mismatch(key: string, expected: string, value: JsonValue): ClipperJsonError {
  return new ClipperJsonError(
    `Type mismatch! JSON key ${key} expected type ${expected} but found type ${typeName(value)}`,
  );
}

function isObject(value: JsonValue): value is { readonly [key: string]: JsonValue } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
