// Holds inputs to the JSON Schema that a model's author gave.
import { z } from "zod";
import type { JsonObject, JsonValue } from "../../containers/protocol.ts";
import { InvalidInputError } from "../errors.ts";

/** Schemas are compiled once; they live as long as the manifest that holds them. */
const COMPILED = new WeakMap<JsonObject, z.ZodType>();

/** @throws InvalidInputError naming the place, what was expected and what came */
export function checkSchema(schema: JsonObject, value: JsonValue, field: string): void {
  let compiled = COMPILED.get(schema);
  if (compiled === undefined) {
    compiled = z.fromJSONSchema(schema);
    COMPILED.set(schema, compiled);
  }
  const parsed = compiled.safeParse(value);
  if (parsed.success) return;
  const [issue] = parsed.error.issues;
  const place = (issue?.path ?? []).map((key) => (typeof key === "number" ? `[${key}]` : `.${String(key)}`));
  const at = field + place.join("");
  throw new InvalidInputError(`${at}: ${issue?.message ?? "does not fit the schema of the model"}`, {
    details: { field: at },
  });
}
