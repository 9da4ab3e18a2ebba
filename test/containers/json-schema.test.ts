import { describe, expect, it } from "vitest";
import { z } from "zod";
import { schemaProblem, unknownKeywords } from "../../containers/json-schema.ts";
import type { JsonObject, JsonValue } from "../../containers/protocol.ts";

const tree = z.object({
  value: z.number(),
  get children() {
    return z.array(tree);
  },
});
const schemas: Readonly<Record<string, z.ZodType>> = {
  "a number": z.number(),
  "an integer from 1 to 10": z.int().min(1).max(10),
  "more than 0, less than 1": z.number().gt(0).lt(1),
  "a multiple": z.number().multipleOf(0.1),
  "a text of 2 to 3 characters": z.string().min(2).max(3),
  "a text that fits a pattern": z.string().regex(/^a+$/),
  "a choice": z.enum(["a", "b"]),
  "a literal": z.literal(5),
  "null or a boolean": z.boolean().nullable(),
  "a list": z.array(z.number()).min(1).max(2),
  "a tuple": z.tuple([z.number(), z.string()]).rest(z.boolean()),
  "an object": z.object({ a: z.number(), b: z.string().optional() }),
  "a strict object": z.strictObject({ a: z.number() }),
  "a record": z.record(z.string().regex(/^k/), z.number()),
  "a union": z.union([z.object({ kind: z.literal("x"), n: z.number() }), z.object({ kind: z.literal("y") })]),
  "an intersection": z.intersection(z.object({ a: z.number() }), z.object({ b: z.number() })),
  "a tree": tree,
  anything: z.unknown(),
  nothing: z.never(),
};
const leaf: JsonValue = { value: 1, children: [] };
const values: readonly JsonValue[] = [
  [0, 1, 5, 11, 0.5, 0.3, 1.5, -1, "", "a", "aa", "aaaa", "b", true, false, null],
  [[], [1], [1, "a"], [1, "a", true], [1, "a", 2], [1, 2, 3]],
  [{}, { a: 1 }, { a: "1" }, { a: 1, b: "x" }, { a: 1, b: 2 }, { a: 1, c: 2 }, { k1: 1 }, { k1: "1" }],
  [{ kind: "x", n: 1 }, { kind: "x" }, { kind: "y" }, { kind: "z" }],
  [leaf, { value: 1, children: [leaf, { value: "2", children: [] }] }, { value: 1 }],
].flat();

describe("the schema check of the model container", () => {
  it.each(Object.entries(schemas))("takes the same values as zod: %s", (_, schema) => {
    const json = z.toJSONSchema(schema, { io: "input" }) as JsonObject;
    expect(unknownKeywords(json)).toEqual([]);
    const taken = values.filter((value) => schemaProblem(json, value) === undefined);
    expect(taken).toEqual(values.filter((value) => schema.safeParse(value).success));
  });

  it("names the place, what was expected and what came", () => {
    const json = z.toJSONSchema(z.object({ scores: z.array(z.number().max(1)) })) as JsonObject;
    expect(schemaProblem(json, { scores: [0, "x"] })).toEqual({
      place: ".scores[1]",
      reason: 'expected number, got "x"',
    });
    expect(schemaProblem(json, { scores: [0, 2] })).toEqual({
      place: ".scores[1]",
      reason: "expected at most 1, got 2",
    });
    expect(schemaProblem(json, {})).toEqual({ place: ".scores", reason: "is missing" });
  });

  it("tells which keywords it would not check", () => {
    expect(unknownKeywords({ type: "array", items: { uniqueItems: true }, contains: {} })).toEqual([
      "contains",
      "uniqueItems",
    ]);
  });
});
