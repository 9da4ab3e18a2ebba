// Holds JSON values to a JSON Schema (draft 2020-12): the part of it that types, lengths, bounds and choices need.
import type { JsonObject, JsonValue } from "./protocol.ts";

/** The first place where a value does not fit, and why. */
export interface SchemaProblem {
  /** ".scores[2]"; empty for the value itself. */
  readonly place: string;
  readonly reason: string;
}

type Schema = JsonValue | undefined;

interface Check {
  readonly root: JsonObject;
  readonly place: string;
}

type Rule = (
  value: JsonValue,
  expected: JsonValue,
  check: Check & { readonly schema: JsonObject },
) => SchemaProblem | undefined;

/** @returns undefined when the value fits */
export function schemaProblem(schema: JsonObject, value: JsonValue): SchemaProblem | undefined {
  return problemOf(schema, value, { root: schema, place: "" });
}

/** Keywords of a schema that are not checked, each once: what they ask for would go unseen. */
export function unknownKeywords(schema: JsonObject): readonly string[] {
  const found = new Set<string>();
  const open: Schema[] = [schema];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    if (!isObject(next)) continue;
    for (const [key, inner] of Object.entries(next)) {
      if (!Object.hasOwn(RULES, key) && !NOTES.has(key)) found.add(key);
      if (NAMED.has(key) && isObject(inner)) open.push(...Object.values(inner));
      else if (LISTS.has(key) && Array.isArray(inner)) open.push(...(inner as readonly JsonValue[]));
      else if (SINGLE.has(key)) open.push(inner);
    }
  }
  return [...found];
}

/** Say something about a value, but ask for nothing. */
const NOTES: ReadonlySet<string> = new Set(
  (
    "$schema $id $defs $comment $anchor title description default examples deprecated readOnly writeOnly format id " +
    "contentEncoding contentMediaType"
  ).split(" "),
);
const NAMED: ReadonlySet<string> = new Set(["properties", "patternProperties", "$defs"]);
const LISTS: ReadonlySet<string> = new Set(["anyOf", "oneOf", "allOf", "prefixItems"]);
const SINGLE: ReadonlySet<string> = new Set(["items", "additionalProperties", "propertyNames", "not"]);

function problemOf(schema: Schema, value: JsonValue, check: Check): SchemaProblem | undefined {
  if (schema === false) return { place: check.place, reason: "is not expected" };
  if (!isObject(schema)) return undefined;
  for (const [key, expected] of Object.entries(schema)) {
    const rule = Object.hasOwn(RULES, key) ? RULES[key] : undefined;
    const problem = rule?.(value, expected, { ...check, schema });
    if (problem !== undefined) return problem;
  }
  return undefined;
}

const RULES: Readonly<Record<string, Rule>> = {
  $ref: (value, expected, check) => problemOf(resolve(expected as string, check.root), value, check),
  type: (value, expected, { place }) => {
    const types = Array.isArray(expected) ? expected : [expected];
    if (types.some((type) => hasType(value, String(type)))) return undefined;
    return { place, reason: `expected ${types.join(" or ")}, got ${shown(value)}` };
  },
  const: (value, expected, { place }) =>
    isEqual(value, expected)
      ? undefined
      : { place, reason: `expected ${shown(expected)}, got ${shown(value)}` },
  enum: (value, expected, { place }) =>
    (expected as readonly JsonValue[]).some((each) => isEqual(each, value))
      ? undefined
      : {
          place,
          reason: `expected one of ${(expected as readonly JsonValue[]).map(shown).join(", ")}, got ${shown(value)}`,
        },
  minimum: number((value, bound) => value >= bound, "at least"),
  maximum: number((value, bound) => value <= bound, "at most"),
  exclusiveMinimum: number((value, bound) => value > bound, "more than"),
  exclusiveMaximum: number((value, bound) => value < bound, "less than"),
  multipleOf: number(
    (value, step) => Number.isInteger(Math.round((value / step) * 1e9) / 1e9),
    "a multiple of",
  ),
  minLength: size("string", (length, bound) => length >= bound, "at least"),
  maxLength: size("string", (length, bound) => length <= bound, "at most"),
  minItems: size("array", (length, bound) => length >= bound, "at least"),
  maxItems: size("array", (length, bound) => length <= bound, "at most"),
  pattern: (value, expected, { place }) =>
    typeof value !== "string" || new RegExp(expected as string, "u").test(value)
      ? undefined
      : { place, reason: `expected text that fits /${expected as string}/, got ${shown(value)}` },
  required: (value, expected, { place }) => {
    if (!isObject(value)) return undefined;
    const missing = (expected as readonly string[]).find((name) => !Object.hasOwn(value, name));
    return missing === undefined ? undefined : { place: `${place}.${missing}`, reason: "is missing" };
  },
  properties: (value, expected, check) => {
    if (!isObject(value)) return undefined;
    return firstOf(Object.entries(expected as JsonObject), ([name, schema]) =>
      Object.hasOwn(value, name)
        ? problemOf(schema, value[name] ?? null, { ...check, place: `${check.place}.${name}` })
        : undefined,
    );
  },
  patternProperties: (value, expected, check) => {
    if (!isObject(value)) return undefined;
    return firstOf(Object.entries(expected as JsonObject), ([pattern, schema]) =>
      firstOf(
        Object.entries(value).filter(([name]) => new RegExp(pattern, "u").test(name)),
        ([name, each]) => problemOf(schema, each, { ...check, place: `${check.place}.${name}` }),
      ),
    );
  },
  additionalProperties: (value, expected, check) => {
    if (!isObject(value)) return undefined;
    const { properties = {}, patternProperties = {} } = check.schema;
    const patterns = Object.keys(patternProperties as JsonObject).map((each) => new RegExp(each, "u"));
    const others = Object.entries(value).filter(
      ([name]) => !Object.hasOwn(properties as JsonObject, name) && !patterns.some((each) => each.test(name)),
    );
    return firstOf(others, ([name, each]) =>
      problemOf(expected, each, { ...check, place: `${check.place}.${name}` }),
    );
  },
  propertyNames: (value, expected, check) =>
    isObject(value)
      ? firstOf(Object.keys(value), (name) =>
          problemOf(expected, name, { ...check, place: `${check.place}.${name}` }),
        )
      : undefined,
  prefixItems: (value, expected, check) =>
    Array.isArray(value)
      ? firstOf(
          (value as readonly JsonValue[]).slice(0, (expected as readonly JsonValue[]).length).entries(),
          ([at, each]) =>
            problemOf((expected as readonly JsonValue[])[at], each, {
              ...check,
              place: `${check.place}[${at}]`,
            }),
        )
      : undefined,
  items: (value, expected, check) => {
    if (!Array.isArray(value)) return undefined;
    const { prefixItems } = check.schema;
    const from = Array.isArray(prefixItems) ? prefixItems.length : 0;
    return firstOf((value as readonly JsonValue[]).entries(), ([at, each]) =>
      at < from ? undefined : problemOf(expected, each, { ...check, place: `${check.place}[${at}]` }),
    );
  },
  allOf: (value, expected, check) =>
    firstOf(expected as readonly JsonValue[], (each) => problemOf(each, value, check)),
  anyOf: (value, expected, check) => choice(value, expected, { check, isEnough: (count) => count > 0 }),
  oneOf: (value, expected, check) => choice(value, expected, { check, isEnough: (count) => count === 1 }),
  not: (value, expected, check) =>
    problemOf(expected, value, check) === undefined
      ? { place: check.place, reason: `must not be ${shown(value)}` }
      : undefined,
};

function choice(
  value: JsonValue,
  expected: JsonValue,
  { check, isEnough }: { readonly check: Check; readonly isEnough: (count: number) => boolean },
): SchemaProblem | undefined {
  const problems = (expected as readonly JsonValue[]).map((each) => problemOf(each, value, check));
  if (isEnough(problems.filter((problem) => problem === undefined).length)) return undefined;
  // The deepest one is of the choice that was meant.
  const [deepest] = problems
    .filter((problem) => problem !== undefined)
    .toSorted((a, b) => b.place.length - a.place.length);
  return deepest !== undefined && deepest.place.length > check.place.length
    ? deepest
    : { place: check.place, reason: `fits none, or more than one, of the choices, got ${shown(value)}` };
}

function number(fits: (value: number, bound: number) => boolean, what: string): Rule {
  return (value, expected, { place }) =>
    typeof value !== "number" || fits(value, Number(expected))
      ? undefined
      : { place, reason: `expected ${what} ${Number(expected)}, got ${value}` };
}

function size(
  kind: "string" | "array",
  fits: (length: number, bound: number) => boolean,
  what: string,
): Rule {
  return (value, expected, { place }) => {
    if (!hasType(value, kind)) return undefined;
    // A character of JSON Schema is a code point.
    const length =
      typeof value === "string" ? Array.from(value).length : (value as readonly JsonValue[]).length;
    const unit = kind === "string" ? "characters" : "items";
    return fits(length, Number(expected))
      ? undefined
      : { place, reason: `expected ${what} ${Number(expected)} ${unit}, got ${length}` };
  };
}

function resolve(reference: string, root: JsonObject): Schema {
  let at: Schema = root;
  for (const step of reference
    .replace(/^#\/?/, "")
    .split("/")
    .filter((each) => each !== ""))
    at = isObject(at) ? at[step.replaceAll("~1", "/").replaceAll("~0", "~")] : undefined;
  return at;
}

function hasType(value: JsonValue, type: string): boolean {
  if (type === "integer") return Number.isInteger(value);
  if (type === "null") return value === null;
  if (type === "array") return Array.isArray(value);
  return type === "object" ? isObject(value) : typeof value === type;
}

function isObject(value: Schema): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isEqual(one: JsonValue, other: JsonValue): boolean {
  return one === other || JSON.stringify(one) === JSON.stringify(other);
}

const SHOWN_LENGTH = 60;

function shown(value: JsonValue): string {
  const text = JSON.stringify(value);
  return text.length > SHOWN_LENGTH ? `${text.slice(0, SHOWN_LENGTH)}…` : text;
}

function firstOf<T>(
  values: Iterable<T>,
  problem: (value: T) => SchemaProblem | undefined,
): SchemaProblem | undefined {
  for (const value of values) {
    const found = problem(value);
    if (found !== undefined) return found;
  }
  return undefined;
}
