// Deploys the digits network, asks it for 16 handwritten digits, and shows what came back.
// `npm run quickstart` or `npm run example -- digits` runs it; `-- --keep` leaves the endpoint up, `-- --runtime docker`
// runs the model in a container (`--base-image`: on another image than node:24-bookworm-slim).
import { readFile } from "node:fs/promises";
import { parseArgs, styleText } from "node:util";
import { deployOnnxModel, windjammer, type Runtime } from "windjammer";

/** One handwritten digit: 8 rows of 8 pixels of 1 channel, 0 (paper) to 1 (ink). */
type Image = number[][][];

/** What the network answers: a score for each of the ten digits, and the best one. */
interface Answer {
  readonly scores: readonly number[];
  readonly digit: number;
}

interface Cases {
  readonly images: readonly Image[];
  readonly digits: readonly number[];
  readonly scores: readonly (readonly number[])[];
}

const startedAt = Number(process.env["QUICKSTART_STARTED_MS"] ?? performance.timeOrigin);
const { values: flags } = parseArgs({
  options: { keep: { type: "boolean" }, runtime: { type: "string" }, "base-image": { type: "string" } },
});
const shouldKeep = flags.keep === true;
const cases = JSON.parse(await readFile(new URL("digits-cases.json", import.meta.url), "utf8")) as Cases;

await using wj = await windjammer({
  ...(shouldKeep ? {} : { port: 0, adminPort: 0 }),
  runtime: await chosenRuntime(),
});
const digits = await deployOnnxModel<Image, Answer>(wj, {
  name: "digits",
  version: "1",
  model: new URL("digits.onnx", import.meta.url),
  latencyObjectiveMs: 1000,
  examples: cases.images.slice(0, 2).map((input, index) => ({ input, output: expected(index) })),
  onEvent: (event) => console.log(styleText("dim", `  ${event.step.padEnd(8)} ${event.message}`)),
});

const singles: Answer[] = [];
const latencies: number[] = [];
for (const image of cases.images) {
  const askedAt = performance.now();
  singles.push(await digits.predict(image));
  latencies.push(performance.now() - askedAt);
  if (singles.length === 1) {
    const seconds = (Date.now() - startedAt) / 1000;
    console.log(`\nFirst prediction ${seconds.toFixed(1)} s after the start.\n`);
  }
}
const listAskedAt = performance.now();
const list = await digits.predictBatch(cases.images);
const listMs = performance.now() - listAskedAt;

for (let row = 0; row < cases.images.length; row += 8) {
  drawRow(cases.images.slice(row, row + 8), singles.slice(row, row + 8));
}

const matches = cases.images.filter(
  (_, index) => isExpected(singles[index], index) && isExpected(list[index], index),
).length;
const sorted = latencies.toSorted((one, other) => one - other);
const ms = (value: number | undefined): string => `${(value ?? Number.NaN).toFixed(1)} ms`;
console.log(`${matches} of ${cases.images.length} match the expected digits and scores.`);
console.log(
  `Single queries: median ${ms(sorted[sorted.length >> 1])}, slowest ${ms(sorted.at(-1))}. The list of 16: ${ms(listMs)}.`,
);
console.log(`Batch sizes: ${await batchSizes()}.\n`);
if (!shouldKeep) console.log("npm run quickstart -- --keep leaves the endpoint up, so that this works:");
console.log(`curl -s ${digits.url} -d '${JSON.stringify({ input: cases.images[0] })}'`);

if (shouldKeep) {
  console.log("\nThe endpoint stays up. Ctrl-C stops it.");
  await new Promise((resolve) => {
    process.once("SIGINT", resolve);
    process.once("SIGTERM", resolve);
  });
}
process.exitCode = matches === cases.images.length ? 0 : 1;

async function chosenRuntime(): Promise<Runtime | undefined> {
  if (flags.runtime !== "docker") return undefined;
  const { docker } = await import("windjammer/runtimes/docker");
  return docker({ baseImage: flags["base-image"] });
}

function expected(index: number): { readonly scores: readonly number[]; readonly digit: number } {
  return { scores: cases.scores[index] ?? [], digit: cases.digits[index] ?? -1 };
}

function isExpected(got: Answer | undefined, index: number): boolean {
  const { scores, digit } = expected(index);
  const isClose = scores.every((score, at) => Math.abs((got?.scores[at] ?? Number.NaN) - score) < 1e-4);
  return got?.digit === digit && isClose;
}

/** Draws images side by side, two pixels a character, with the predicted digits below. */
function drawRow(images: readonly Image[], answers: readonly Answer[]): void {
  const shades = " ░▒▓█";
  for (let y = 0; y < 8; y++) {
    const line = images.map((image) =>
      (image[y] ?? []).map(([ink = 0]) => (shades[Math.round(ink * 4)] ?? " ").repeat(2)).join(""),
    );
    console.log(line.join("  "));
  }
  console.log(`${answers.map(({ digit }) => `       ${digit}        `).join("  ")}\n`);
}

/** How many batches of which size the replica got, from the server's own metrics. */
async function batchSizes(): Promise<string> {
  const buckets = [
    ...(await wj.metrics()).matchAll(/windjammer_batch_size_bucket\{[^}]*le="(\d+)"[^}]*\} (\d+)/g),
  ];
  let below = 0;
  const parts: string[] = [];
  for (const [, size, total] of buckets) {
    const count = Number(total) - below;
    below = Number(total);
    if (count > 0) parts.push(`${count} of up to ${size}`);
  }
  return parts.join(", ");
}
