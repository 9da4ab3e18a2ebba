import { describe, expect, it } from "vitest";
import { z } from "zod";
import { inspect } from "../../../deployers/index.ts";

const own = { jitless: false };
const isWanted = String(own.jitless) === "false";

z.config(z.locales.de());
z.config(own);
if (isWanted) z.config({ jitless: false });
z.globalRegistry.add(z.string(), { id: "set-up" });

const fn = (inputs: readonly unknown[]): readonly unknown[] =>
  inputs.map((input) => {
    z.config(z.locales.de());
    return z.number().safeParse(input).success;
  });

describe("a package that a file sets up at its top level", () => {
  it("is so in the container, too, where the statement needs imports alone", () => {
    expect(inspect(fn).notes).toEqual([
      expect.stringMatching(
        /^package zod is set up in .*set-ups\.test\.ts:8, and so it is in the model container$/,
      ),
      expect.stringMatching(/set-ups\.test\.ts:11/),
    ]);
  });

  it("is warned of, with the place and the way out, where the statement cannot go along", () => {
    const { warnings } = inspect(fn);
    expect(warnings).toEqual([
      expect.stringMatching(
        /set-ups\.test\.ts:9, which .* since it uses own, .*; do it in the option setup$/,
      ),
      expect.stringMatching(/set-ups\.test\.ts:10, which .* since it stands in a block or a function/),
    ]);
  });

  it("is no matter for a function that does not use it", () => {
    const other = inspect((inputs: readonly unknown[]) => inputs.length);
    expect([...other.notes, ...other.warnings]).toEqual([]);
  });
});

const ADDED = [
  [BigInt.prototype, "toJSON"],
  [Array.prototype, "lastOne"],
] as const;

const named = (inputs: readonly unknown[]): unknown => (inputs as { lastOne?(): unknown }).lastOne?.();

describe("what this process put on prototypes", () => {
  it("is warned of where the function names it, or where it is used without being named", () => {
    for (const [prototype, name] of ADDED)
      Object.defineProperty(prototype, name, { value: () => "text", configurable: true });
    try {
      const text = inspect(named).warnings.join("\n");
      expect(text).toMatch(/Array\.prototype\.lastOne .*\n?.*BigInt\.prototype\.toJSON/);
      expect(inspect(() => 1).warnings).toHaveLength(1);
    } finally {
      for (const [prototype, name] of ADDED) Reflect.deleteProperty(prototype, name);
    }
  });
});
