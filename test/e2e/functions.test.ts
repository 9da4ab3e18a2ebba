import { spawn } from "node:child_process";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

interface Outcome {
  readonly expected: Readonly<Record<string, unknown>>;
  readonly fresh: Readonly<Record<string, unknown>>;
  readonly problems: Readonly<Record<string, string>>;
  readonly reasons: Readonly<Record<string, string>>;
  readonly served: Readonly<Record<string, unknown>>;
  readonly wanted: Readonly<Record<string, unknown>>;
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
  it.each([
    ["cases.mjs", 100],
    ["strange.mjs", 88],
    ["users.mjs", 75],
    ["packages.mjs", 15],
    ["cases.cjs", 17],
    ["cases.ts", 20],
  ] as const)("%s, at least %i of them", async (file, count) => {
    const { expected, fresh, problems, reasons, served, wanted } = await outcome(file);
    expect(problems).toEqual({});
    if (Object.keys(fresh).length > 0) expect(fresh).toEqual(expected);
    expect(Object.keys(served).length).toBeGreaterThanOrEqual(count);
    expect(Object.entries(reasons).filter(([, reason]) => reason !== "ok")).toEqual([]);
    expect(served).toEqual(wanted);
  });
});
