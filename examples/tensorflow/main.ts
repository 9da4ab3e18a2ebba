// Deploys one network in two forms, a SavedModel and a TensorFlow.js model, and holds their answers side by side.
// The SavedModel needs @tensorflow/tfjs-node: it is installed if it is not there. `--packages-from FOLDER`: a folder that
// has it; `--without-native`: the TensorFlow.js model alone, which needs nothing native.
import { readFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { deployTensorFlowModel, windjammer, type DeployedApplication } from "windjammer";
import { processRuntime } from "windjammer/runtimes/process";

/** 8 rows of 8 pixels of 1 channel, 0 (paper) to 1 (ink). */
type Image = number[][][];

interface Cases {
  readonly images: readonly Image[];
  readonly digits: readonly number[];
  readonly scores: readonly (readonly number[])[];
}

const { values: flags } = parseArgs({
  options: { "packages-from": { type: "string" }, "without-native": { type: "boolean" } },
});
/** The network, its images and what is expected lie with the quickstart. */
const DIGITS = new URL("../digits/", import.meta.url);
const folder = flags["packages-from"];
const cases = JSON.parse(await readFile(new URL("digits-cases.json", DIGITS), "utf8")) as Cases;

await using wj = await windjammer({
  port: 0,
  adminPort: 0,
  runtime: processRuntime(folder === undefined ? {} : { packagesFrom: [folder, process.cwd()] }),
});

/** Both have the scores; the SavedModel says the digit, too, which is left out here. */
function deploy(name: string, model: string): Promise<DeployedApplication<Image, number[]>> {
  return deployTensorFlowModel<Image, number[]>(wj, {
    name,
    version: "1",
    model: new URL(model, DIGITS),
    outputs: ["scores"],
    latencyObjectiveMs: 2000,
    examples: cases.images
      .slice(0, 2)
      .map((input, index) => ({ input, output: [...(cases.scores[index] ?? [])] })),
  });
}

const forms = [
  ...(flags["without-native"] === true ? [] : [await deploy("digits-native", "savedmodel")]),
  await deploy("digits-wasm", "tfjs/model.json"),
];

let greatest = 0;
for (const form of forms) {
  const startedAt = performance.now();
  const answers = await form.predictBatch(cases.images);
  const tookMs = performance.now() - startedAt;
  const read = answers.map((scores) => scores.indexOf(Math.max(...scores)));
  const right = read.filter((digit, index) => digit === cases.digits[index]).length;
  const away = Math.max(
    ...answers.flatMap((scores, row) =>
      scores.map((score, digit) => Math.abs(score - (cases.scores[row]?.[digit] ?? NaN))),
    ),
  );
  greatest = Math.max(greatest, away);
  console.log(
    `${form.name.padEnd(14)} ${read.join(" ")}   ${right} of ${read.length} right, in ${tookMs.toFixed(0)} ms`,
  );
}
console.log(`Scores within 0.00001 of the expected ones: ${greatest < 1e-5 ? "yes" : "NO"}.`);
process.exitCode = greatest < 1e-5 ? 0 : 1;
