// Trains one of the examples in this folder with its own framework, deploys it, and holds what the endpoint answers
// against what the framework itself answered: npm run example -- python/scikit-learn
// `--keep`: the endpoint stays, on port 1337. `--python PATH`: a Python that has the requirements, to train with; without
// it a .venv is made in the folder.
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { deployPython, windjammer, type JsonValue, type PythonOptions } from "windjammer";

/** What the framework itself answers; train.py writes it. */
interface Cases {
  readonly inputs: readonly JsonValue[];
  readonly outputs: readonly JsonValue[];
}

/** pyspark comes as source only. */
const OPTIONS: Readonly<Record<string, Partial<PythonOptions>>> = {
  pyspark: { buildFromSource: ["pyspark"] },
};
const TOLERANCE = 1e-5;

const { positionals, values: flags } = parseArgs({
  allowPositionals: true,
  options: { keep: { type: "boolean" }, python: { type: "string" }, "cache-dir": { type: "string" } },
});
const [given] = positionals;
if (given === undefined) throw new Error("expected the folder of an example, such as examples/python/keras");
const folder = resolve(given);
const name = basename(folder);

if (existsSync(join(folder, "train.py"))) {
  execFileSync(flags.python ?? environment(folder), ["-B", "train.py"], { cwd: folder, stdio: "inherit" });
}
const { inputs, outputs } = JSON.parse(readFileSync(join(folder, "cases.json"), "utf8")) as Cases;

const cacheDir = flags["cache-dir"];
await using wj = await windjammer({
  ...(flags.keep === true ? {} : { port: 0, adminPort: 0 }),
  ...(cacheDir === undefined ? {} : { cacheDir }),
});
const model = await deployPython(wj, {
  name,
  version: "1",
  folder,
  ...OPTIONS[name],
  examples: inputs.slice(0, 2).map((input, index) => ({ input, output: outputs[index] ?? null })),
  tolerance: TOLERANCE,
  readyTimeoutMs: 300_000,
  prepareTimeoutMs: 1_800_000,
  onEvent: ({ step, message }) => console.error(`${step}: ${message}`),
});
const together = await model.predictBatch(inputs);
let right = 0;
for (const [index, input] of inputs.entries()) {
  const expected = outputs[index];
  const alone = await model.predict(input);
  if (isClose(alone, expected) && isClose(together[index], expected)) right += 1;
}
console.log(
  `${name}: ${right} of ${inputs.length} answers equal the framework's own within ${TOLERANCE}, singly and in a batch`,
);
process.exitCode = right === inputs.length ? 0 : 1;
if (flags.keep === true) {
  console.log(`${model.url} takes queries until Ctrl-C`);
  await once(process, "SIGINT");
}

/** The Python of a virtual environment with the example's requirements. */
function environment(of: string): string {
  const python = join(of, ".venv/bin/python");
  if (existsSync(python)) return python;
  execFileSync("python3", ["-m", "venv", ".venv"], { cwd: of, stdio: "inherit" });
  const install = ["-m", "pip", "install", "--quiet", "-r", "requirements.txt"];
  execFileSync(python, install, { cwd: of, stdio: "inherit" });
  return python;
}

function isClose(got: unknown, expected: unknown): boolean {
  if (typeof expected === "number") return typeof got === "number" && Math.abs(got - expected) <= TOLERANCE;
  if (typeof expected !== "object" || expected === null) return got === expected;
  if (typeof got !== "object" || got === null) return false;
  const keys = Object.keys(expected);
  if (keys.join() !== Object.keys(got).join()) return false;
  return keys.every((key) =>
    isClose((got as Record<string, unknown>)[key], (expected as Record<string, unknown>)[key]),
  );
}
