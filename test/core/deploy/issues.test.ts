// issues.ts: what a schema found wrong, in words.
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { nearest } from "../../../core/nearest.ts";
import { describeIssues, knownKeys, REPORT_INPUT } from "../../../core/deploy/issues.ts";
import { deploymentRequestSchema } from "../../../core/deploy/options.ts";

const REQUEST = { name: "digits", version: "1", bundle: "0".repeat(64) };

function problems(value: unknown): string {
  const { error } = deploymentRequestSchema.safeParse(value, REPORT_INPUT);
  if (error === undefined) throw new Error("was accepted");
  return describeIssues(error, "option", knownKeys(deploymentRequestSchema) ?? []).text;
}

describe("describeIssues", () => {
  test.each([
    [{ ...REQUEST, latencyObjectiveMs: "50" }, 'latencyObjectiveMs: expected number, got "50"'],
    [
      { ...REQUEST, name: "Digits" },
      'name: expected a name (a-z, 0-9 and inner - or _, at most 100), got "Digits"',
    ],
    [{ ...REQUEST, replicas: -1 }, "replicas: expected number to be >=0, got -1"],
    [{ ...REQUEST, replicas: 1.5 }, "replicas: expected int, got 1.5"],
    [{ version: "1", bundle: REQUEST.bundle }, "name: expected string, got nothing"],
    [
      { ...REQUEST, latencyObjektiveMs: 5 },
      "unknown option 'latencyObjektiveMs'; did you mean 'latencyObjectiveMs'?",
    ],
    [
      { ...REQUEST, batching: { policy: "sloo" } },
      "batching.policy: expected 'slo' | 'aimd' | 'fixed' | 'none', got \"sloo\"",
    ],
    [{ ...REQUEST, batching: { policy: "none", x: 1 } }, "batching: unknown option 'x'"],
    [{ ...REQUEST, examples: [{ input: 1 }, {}] }, "examples[1].input: expected a JSON value, got nothing"],
    [[], "expected object, got []"],
  ])("%j", (value, text) => {
    expect(problems(value)).toBe(text);
  });

  test("says the first five of many", () => {
    const many = Object.fromEntries(Array.from({ length: 8 }, (_, index) => [`zzzzzzzz${index}`, 1]));
    expect(problems({ ...REQUEST, ...many })).toContain("; and 3 more");
  });
});

test("knownKeys reads objects, intersections and unions, and gives up on what takes any key", () => {
  expect(knownKeys(z.object({ a: z.string(), b: z.date().optional() }))).toEqual(["a", "b"]);
  expect(knownKeys(z.intersection(z.object({ a: z.string() }), z.object({ b: z.string() })))).toEqual([
    "a",
    "b",
  ]);
  expect(knownKeys(z.union([z.object({ a: z.string() }), z.object({ b: z.string() })]))).toEqual(["a", "b"]);
  expect(knownKeys(z.object({ a: z.string() }).transform(Object.keys))).toEqual(["a"]);
  expect(knownKeys(z.looseObject({ a: z.string() }))).toBeUndefined();
  expect(knownKeys(z.record(z.string(), z.string()))).toBeUndefined();
  expect(knownKeys(z.custom())).toBeUndefined();
});

test("nearest finds a typo, and nothing where there is none", () => {
  expect(nearest("nmae", ["model", "module", "name"])).toBe("name");
  expect(nearest("modell", ["model", "module", "name"])).toBe("model");
  expect(nearest("colour", ["model", "name"])).toBeUndefined();
});
