// Python models of real frameworks (examples/python) on a running Windjammer, against the frameworks' own outputs.
import { execFile, spawnSync } from "node:child_process";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { PythonCache } from "../../core/runtimes/process/python-cache.ts";
import { findInterpreter } from "../../core/runtimes/process/python.ts";
import {
  deployPython,
  windjammer,
  type JsonValue,
  type PythonOptions,
  type Windjammer,
} from "../../deployers/index.ts";
import { tempFolder } from "../helpers/temp.ts";

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

/** Whether pip's index has them, for this Python and machine; asked of pip, which installs nothing. */
function hasPackages(): boolean {
  const flags = ["--dry-run", "--quiet", "--no-deps", "--ignore-installed", "--only-binary", ":all:"];
  const { status } = spawnSync("python3", ["-m", "pip", "install", ...flags, ...REQUIREMENTS], {
    env: { PIP_RETRIES: "0", ...process.env },
    timeout: 120_000,
  });
  return status === 0;
}

const why = "(skipped where pip's index does not have the frameworks for this Python)";
const environment = { KERAS_BACKEND: "torch" };

describe.skipIf(!hasPackages())(`models of frameworks ${why}`, () => {
  let wj: Windjammer;
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
  }, 300_000);

  afterAll(async () => {
    await wj.close();
    await rm(cacheDir, { recursive: true });
  });

  async function inPython(folder: string, ...args: readonly string[]): Promise<void> {
    await run(python, ["-B", ...args], { cwd: folder, env: { ...process.env, ...environment } });
  }

  async function deployed(
    name: string,
    folder: string,
    options: Partial<PythonOptions> = {},
  ): Promise<Awaited<ReturnType<typeof deployPython>>> {
    await writeFile(join(folder, "requirements.txt"), REQUIREMENTS.join("\n"));
    return deployPython(wj, { name, version: "1", folder, environment, ...options });
  }

  it.each(["scikit-learn", "pytorch", "torchscript", "keras", "lightgbm"])(
    "%s answers what the framework itself answers, within 1e-5, singly and in batches",
    async (example) => {
      const folder = join(await tempFolder(), example);
      await cp(join(EXAMPLES, example), folder, { recursive: true });
      for (const line of (await readFile(join(folder, "requirements.txt"), "utf8")).trim().split("\n"))
        expect(REQUIREMENTS).toContain(line);
      await inPython(folder, "train.py");
      const { inputs, outputs } = JSON.parse(await readFile(join(folder, "cases.json"), "utf8")) as {
        inputs: JsonValue[];
        outputs: JsonValue[];
      };
      const model = await deployed(example, folder);
      const answers = await model.predictBatch(inputs);
      expect(answers).toHaveLength(outputs.length);
      for (const [index, answer] of answers.entries()) expectClose(answer, outputs[index] ?? null);
      expectClose(await model.predict(inputs[3] ?? null), outputs[3] ?? null);
    },
  );

  it("a closure of cloudpickle takes its state along", async () => {
    const folder = await tempFolder();
    const code = `import cloudpickle
factor = 3
cloudpickle.dump(lambda inputs: [float(row.sum()) * factor for row in inputs], open("model.bin", "wb"))`;
    await inPython(folder, "-c", code);
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
    await inPython(folder, "-c", code);
    await writeFile(
      join(folder, "config.json"),
      JSON.stringify({ description: "counts", tasks: ["custom"] }),
    );
    const model = await deployed("counts", folder, { inputType: "json" });
    expect(await model.predict({ text: "four" })).toEqual({ task: "custom", length: 4 });
  });
});

describe("a plain function", () => {
  it("needs no packages", async () => {
    await using wj = await windjammer({ port: 0, adminPort: 0 });
    const words = await deployPython<"strings">(wj, {
      name: "words",
      version: "1",
      folder: join(EXAMPLES, "function"),
      inputType: "strings",
    });
    expect(await words.predict("two words")).toEqual({ words: 2, letters: 8 });
  });
});

function expectClose(got: unknown, expected: JsonValue): void {
  if (typeof expected === "number") {
    expect(Math.abs((got as number) - expected)).toBeLessThanOrEqual(1e-5);
  } else if (Array.isArray(expected)) {
    expect(got).toHaveLength(expected.length);
    for (const [index, each] of expected.entries()) expectClose((got as unknown[])[index], each as JsonValue);
  } else {
    expect(Object.keys(got as object)).toEqual(Object.keys(expected as object));
    for (const [key, each] of Object.entries(expected as object))
      expectClose((got as Record<string, unknown>)[key], each as JsonValue);
  }
}
