// Zod schemas of a function's input and output as JSON Schema, which the endpoint holds queries to.
import { z } from "zod";
import { unknownKeywords } from "../../containers/json-schema.ts";
import { InvalidOptionsError, type Manifest } from "../../core/index.ts";

type JsonSchema = NonNullable<NonNullable<Manifest["schemas"]>["input"]>;

/** A zod 4 schema, of whichever copy of zod. */
export const zodSchema: z.ZodType<z.ZodType> = z.custom<z.ZodType>(
  (value) => typeof value === "object" && value !== null && "_zod" in value,
  "expected a schema of zod 4, such as z.object({ … })",
);

/**
 * JSON Schema of what goes over the wire.
 * @throws InvalidOptionsError for what JSON Schema cannot say, which would otherwise go unchecked
 */
export function wireSchema(schema: z.ZodType, option: "input" | "output"): JsonSchema {
  const lost = unsaid(schema);
  if (lost !== undefined)
    throw new InvalidOptionsError(
      `${option}: the schema has ${lost}, which is code and does not run at the endpoint; do this inside the function`,
      { details: { option } },
    );
  try {
    const made = z.toJSONSchema(schema, { io: "input" }) as JsonSchema;
    const [unknown] = option === "output" ? unknownKeywords(made) : [];
    if (unknown === undefined) return made;
    throw new Error(`${unknown} is not checked in the model container`);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new InvalidOptionsError(
      `${option}: the schema cannot be written as JSON Schema (${reason}); use types that JSON has`,
      { cause: error, details: { option } },
    );
  }
}

const CODE: Readonly<Record<string, string>> = {
  transform: "a transform",
  custom: "a refinement or a custom check",
  default: "a default",
  prefault: "a default",
  catch: "a catch",
  overwrite: "a transform",
};

/** What of a schema is code or changes its input. */
function unsaid(schema: z.ZodType): string | undefined {
  const seen = new Set<unknown>();
  const open: unknown[] = [schema];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    if (typeof next !== "object" || next === null || seen.has(next)) continue;
    seen.add(next);
    const definition: unknown = "_zod" in next ? (next._zod as { readonly def?: unknown }).def : next;
    if (typeof definition !== "object" || definition === null) continue;
    const { type, check, coerce } = definition as Readonly<Record<string, unknown>>;
    const lost = CODE[String(check)] ?? CODE[String(type)] ?? (coerce === true ? "a coercion" : undefined);
    if (lost !== undefined) return lost;
    open.push(...Object.values(definition));
  }
  return undefined;
}
