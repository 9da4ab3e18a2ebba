// Deploys the functions of a file through the process runtime, and prints what they gave there and what they give here.
import { rm } from "node:fs/promises";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { serialize } from "../../deployers/function/closure/serialize.ts";
import { functionDeployer, type FunctionOptions } from "../../deployers/function/index.ts";
import { deployFunction, windjammer } from "../../deployers/index.ts";

type Fn = (inputs: never) => unknown;
interface Cases {
  /** One deployment of a function that holds all of them: each for itself would take a snapshot of the heap. */
  readonly isTogether?: boolean;
  readonly cases: Readonly<Record<string, readonly [Fn, readonly unknown[]]>>;
  readonly refused?: Readonly<Record<string, readonly [Fn, string]>>;
}

/** What a function gives in a container and here; `problem` where it could not be deployed or did not answer. */
interface Answer {
  readonly served?: unknown;
  readonly wanted?: unknown;
  readonly problem?: string;
}

const [, , file = "", together] = process.argv;
const {
  cases,
  refused = {},
  isTogether = together !== undefined,
} = (await import(pathToFileURL(file).href)) as Cases;

function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value ?? null)) as unknown;
}

async function answer(name: string, serve: (fn: Fn, inputs: never) => Promise<unknown>): Promise<Answer> {
  const [fn, inputs] = (cases[name] ?? []) as unknown as readonly [Fn, never];
  try {
    // It is captured before it runs here, which may change what it holds.
    const served = await serve(fn, inputs);
    return { served: plain(served), wanted: plain(await fn(inputs)) };
  } catch (error) {
    return { problem: error instanceof Error ? error.message : String(error) };
  }
}

const names = Object.keys(cases);
const answers: Record<string, Answer> = {};
await using wj = await windjammer({ port: 0, adminPort: 0 });
if (isTogether) {
  const table = new Map(names.map((name) => [name, cases[name]?.[0]]));
  const all = await deployFunction(wj, {
    name: "all",
    version: "1",
    inputType: "json",
    single: true,
    packages: {},
    fn: async (input) => {
      const { name, inputs } = input as { name: string; inputs: never };
      return (await table.get(name)?.(inputs)) ?? null;
    },
  });
  for (const name of names)
    answers[name] = await answer(name, async (_, inputs) => all.predict({ name, inputs }));
} else {
  for (const [index, name] of names.entries())
    answers[name] = await answer(name, async (fn, inputs) => {
      const model = `case-${index}`;
      const one = await wj.deploy<FunctionOptions, never>(functionDeployer, {
        name: model,
        version: "1",
        inputType: "json",
        single: true,
        fn,
      });
      const served = await one.predict(inputs);
      await wj.deleteApplication(model);
      await wj.deleteModel(model);
      return served;
    });
}

const reasons: Record<string, string> = {};
const folder = mkdtempSync(join(tmpdir(), "wj-functions-"));
try {
  for (const [name, [fn, text]] of Object.entries(refused))
    try {
      serialize({ fn, setup: undefined, packages: undefined }, mkdtempSync(join(folder, "refused-")));
      reasons[name] = "not refused";
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      reasons[name] = message.includes(text) ? "ok" : message;
    }
} finally {
  await rm(folder, { recursive: true, force: true });
}
console.log(`RESULT${JSON.stringify({ answers, reasons })}END`);
