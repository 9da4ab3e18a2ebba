// What the TensorFlow loader costs over the bare runtime: the digits network at batch 1, 8 and 64, on WebAssembly and,
// where there is a tfjs-node, natively. `node --conditions=windjammer-source test/bench/programs/tensorflow-loader.ts`
import { mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { LoadedModel } from "../../../containers/loader.ts";
import { loader } from "../../../containers/tensorflow/loader.ts";
import { modelFiles } from "../../../containers/tensorflow/model-json.ts";
import { tensorflow, type TensorFlowOptions } from "../../../deployers/index.ts";
import { hasTfjsNode, TFJS_NODE_FOLDER } from "../../helpers/tfjs-node.ts";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const DIGITS = join(ROOT, "examples/digits");
const ROWS = [1, 8, 64];
const RUNS = 2000;

interface Tensor {
  dataSync(): unknown;
  dispose(): void;
}

/** One call: rows in as floats, scores out as floats. */
type Call = (data: Float32Array, rows: number) => unknown;

async function load(options: TensorFlowOptions, nodeModules: string): Promise<LoadedModel & AsyncDisposable> {
  const modelDir = await mkdtemp(join(tmpdir(), "wj-bench-"));
  const manifest = await tensorflow.bundle(options, modelDir, () => {});
  await writeFile(join(modelDir, "manifest.json"), JSON.stringify(manifest));
  await symlink(nodeModules, join(modelDir, "node_modules"));
  const model = await loader.load({ modelDir, manifest, threads: 1 });
  return { ...model, [Symbol.asyncDispose]: () => rm(modelDir, { recursive: true }) };
}

function through(model: LoadedModel): Call {
  const { signal } = new AbortController();
  return (data, rows) =>
    model.predict({
      count: rows,
      inputs: [
        {
          name: "image",
          datatype: "FP32",
          shape: [rows, 8, 8, 1],
          data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
        },
      ],
      signal,
    });
}

/** Median microseconds of a call; the two take turns, so that both meet the same machine. */
async function medians(calls: readonly Call[], rows: number): Promise<readonly number[]> {
  const data = new Float32Array(rows * 64).fill(0.5);
  const times: number[][] = calls.map(() => []);
  for (let run = 0; run < RUNS; run += 1) {
    for (const [index, call] of calls.entries()) {
      const startedAt = performance.now();
      await call(data, rows);
      if (run > RUNS / 4) times[index]?.push((performance.now() - startedAt) * 1000);
    }
  }
  return times.map((list) => list.toSorted((a, b) => a - b)[list.length >> 1] ?? Number.NaN);
}

async function report(name: string, bare: Call, loaded: Call): Promise<void> {
  for (const rows of ROWS) {
    const [one = 0, other = 0] = await medians([bare, loaded], rows);
    const over = `${(other - one).toFixed(0)} us, ${(other / one).toFixed(2)}x`;
    console.log(
      `${name.padEnd(24)} batch ${`${rows}`.padStart(2)}  bare ${one.toFixed(0)} us  loader ${other.toFixed(0)} us  (${over})`,
    );
  }
}

const own = createRequire(import.meta.url);
const tf = own("@tensorflow/tfjs-core") as { tensor(data: Float32Array, shape: readonly number[]): Tensor };
const layers = own("@tensorflow/tfjs-layers") as {
  loadLayersModel(files: object): Promise<{ predictOnBatch(input: Tensor): Tensor }>;
};
{
  await using wasm = await load({ model: join(DIGITS, "tfjs"), backend: "wasm" }, join(ROOT, "node_modules"));
  const model = await layers.loadLayersModel(modelFiles(join(DIGITS, "tfjs"), "model.json"));
  const bare: Call = (data, rows) => {
    const input = tf.tensor(data, [rows, 8, 8, 1]);
    const output = model.predictOnBatch(input);
    output.dataSync();
    input.dispose();
    output.dispose();
  };
  await report("layers model, wasm", bare, through(wasm));
}
if (hasTfjsNode) {
  const options = { model: join(DIGITS, "savedmodel"), outputs: ["scores"], runtimeVersion: "4.22.0" };
  await using native = await load(options, join(TFJS_NODE_FOLDER, "node_modules"));
  const node = createRequire(join(TFJS_NODE_FOLDER, "x.js"))("@tensorflow/tfjs-node") as typeof tf & {
    node: { loadSavedModel(path: string): Promise<{ predict(inputs: object): Record<string, Tensor> }> };
  };
  const model = await node.node.loadSavedModel(join(DIGITS, "savedmodel"));
  const bare: Call = (data, rows) => {
    const image = node.tensor(data, [rows, 8, 8, 1]);
    const outputs = model.predict({ image });
    outputs["scores"]?.dataSync();
    for (const tensor of [image, ...Object.values(outputs)]) tensor.dispose();
  };
  await report("SavedModel, native", bare, through(native));
} else console.log(`SavedModel, native: left out, ${dirname(TFJS_NODE_FOLDER)} has no tfjs-node`);
