// Moves a JSON Schema into a document: references to its own parts have to lead there afterwards.
import type { JsonObject, JsonValue } from "../../../containers/protocol.ts";

/** Keywords whose members are named by the schema's author, and are schemas. */
const NAMED = new Set(["properties", "patternProperties", "$defs", "definitions", "dependentSchemas"]);
/** Keywords whose value is data. */
const DATA = new Set(["const", "enum", "default", "example", "examples"]);

/** @param place JSON pointer of the schema in the document: "#/components/schemas/Input" */
export function relocated(schema: JsonObject, place: string): JsonObject {
  const { $schema: _, ...rest } = schema;
  // With an identifier of its own, its references keep their meaning wherever it stands.
  return typeof schema["$id"] === "string" ? schema : members(rest, place);
}

function members(schema: JsonObject, place: string): JsonObject {
  return Object.fromEntries(
    Object.entries(schema).map(([keyword, value]) => [keyword, valueOf(keyword, value, place)]),
  );
}

function valueOf(keyword: string, value: JsonValue, place: string): JsonValue {
  if (DATA.has(keyword)) return value;
  if (keyword === "$ref" || keyword === "$dynamicRef")
    return typeof value === "string" && /^#(?:\/|$)/.test(value) ? place + value.slice(1) : value;
  if (NAMED.has(keyword) && isObject(value))
    return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, moved(one, place)]));
  return moved(value, place);
}

function moved(value: JsonValue, place: string): JsonValue {
  if (Array.isArray(value)) return (value as readonly JsonValue[]).map((one) => moved(one, place));
  return isObject(value) ? members(value, place) : value;
}

function isObject(value: JsonValue): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
