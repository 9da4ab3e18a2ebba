// Runs a file of function cases: serialized, loaded in a fresh process, and deployed together; prints what came out.
import { mkdir, rm, symlink, writeFile } from "node:fs/promises";
import { spawnSync } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { CLOSURE_FILES, serialize } from "../../deployers/function/closure/serialize.ts";
import { deployFunction, windjammer } from "../../deployers/index.ts";

type Fn = (inputs: readonly unknown[]) => unknown;
interface Cases {
  /** Each for itself would take a snapshot of the heap: they are only deployed, all at once. */
  readonly isTogether?: boolean;
  readonly cases: Readonly<Record<string, readonly [Fn, readonly unknown[]]>>;
  readonly refused?: Readonly<Record<string, readonly [Fn, string]>>;
}
const LOAD = `
  const { loadClosure } = await import(process.argv[1]);
  const results = {};
  for (const [name, folder, inputs] of JSON.parse(process.argv[2])) {
    try { results[name] = await (await loadClosure(folder, JSON.parse(process.argv[3]))).fn(inputs); }
    catch (error) { results[name] = "threw " + error?.stack; }
  }
  console.log("RESULT" + JSON.stringify(results) + "END");`;

const root = fileURLToPath(new URL("../..", import.meta.url));
const [, , file = ""] = process.argv;
const { cases, refused = {}, isTogether = false } = (await import(pathToFileURL(file).href)) as Cases;
const folder = mkdtempSync(join(tmpdir(), "wj-functions-"));

/** What a case gives here, before JSON would lose the difference. */
async function local(name: string): Promise<unknown> {
  const [fn, inputs] = cases[name] ?? [() => undefined, []];
  return JSON.parse(JSON.stringify((await fn(inputs)) ?? null)) as unknown;
}

async function problemOf(fn: Fn, at: string): Promise<string | undefined> {
  await mkdir(at);
  try {
    serialize({ fn, setup: undefined, packages: undefined }, at);
    return undefined;
  } catch (error) {
    return String(error);
  }
}

try {
  await symlink(join(root, "node_modules"), join(folder, "node_modules"));
  const expected: Record<string, unknown> = {};
  const problems: Record<string, string> = {};
  const todo: [string, string, readonly unknown[]][] = [];
  for (const [index, [name, [fn, inputs]]] of Object.entries(cases).entries()) {
    const at = join(folder, String(index));
    const problem = isTogether ? undefined : await problemOf(fn, at);
    if (problem !== undefined) problems[name] = problem;
    else if (!isTogether) todo.push([name, at, inputs]);
    expected[name] = await local(name);
  }
  await writeFile(join(folder, "package.json"), "{}");
  const closure = pathToFileURL(join(root, "containers/function/closure.ts")).href;
  const loaded = spawnSync(
    process.execPath,
    ["--input-type=module", "-e", LOAD, closure, JSON.stringify(todo), JSON.stringify(CLOSURE_FILES)],
    { encoding: "utf8" },
  );
  const [, fresh = "{}"] = /^RESULT([^]*)END$/m.exec(loaded.stdout) ?? [];
  if (loaded.status !== 0) problems["loading"] = loaded.stderr;

  const reasons: Record<string, string> = {};
  for (const [name, [fn, text]] of Object.entries(refused)) {
    try {
      serialize({ fn, setup: undefined, packages: undefined }, mkdtempSync(join(folder, "refused-")));
      reasons[name] = "not refused";
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      reasons[name] = message.includes(text) ? "ok" : message;
    }
  }

  // One deployment of a function that holds all the others, with the packages that they use.
  const names = Object.keys(cases).filter((name) => !Object.hasOwn(problems, name));
  const table = new Map(names.map((name) => [name, cases[name]?.[0]]));
  await using wj = await windjammer({ port: 0, adminPort: 0 });
  const all = await deployFunction(wj, {
    name: "all",
    version: "1",
    inputType: "json",
    single: true,
    packages: {},
    fn: async (input) => {
      const { name, inputs } = input as unknown as { name: string; inputs: unknown[] };
      return (await table.get(name)?.(inputs)) ?? null;
    },
  });
  const served: Record<string, unknown> = {};
  const wanted: Record<string, unknown> = {};
  for (const name of names) {
    const inputs = cases[name]?.[1] as number[];
    served[name] = await all.predict({ name, inputs });
    wanted[name] = await local(name);
  }
  console.log(
    `RESULT${JSON.stringify({ expected, problems, fresh: JSON.parse(fresh) as unknown, reasons, served, wanted })}END`,
  );
} finally {
  await rm(folder, { recursive: true, force: true });
}
