import { spawn } from "node:child_process";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

interface Outcome {
  readonly answers: Readonly<
    Record<string, { readonly served?: unknown; readonly wanted?: unknown; readonly problem?: string }>
  >;
  readonly reasons: Readonly<Record<string, string>>;
}

const path = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

/** In a process of its own: under vitest the functions would be what Vite makes of them. */
async function outcome(file: string): Promise<Outcome> {
  const program = path("functions-program.ts");
  const fixture = path(`../fixtures/functions/${file}`);
  const child = spawn(process.execPath, ["--conditions=windjammer-source", program, fixture]);
  const [out, errors] = await Promise.all([text(child.stdout), text(child.stderr)]);
  const [, result] = /^RESULT([^]*)END$/m.exec(out) ?? [];
  if (result === undefined) throw new Error(errors);
  return JSON.parse(result) as Outcome;
}

describe("live functions give in a container what they give here", () => {
  // The first three are deployed one by one, each as a model of its own.
  it.each([
    ["cases.mjs", 100],
    ["cases.cjs", 18],
    ["cases.ts", 20],
    ["strange.mjs", 88],
    ["users.mjs", 75],
    ["odder.mjs", 110],
    ["packages.mjs", 15],
  ] as const)("%s, at least %i of them", { timeout: 600_000 }, async (file, count) => {
    const { answers, reasons } = await outcome(file);
    const all = Object.entries(answers);
    const wrong = all.filter(
      ([, { served, wanted, problem }]) => problem !== undefined || !isSame(served, wanted),
    );
    const refusals = Object.keys(reasons).length;
    const share = `${all.length - wrong.length} of ${all.length} give what they give here`;
    console.log(`${file}: ${share}; ${refusals} refused, each with its reason`);
    expect(Object.fromEntries(wrong)).toEqual({});
    expect(all.length).toBeGreaterThanOrEqual(count);
    expect(Object.entries(reasons).filter(([, reason]) => reason !== "ok")).toEqual([]);
  });
});

function isSame(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}
