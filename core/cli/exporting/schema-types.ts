// TypeScript types for JSON Schemas, as text. Pure.
import type { JsonObject, JsonValue } from "../../../containers/protocol.ts";

export interface TypeOptions {
  /** Inputs are read only, and take packed numbers. */
  readonly isInput: boolean;
  /** Name of the type that a `$ref` leads to; undefined: nobody knows. */
  readonly nameOf: (reference: string) => string | undefined;
}

/** A schema that allows anything is `unknown`. */
export function typeOf(schema: JsonValue | undefined, options: TypeOptions): string {
  if (schema === false) return "never";
  if (!isObject(schema)) return "unknown";
  const { $ref: reference, const: constant, enum: values } = schema;
  if (typeof reference === "string") return options.nameOf(reference) ?? "unknown";
  if (constant !== undefined) return literal(constant);
  if (Array.isArray(values)) return union(values.map(literal));
  for (const keyword of ["anyOf", "oneOf"] as const) {
    const list = schema[keyword];
    if (Array.isArray(list)) return union(list.map((each: JsonValue) => typeOf(each, options)));
  }
  const { allOf } = schema;
  if (Array.isArray(allOf))
    return allOf.map((each: JsonValue) => bracketed(typeOf(each, options))).join(" & ");
  const { type } = schema;
  if (Array.isArray(type)) return union(type.map((each: JsonValue) => simpleType(each, schema, options)));
  return simpleType(type, schema, options);
}

function simpleType(type: JsonValue | undefined, schema: JsonObject, options: TypeOptions): string {
  if (type === "string") return "string";
  if (type === "number" || type === "integer") return "number";
  if (type === "boolean" || type === "null") return type;
  if (type === "array") return arrayType(schema, options);
  if (type === "object" || isObject(schema["properties"])) return objectType(schema, options);
  return "unknown";
}

function arrayType({ items, prefixItems }: JsonObject, options: TypeOptions): string {
  const readonly = options.isInput ? "readonly " : "";
  if (Array.isArray(prefixItems)) {
    const places = prefixItems.map((each: JsonValue) => typeOf(each, options));
    const rest = items === undefined || items === false ? [] : [`...${bracketed(typeOf(items, options))}[]`];
    return `${readonly}[${[...places, ...rest].join(", ")}]`;
  }
  const element = typeOf(items, options);
  if (options.isInput && element === "number") return "Numbers";
  return `${readonly}${bracketed(element)}[]`;
}

function objectType(
  { properties, required, additionalProperties: more }: JsonObject,
  options: TypeOptions,
): string {
  const readonly = options.isInput ? "readonly " : "";
  const needed: readonly JsonValue[] = Array.isArray(required) ? required : [];
  const fields = Object.entries(isObject(properties) ? properties : {}).map(
    ([name, schema]) =>
      `${readonly}${keyText(name)}${needed.includes(name) ? "" : "?"}: ${typeOf(schema, options)}`,
  );
  // Next to named fields their types would have to fit it.
  const rest = fields.length > 0 ? [] : [`${readonly}[key: string]: ${typeOf(more, options)}`];
  if (fields.length > 0 || more !== false) return `{ ${[...fields, ...rest].join("; ")} }`;
  return "Record<string, never>";
}

/** The type of one JSON value. */
export function literal(value: JsonValue): string {
  if (Array.isArray(value)) return `readonly [${(value as readonly JsonValue[]).map(literal).join(", ")}]`;
  if (!isObject(value)) return JSON.stringify(value);
  const fields = Object.entries(value).map(([name, each]) => `${keyText(name)}: ${literal(each)}`);
  return fields.length === 0 ? "Record<string, never>" : `{ ${fields.join("; ")} }`;
}

/** A property's name, quoted where it has to be. */
export function keyText(name: string): string {
  return /^[A-Za-z_$][\w$]*$/.test(name) ? name : JSON.stringify(name);
}

export function union(types: readonly string[]): string {
  const distinct = [...new Set(types)];
  if (distinct.includes("unknown")) return "unknown";
  return distinct.length === 0 ? "never" : distinct.map(bracketedIn).join(" | ");
}

function bracketed(type: string): string {
  return /[|&]|^readonly /.test(type.replaceAll(/"(?:\\.|[^"\\])*"/g, "")) ? `(${type})` : type;
}

function bracketedIn(type: string): string {
  return type.startsWith("{") || !type.includes("&") ? type : `(${type})`;
}

function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
