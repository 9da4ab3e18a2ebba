// JSON Schemas as TypeScript types.
import { describe, expect, test } from "vitest";
import type { JsonObject } from "windjammer";
import { literal, typeOf } from "../../../../core/cli/exporting/schema-types.ts";

const nameOf = (reference: string): string | undefined => (reference === "#/a" ? "A" : undefined);
const input = (schema: JsonObject): string => typeOf(schema, { isInput: true, nameOf });
const output = (schema: JsonObject): string => typeOf(schema, { isInput: false, nameOf });

describe("typeOf", () => {
  test.each<[JsonObject, string, string]>([
    [{}, "unknown", "unknown"],
    [{ type: "string" }, "string", "string"],
    [{ type: ["number", "null"] }, "number | null", "number | null"],
    [{ type: "array", items: { type: "number" }, minItems: 3 }, "Numbers", "number[]"],
    [
      { type: "array", items: { type: "array", items: { type: "integer" } } },
      "readonly Numbers[]",
      "number[][]",
    ],
    [
      { type: "array", items: { type: ["number", "null"] } },
      "readonly (number | null)[]",
      "(number | null)[]",
    ],
    [{ type: "array", items: { enum: ["a|b", "c"] } }, 'readonly ("a|b" | "c")[]', '("a|b" | "c")[]'],
    [
      { type: "array", prefixItems: [{ type: "string" }, {}] },
      "readonly [string, unknown]",
      "[string, unknown]",
    ],
    [
      { type: "object", properties: { x: { type: "number" }, "a-b": {} }, required: ["x"] },
      '{ readonly x: number; readonly "a-b"?: unknown }',
      '{ x: number; "a-b"?: unknown }',
    ],
    [{ type: "object" }, "{ readonly [key: string]: unknown }", "{ [key: string]: unknown }"],
    [
      { type: "object", additionalProperties: { type: "number" } },
      "{ readonly [key: string]: number }",
      "{ [key: string]: number }",
    ],
    [{ type: "object", additionalProperties: false }, "Record<string, never>", "Record<string, never>"],
    [{ anyOf: [{ type: "string" }, { type: "string" }, { type: "null" }] }, "string | null", "string | null"],
    [
      { allOf: [{ $ref: "#/a" }, { anyOf: [{ type: "string" }, { type: "null" }] }] },
      "A & (string | null)",
      "A & (string | null)",
    ],
    [{ $ref: "#/b" }, "unknown", "unknown"],
    [{ const: -1 }, "-1", "-1"],
  ])("%j", (...[schema, asInput, asOutput]) => {
    expect([input(schema), output(schema)]).toEqual([asInput, asOutput]);
  });

  test("a value is its own type", () => {
    expect(literal({ label: null, "a b": [1, "x"] })).toBe('{ label: null; "a b": readonly [1, "x"] }');
  });
});
