import { spawn } from "node:child_process";
import { cp, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { transform } from "esbuild";
import { describe, expect, it } from "vitest";
import { tempFolder } from "../helpers/temp.ts";

interface Outcome {
  readonly answers: Readonly<
    Record<string, { readonly served?: unknown; readonly wanted?: unknown; readonly problem?: string }>
  >;
  readonly reasons: Readonly<Record<string, string>>;
}

const path = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

const fixtures = path("../fixtures/functions");

/** In a process of its own: under vitest the functions would be what Vite makes of them. */
async function outcome(file: string, ...options: readonly "together"[]): Promise<Outcome> {
  const program = path("functions-program.ts");
  const child = spawn(process.execPath, ["--conditions=windjammer-source", program, file, ...options]);
  const [out, errors] = await Promise.all([text(child.stdout), text(child.stderr)]);
  const [, result] = /^RESULT([^]*)END$/m.exec(out) ?? [];
  if (result === undefined) throw new Error(errors);
  return JSON.parse(result) as Outcome;
}

/** The ES modules of the fixtures as the CommonJS that compilers make of them, but those that only can be ES modules. */
async function commonJs(): Promise<string> {
  const folder = await tempFolder();
  const modules = (await readdir(fixtures)).filter(
    (name) => name.endsWith(".mjs") && name !== ES_MODULES_ONLY,
  );
  for (const name of modules) {
    const source = await readFile(join(fixtures, name), "utf8");
    const { code } = await transform(source, { format: "cjs", platform: "node", target: "node24" });
    const renamed = code.replaceAll(/(require\("\.\/[^"]+)\.mjs"\)/g, '$1.cjs")');
    await writeFile(join(folder, name.replace(/\.mjs$/, ".cjs")), renamed);
  }
  await cp(join(fixtures, "strange.json"), join(folder, "strange.json"));
  await symlink(path("../../node_modules"), join(folder, "node_modules"));
  return folder;
}

/** Top-level await and import.meta. */
const ES_MODULES_ONLY = "modules.mjs";

function expectAll(file: string, { answers, reasons }: Outcome, count: number): void {
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
}

function isSame(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}

describe("live functions give in a container what they give here", () => {
  // Those of cases and strange are deployed one by one, each as a model of its own.
  it.each([
    ["cases.mjs", 107],
    ["cases.cjs", 18],
    ["cases.ts", 21],
    ["strange.mjs", 88],
    ["users.mjs", 74],
    ["odder.mjs", 109],
    ["packages.mjs", 14],
    [ES_MODULES_ONLY, 3],
  ] as const)("%s, at least %i of them", { timeout: 600_000 }, async (file, count) => {
    expectAll(file, await outcome(join(fixtures, file)), count);
  });

  it.each([
    ["cases.cjs", 107],
    ["strange.cjs", 88],
    ["users.cjs", 74],
    ["odder.cjs", 109],
  ] as const)(
    "the same compiled to CommonJS, %s, at least %i of them",
    { timeout: 600_000 },
    async (file, count) => {
      const outcomes = await outcome(join(await commonJs(), file), "together");
      expectAll(`compiled to CommonJS, ${file}`, outcomes, count);
    },
  );
});
