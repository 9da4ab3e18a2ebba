// Python models of real frameworks (examples/python) on a running Windjammer, against the frameworks' own outputs.
import { execFile, spawnSync } from "node:child_process";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { PythonCache } from "../../core/runtimes/process/python-cache.ts";
import { findInterpreter } from "../../core/runtimes/process/python.ts";
import {
  deployPython,
  PackageNotFoundError,
  windjammer,
  type PythonOptions,
  type Windjammer,
} from "../../deployers/index.ts";
import { type Newcomer, newcomer, SET_UP_MS } from "../helpers/newcomer.ts";
import { hasPackages } from "../helpers/pip.ts";
import { tempFolder } from "../helpers/temp.ts";
import { pythonIndex } from "./python-index.ts";

const run = promisify(execFile);
const EXAMPLES = fileURLToPath(new URL("../../examples/python/", import.meta.url));

/** One environment for all, which is made once: each example's own requirements are part of it. */
const REQUIREMENTS = [
  "cloudpickle==3.1.2",
  "dill==0.4.1",
  "keras==3.15.1",
  "lightgbm==4.7.0",
  "numpy==2.4.6",
  "scikit-learn==1.9.1",
  "torch==2.13.0+cpu",
];
const SHARING = ["scikit-learn", "pytorch", "torchscript", "keras", "lightgbm"];

async function requirementsOf(example: string): Promise<readonly string[]> {
  return (await readFile(join(EXAMPLES, example, "requirements.txt"), "utf8")).trim().split("\n");
}

/** Runs an example in a copy of its folder, as its README says; what it prints last. */
async function runExample(folder: string, ...flags: readonly string[]): Promise<string> {
  const args = ["--conditions=windjammer-source", join(EXAMPLES, "run.ts"), folder, ...flags];
  const { stdout } = await run(process.execPath, args, { env: { PIP_RETRIES: "0", ...process.env } });
  return lastLine(stdout);
}

function lastLine(text: string): string {
  return text.trim().split("\n").at(-1) ?? "";
}

/** What an example's page says to type for a server that runs: deploy it, and ask it. */
async function commandsOf(example: string): Promise<readonly string[]> {
  const page = await readFile(join(EXAMPLES, example, "README.md"), "utf8");
  const [, block = ""] = /^```sh\n(.*?)^```$/ms.exec(page) ?? [];
  return block.trim().split("\n");
}

async function copied(example: string): Promise<string> {
  const folder = join(await tempFolder(), example);
  await cp(join(EXAMPLES, example), folder, { recursive: true });
  return folder;
}

const ALL_EQUAL = /: (\d+) of \1 answers equal the framework's own within 0\.00001, singly and in a batch$/;

const why = "(skipped where pip's index does not have the frameworks for this Python)";

describe.skipIf(!hasPackages(REQUIREMENTS))(`models of frameworks ${why}`, () => {
  let wj: Windjammer;
  let place: Newcomer;
  let python: string;
  let cacheDir: string;

  beforeAll(async () => {
    cacheDir = await mkdtemp(join(tmpdir(), "wj-frameworks-"));
    const cache = new PythonCache(join(cacheDir, "python"));
    await cache.open();
    const signal = AbortSignal.timeout(300_000);
    const interpreter = await findInterpreter("python3", signal);
    const set = { interpreter, requirements: REQUIREMENTS, fromSource: [], wheels: undefined };
    ({ python } = await cache.install(set, { signal, onInstall: () => {}, onLine: () => {} }));
    wj = await windjammer({ port: 0, adminPort: 0, cacheDir });
    place = await newcomer(["--cache-dir", cacheDir]);
    await place.example("python/run.ts");
  }, SET_UP_MS);

  afterAll(async () => {
    await wj.close();
    await place[Symbol.asyncDispose]();
    await rm(cacheDir, { recursive: true });
  });

  it.each(SHARING)(
    "%s answers what the framework itself answers, within 1e-5, from an empty folder with the published package only",
    async (example) => {
      const folder = await place.example(`python/${example}`);
      for (const line of await requirementsOf(example)) expect(REQUIREMENTS).toContain(line);
      await writeFile(join(place.folder, folder, "requirements.txt"), REQUIREMENTS.join("\n"));
      const flags = `--python ${python} --cache-dir ${cacheDir}`;
      expect(lastLine(await place.type(`node examples/python/run.ts ${folder} ${flags} 2>&1`))).toMatch(
        ALL_EQUAL,
      );

      const [deploy = "", ask = ""] = await commandsOf(example);
      expect(await place.type(deploy)).toContain(`${example} version 1 serves`);
      const reply: unknown = JSON.parse(await place.type(ask.replace("localhost:1337", place.queryUrl)));
      expect(reply).toMatchObject({ output: expect.anything(), default: false });
    },
  );

  async function deployed(
    name: string,
    folder: string,
    options: Partial<PythonOptions> = {},
  ): Promise<Awaited<ReturnType<typeof deployPython>>> {
    await writeFile(join(folder, "requirements.txt"), REQUIREMENTS.join("\n"));
    return deployPython(wj, { name, version: "1", folder, ...options });
  }

  it("a closure of cloudpickle takes its state along", async () => {
    const folder = await tempFolder();
    const code = `import cloudpickle
factor = 3
cloudpickle.dump(lambda inputs: [float(row.sum()) * factor for row in inputs], open("model.bin", "wb"))`;
    await run(python, ["-B", "-c", code], { cwd: folder });
    const model = await deployed("closure", folder, { inputType: "doubles" });
    expect(await model.predictBatch([[1, 2], [], [0.5]])).toEqual([9, 0, 1.5]);
  });

  it("a callable of dill with tasks, as Backprop saves it, gets the params and the task", async () => {
    const folder = await tempFolder();
    const code = `import dill
class Model:
    def __call__(self, params, task="none"):
        return {"task": task, "length": len(params["text"])}
dill.dump(Model(), open("model.bin", "wb"))`;
    await run(python, ["-B", "-c", code], { cwd: folder });
    await writeFile(
      join(folder, "config.json"),
      JSON.stringify({ description: "counts", tasks: ["custom"] }),
    );
    const model = await deployed("counts", folder, { inputType: "json" });
    expect(await model.predict({ text: "four" })).toEqual({ task: "custom", length: 4 });
  });
});

it("a plain function needs no packages", async () => {
  expect(await runExample(await copied("function"))).toMatch(ALL_EQUAL);
});

/** Frameworks whose packages not every index has, or that need more than Python. */
const OTHERS = [
  { example: "xgboost", first: "xgboost", mayBuild: false, program: "python3" },
  { example: "pyspark", first: "pyspark", mayBuild: true, program: "java" },
  { example: "mxnet", first: "mxnet", mayBuild: false, program: "python3" },
] as const;

for (const { example, first, mayBuild, program } of OTHERS) {
  const requirements = await requirementsOf(example);
  const hasProgram = spawnSync(program, ["-version"]).error === undefined;
  const canRun = hasProgram && hasPackages(requirements, mayBuild);
  const reason = hasProgram
    ? `pip's index has no ${requirements[0]} for this Python`
    : `there is no ${program}`;

  describe(example, () => {
    it.skipIf(!canRun)(
      `answers what the framework itself answers, within 1e-5${canRun ? "" : ` (skipped: ${reason})`}`,
      async () => {
        const cacheDir = await tempFolder();
        expect(await runExample(await copied(example), "--cache-dir", cacheDir)).toMatch(ALL_EQUAL);
      },
      900_000,
    );

    it("is deployed up to the install of its packages, which names the one that the index lacks", async () => {
      await using index = await pythonIndex([{ name: "numpy", version: "2.4.6" }]);
      vi.stubEnv("PIP_CONFIG_FILE", "/dev/null");
      vi.stubEnv("PIP_FIND_LINKS", undefined);
      vi.stubEnv("PIP_EXTRA_INDEX_URL", undefined);
      vi.stubEnv("PIP_INDEX_URL", index.url);
      try {
        await using wj = await windjammer({ port: 0, adminPort: 0, cacheDir: await tempFolder() });
        const steps: string[] = [];
        const attempt = deployPython(wj, {
          name: example,
          version: "1",
          folder: join(EXAMPLES, example),
          ...(mayBuild ? { buildFromSource: [first] } : {}),
          onEvent: ({ step }) => steps.push(step),
        });
        await expect(attempt).rejects.toThrow(PackageNotFoundError);
        await expect(attempt).rejects.toThrow(first);
        expect(new Set(steps)).toEqual(new Set(["receive", "check", "store", "prepare"]));
        expect(await wj.models()).toEqual([]);
      } finally {
        vi.unstubAllEnvs();
      }
    });
  });
}
