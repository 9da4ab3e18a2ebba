// The TensorFlow loader with the real runtimes: TensorFlow.js on wasm and cpu, and the native library where there is one.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { SavedModelSession } from "../../../containers/tensorflow/saved-model.ts";
import { TfjsSession } from "../../../containers/tensorflow/tfjs-session.ts";
import type { TensorFlowModelSettings } from "../../../containers/tensorflow/settings.ts";
import type { TensorSession } from "../../../containers/tensor-model/session.ts";
import { encodeBytes, type Tensor } from "../../../containers/tensors.ts";
import { readManifest } from "../../../containers/manifest.ts";
import { tensorflow, type TensorFlowOptions } from "../../../deployers/index.ts";
import { testLoader, type LoaderCase } from "../../conformance/loader.ts";
import {
  type BundleOnDisk,
  deployerBundle,
  functionBundle,
  TestContainer,
  textsOf,
} from "../../helpers/container.ts";
import { writeFiles } from "../../helpers/project.ts";
import { graphModel, placeholder, tableModel, tensors } from "../../helpers/tfjs-writer.ts";
import { hasTfjsNode, NATIVE, TFJS_NODE_FOLDER } from "../../helpers/tfjs-node.ts";

const NATIVE_MODULES = join(TFJS_NODE_FOLDER, "node_modules");
const FIXTURES = fileURLToPath(new URL("../../fixtures/tensorflow/", import.meta.url));
const DIGITS = fileURLToPath(new URL("../../../examples/digits/", import.meta.url));

function tensor(described: Omit<Tensor, "data">, values: ArrayBufferView): Tensor {
  return { ...described, data: new Uint8Array(values.buffer, values.byteOffset, values.byteLength) };
}

function floats(data: Uint8Array | undefined): number[] {
  return Array.from(new Float32Array(Uint8Array.from(data ?? []).buffer));
}

/** A bundle of a model of these files, on wasm unless `options` says otherwise. */
async function tfjsBundle(
  files: Readonly<Record<string, string | Uint8Array>>,
  options: Partial<TensorFlowOptions> = {},
): Promise<BundleOnDisk> {
  const folder = await mkdtemp(join(tmpdir(), "wj-model-"));
  try {
    await writeFiles(folder, files);
    return await deployerBundle(
      tensorflow,
      { model: folder, backend: "wasm", ...options },
      options.backend === "tensorflow" ? NATIVE_MODULES : undefined,
    );
  } finally {
    await rm(folder, { recursive: true });
  }
}

function savedModelBundle(name: string, options: Partial<TensorFlowOptions> = {}): Promise<BundleOnDisk> {
  return deployerBundle(tensorflow, { model: join(FIXTURES, name), ...options }, NATIVE_MODULES);
}

const TABLE = [10, 20, 30, 40];

const table: Pick<LoaderCase, "count" | "badCode" | "expectAnswer"> = {
  count: 3,
  badCode: "MODEL_ERROR",
  expectAnswer(result, row, input) {
    expect(floats(result.outputs.get("value")?.data)[row]).toBe(TABLE[input]);
  },
};

testLoader({
  ...table,
  name: "tensorflow on wasm",
  modelFile: "model/model.json",
  badMessage: /index|indices/i,
  bundle: () => tfjsBundle(tableModel(TABLE)),
  tensors: (rows) => [
    tensor(
      { name: "index", datatype: "INT32", shape: [rows.length] },
      Int32Array.from(rows, (row) => (row === "bad" ? 99 : row)),
    ),
  ],
});

describe.skipIf(!hasTfjsNode)(NATIVE, () => {
  testLoader({
    ...table,
    name: "tensorflow, SavedModel",
    modelFile: "model/saved_model.pb",
    badMessage: /indices\[0\] = 99 is not in \[0, 3\)/,
    bundle: () => savedModelBundle("table-first"),
    tensors: (rows) => [
      tensor(
        { name: "index", datatype: "INT64", shape: [rows.length] },
        BigInt64Array.from(rows, (row) => (row === "bad" ? 99n : BigInt(row))),
      ),
    ],
    expectAnswer(result, row, input) {
      expect(floats(result.outputs.get("value")?.data)[row]).toBe(10 + input);
    },
  });

  test("the digits network gives the expected scores, one by one and as a batch", async () => {
    const { images, scores } = JSON.parse(await readFile(join(DIGITS, "digits-cases.json"), "utf8")) as {
      readonly images: number[][][][];
      readonly scores: number[][];
    };
    await using bundle = await deployerBundle(
      tensorflow,
      { model: join(DIGITS, "savedmodel") },
      NATIVE_MODULES,
    );
    await using container = await TestContainer.start(bundle);
    const batch = Float32Array.from(images.flat(3));
    const all = await container.infer([
      tensor({ name: "image", datatype: "FP32", shape: [images.length, 8, 8, 1] }, batch),
    ]);
    expect(all.outputs.get("scores")?.shape).toEqual([images.length, 10]);
    for (const [index, score] of floats(all.outputs.get("scores")?.data).entries())
      expect(Math.abs(score - (scores.flat()[index] ?? Number.NaN))).toBeLessThan(1e-5);
    for (const [row, expected] of scores.entries()) {
      const image = batch.subarray(row * 64, (row + 1) * 64);
      const one = await container.infer([
        tensor({ name: "image", datatype: "FP32", shape: [1, 8, 8, 1] }, image),
      ]);
      for (const [index, score] of floats(one.outputs.get("scores")?.data).entries())
        expect(Math.abs(score - (expected[index] ?? Number.NaN))).toBeLessThan(1e-5);
    }
  });

  test("every element type goes in and out, 64-bit integers whole", async () => {
    await using bundle = await savedModelBundle("types", { signature: "echo" });
    await using container = await TestContainer.start(bundle);
    const texts = ["one", "zwölf", ""];
    const { outputs, errors } = await container.infer([
      tensor({ name: "count", datatype: "INT32", shape: [3] }, Int32Array.of(1, -(2 ** 30), 2 ** 30 - 1)),
      tensor({ name: "flags", datatype: "BOOL", shape: [3, 2] }, Uint8Array.of(1, 0, 0, 0, 1, 1)),
      tensor({ name: "id", datatype: "INT64", shape: [3] }, BigInt64Array.of(2n ** 53n, -2n, 2n ** 62n)),
      tensor({ name: "pixels", datatype: "UINT8", shape: [3, 2] }, Uint8Array.of(0, 255, 1, 1, 200, 0)),
      {
        name: "text",
        datatype: "BYTES",
        shape: [3],
        data: encodeBytes(texts.map((text) => Buffer.from(text))),
      },
    ]);
    expect(errors).toEqual([]);
    const bytes = (name: string): ArrayBuffer => Uint8Array.from(outputs.get(name)?.data ?? []).buffer;
    expect(new Int32Array(bytes("count"))).toEqual(Int32Array.of(2, -(2 ** 31), 2 ** 31 - 2));
    expect(new Uint8Array(bytes("flags"))).toEqual(Uint8Array.of(0, 1, 1, 1, 0, 0));
    expect(new BigInt64Array(bytes("id"))).toEqual(BigInt64Array.of(2n ** 53n + 1n, -1n, 2n ** 62n + 1n));
    expect(new Float32Array(bytes("sum"))).toEqual(Float32Array.of(510, 3, 200));
    expect(textsOf(outputs.get("text"))).toEqual(["ONE", "ZWöLF", ""]);
    expect(container.stderr).not.toContain("INT64 output tensor");
  });

  test("a fixed batch is filled up, inputs without one are shared", async () => {
    await using bundle = await savedModelBundle("types", {
      signature: "fixed",
      batchAxis: { x: 0, y: 0 },
    });
    await using container = await TestContainer.start(bundle);
    const { outputs, errors } = await container.infer([
      tensor({ name: "scale", datatype: "FP32", shape: [3] }, Float32Array.of(2, 2, 2)),
      tensor({ name: "x", datatype: "FP32", shape: [3, 3] }, Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9)),
    ]);
    expect(errors).toEqual([]);
    expect(floats(outputs.get("y")?.data)).toEqual([2, 4, 6, 8, 10, 12, 14, 16, 18]);
  });

  test("a model that only Python loads ends the container, with a way out", async () => {
    await using bundle = await savedModelBundle("python-only");
    await using ended = TestContainer.spawn(bundle);
    expect((await ended.exited).code).toBe(1);
    expect(ended.stderr).toContain("loads in Python only");
    expect(ended.stderr).toContain("model.export(folder)");
  });

  test("a table model.json runs natively too, with the same answers", async () => {
    await using bundle = await tfjsBundle(tableModel(TABLE), { backend: "tensorflow" });
    await using container = await TestContainer.start(bundle);
    const { outputs } = await container.infer([
      tensor({ name: "index", datatype: "INT32", shape: [3] }, Int32Array.of(3, 0, 2)),
    ]);
    expect(floats(outputs.get("value")?.data)).toEqual([40, 10, 30]);
  });

  test("no tensor is left behind by a run, good or bad", async () => {
    await using bundle = await savedModelBundle("table-first");
    const session = SavedModelSession.open(settingsOf(bundle), contextOf(bundle));
    const tf = createRequire(join(TFJS_NODE_FOLDER, "x.js"))("@tensorflow/tfjs-node") as {
      backend(): { getNumOfTFTensors(): number };
    };
    const before = tf.backend().getNumOfTFTensors();
    for (let run = 0; run < 50; run += 1) await runGoodAndBad(session, BigInt64Array);
    expect(tf.backend().getNumOfTFTensors()).toBe(before);
    await session.close();
  });
});

function settingsOf(bundle: BundleOnDisk): TensorFlowModelSettings {
  return readManifest(bundle.files).model as unknown as TensorFlowModelSettings;
}

function contextOf(bundle: BundleOnDisk): Parameters<typeof TfjsSession.open>[1] {
  return { modelDir: bundle.files, manifest: readManifest(bundle.files), threads: 1 };
}

async function runGoodAndBad(
  session: TensorSession,
  Type: Int32ArrayConstructor | BigInt64ArrayConstructor,
): Promise<void> {
  const data = (value: number): Int32Array | BigInt64Array =>
    Type === BigInt64Array ? BigInt64Array.of(BigInt(value)) : Int32Array.of(value);
  await session.run([{ data: data(1), dims: [1] }]);
  await expect(session.run([{ data: data(99), dims: [1] }])).rejects.toThrow();
}

describe("TensorFlow.js without native code", () => {
  test.each(["wasm", "cpu"] as const)(
    "leaves no tensor behind on %s, after good and bad runs",
    async (backend) => {
      await using bundle = await tfjsBundle(tableModel(TABLE), { backend });
      const session = await TfjsSession.open(settingsOf(bundle), contextOf(bundle));
      const tf = createRequire(import.meta.url)("@tensorflow/tfjs-core") as {
        memory(): { readonly numTensors: number };
      };
      const before = tf.memory().numTensors;
      for (let run = 0; run < 50; run += 1) await runGoodAndBad(session, Int32Array);
      expect(tf.memory().numTensors).toBe(before);
      await session.close();
    },
  );

  test("runs graphs whose sizes depend on values", async () => {
    await using bundle = await tfjsBundle(
      graphModel({
        nodes: [
          placeholder("x", "DT_BOOL", [4]),
          { name: "places", op: "Where", input: ["x"], attr: { T: { type: "DT_BOOL" } } },
        ],
        weights: {},
        signature: {
          inputs: tensors({ x: { node: "x:0", dtype: "DT_BOOL", shape: [4] } }),
          outputs: tensors({ places: { node: "places:0", dtype: "DT_INT64", shape: [-1, 1] } }),
        },
      }),
    );
    await using container = await TestContainer.start(bundle);
    const reply = await container.inferJson({
      inputs: [{ name: "x", datatype: "BOOL", shape: [1, 4], data: [false, true, false, true] }],
    });
    expect(reply.json()).toMatchObject({
      outputs: [{ name: "places", datatype: "INT32", shape: [1, 2, 1], data: [1, 3] }],
    });
  });

  const einsum = graphModel({
    nodes: [
      placeholder("x", "DT_FLOAT", [-1, 2]),
      {
        name: "y",
        op: "Einsum",
        input: ["x", "w"],
        attr: {
          equation: { s: Buffer.from("ab,bc->ac").toString("base64") },
          N: { i: "2" },
          T: { type: "DT_FLOAT" },
        },
      },
    ],
    weights: { w: { shape: [2, 1], data: Float32Array.of(1, 10) } },
    signature: {
      inputs: tensors({ x: { node: "x:0", dtype: "DT_FLOAT", shape: [-1, 2] } }),
      outputs: tensors({ y: { node: "y:0", dtype: "DT_FLOAT", shape: [-1, 1] } }),
    },
  });

  test("says which backend knows an operation that wasm lacks; that one runs it", async () => {
    await using lacking = await tfjsBundle(einsum);
    await using ended = TestContainer.spawn(lacking);
    expect((await ended.exited).code).toBe(1);
    expect(ended.stderr).toContain('cannot be served with backend "wasm"');
    expect(ended.stderr).toContain('backend: "cpu"');
    await using bundle = await tfjsBundle(einsum, { backend: "cpu" });
    await using container = await TestContainer.start(bundle);
    const { outputs } = await container.infer([
      tensor({ name: "x", datatype: "FP32", shape: [2, 2] }, Float32Array.of(1, 2, 3, 4)),
    ]);
    expect(floats(outputs.get("y")?.data)).toEqual([21, 43]);
    expect(container.stderr).not.toContain("speed things up");
  });

  test("names the package that is missing", async () => {
    await using bundle = await tfjsBundle(tableModel(TABLE));
    await rm(join(bundle.root, "node_modules"));
    await using ended = TestContainer.spawn(bundle);
    expect((await ended.exited).code).toBe(1);
    expect(ended.stderr).toContain("the package @tensorflow/tfjs-core is not installed for this bundle");
  });

  test("names the operation that it does not know", async () => {
    const files = graphModel({
      nodes: [placeholder("x", "DT_FLOAT", [-1]), { name: "y", op: "MadeUp", input: ["x"] }],
      weights: {},
    });
    await using bundle = await tfjsBundle(files);
    await using ended = TestContainer.spawn(bundle);
    expect((await ended.exited).code).toBe(1);
    expect(ended.stderr).toContain("MadeUp");
    expect(ended.stderr).toContain("does not know an operation");
  });
});

test("native libraries see the threads of the replica in the process's own environment", async () => {
  await using bundle = await functionBundle(
    "export const predict = (inputs) => inputs.map((name) => process.report.getReport().environmentVariables[name]);",
  );
  await using container = await TestContainer.start(bundle, { WINDJAMMER_THREADS: "3" });
  expect(await container.predict(["TF_NUM_INTRAOP_THREADS", "ORT_DISABLE_TELEMETRY"])).toEqual(["3", "1"]);
});
