import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { dryRun, InvalidInputError, ModelError, type DryRun } from "../../deployers/index.ts";
import { count, up } from "../fixtures/functions/exported-let.ts";

export let own = 1;

const output = z.object({ score: z.number() });
const input = z.object({ a: z.number() });
const offset = 10;
const score = ({ a }: { a: number }): { score: number } => {
  if (a === 13) throw new RangeError("unlucky");
  if (a === 14) return { score: `${a}` as unknown as number };
  return { score: a + offset };
};

async function failure(tried: Promise<DryRun<unknown>>): Promise<unknown> {
  return tried.then(
    () => undefined,
    (error: unknown) => error,
  );
}

describe("a dry run", () => {
  it("loads in a fresh process, and gives outputs, timings and what was written", async () => {
    const tried = await dryRun(
      {
        inputType: "doubles",
        setup: () => process.pid,
        fn: (xs, pid) => {
          console.log("called in", pid);
          return xs.map((x) => [x.length + offset, pid]);
        },
      },
      [[1, 2], []],
    );
    expect(tried.outputs.map(([length]) => length)).toEqual([12, 10]);
    expect(tried.outputs[0]?.[1]).not.toBe(process.pid);
    expect(tried.log.join("\n")).toContain(`called in ${tried.outputs[0]?.[1]}`);
    for (const ms of Object.values(tried.timings)) expect(ms).toBeGreaterThan(0);
    expect(tried.packages).toEqual({});
  });

  it("holds each output to its schema, naming the place", async () => {
    const options = { input, output, single: true, fn: score } as const;
    const error = await failure(dryRun(options, [{ a: 1 }, { a: 14 }]));
    expect(error).toBeInstanceOf(ModelError);
    expect(String(error)).toContain("inputs[1]: model dry-run version 1: fn returned an output");
    expect(String(error)).toContain('output.score expected number, got "14"');
  });

  it("holds inputs to their schema", async () => {
    const error = await failure(
      dryRun({ input, single: true, fn: score }, [{ a: "1" as unknown as number }]),
    );
    expect(error).toBeInstanceOf(InvalidInputError);
  });

  it("gives the stack of a throw, with the user's file and line", async () => {
    const error = await failure(dryRun({ input, single: true, fn: score }, [{ a: 13 }]));
    const { details } = error as { readonly details: { readonly log: readonly string[] } };
    expect(String(error)).toContain("inputs[0]: model dry-run version 1: RangeError: unlucky");
    const lines = (await readFile(new URL(import.meta.url), "utf8")).split("\n");
    const line = lines.findIndex((each) => each.includes('throw new RangeError("unlucky")')) + 1;
    expect(details.log.join("\n")).toMatch(new RegExp(`at score \\(.*dry-run\\.test\\.ts:${line}:`));
  });

  it("keeps an exported variable one for its file and those that import it", async () => {
    own += 1;
    const fn = (): number[] => [up(), count, ++own];
    const tried = await dryRun({ inputType: "json", single: true, fn }, [1]);
    expect(tried.outputs).toEqual([[2, 2, 3]]);
  });

  it("takes an export of a module, too", async () => {
    const module = fileURLToPath(new URL("../../examples/functions/sum.ts", import.meta.url));
    const tried = await dryRun({ inputType: "doubles", module, export: "sum" }, [[1, 2.5]]);
    expect(tried.outputs).toEqual([3.5]);
  });
});
