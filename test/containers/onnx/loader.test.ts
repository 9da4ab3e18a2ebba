// The ONNX loader with real onnxruntime: the digits network, and small models for every layout and type.
import { readFile } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import type { OnnxModelSettings } from "../../../containers/onnx/settings.ts";
import type { Datatype, JsonObject, Manifest, TensorSpec } from "../../../containers/protocol.ts";
import type { TensorSettings } from "../../../containers/tensor-model/settings.ts";
import { decodeBytes, encodeBytes, type Tensor } from "../../../containers/tensors.ts";
import { testLoader } from "../../conformance/loader.ts";
import {
  type BundleFiles,
  type BundleOnDisk,
  jsonFunction,
  jsonTensor,
  TestContainer,
  textsOf,
  writeBundle,
} from "../../helpers/container.ts";
import { type OnnxGraph, onnxModel, type OnnxType } from "../../helpers/onnx-writer.ts";

type Settings = Partial<OnnxModelSettings> & Pick<OnnxModelSettings, "inputs" | "outputs">;

interface ModelOptions {
  readonly settings: Settings;
  readonly model: Uint8Array | OnnxGraph;
  /** Contract in place of the one that follows from the settings. */
  readonly contract?: Partial<Manifest["contract"]>;
  readonly files?: BundleFiles;
}

const JSON_INPUT: TensorSpec = { name: "input", datatype: "BYTES", shape: [], contentType: "json" };
const JSON_OUTPUT: TensorSpec = { name: "output", datatype: "BYTES", shape: [], contentType: "json" };

function onnxBundle({ settings, model, contract, files }: ModelOptions): Promise<BundleOnDisk> {
  const manifest: Manifest = {
    ...jsonFunction(),
    loader: "onnx",
    inputType: "tensor",
    contract: {
      inputs: settings.inputs.map(specOf),
      outputs: settings.outputs.map(specOf),
      isBatched: true,
      ...contract,
    },
    packages: { "onnxruntime-node": "1.30.0" },
    model: { file: "model.onnx", batching: "dynamic", ...settings } as unknown as JsonObject,
  };
  const bytes = model instanceof Uint8Array ? model : onnxModel(model);
  return writeBundle(manifest, { "model.onnx": bytes, ...files });
}

function specOf({ name, datatype, shape }: TensorSettings): TensorSpec {
  return { name, datatype, shape };
}

function tensor(described: Omit<Tensor, "data">, values: ArrayBufferView): Tensor {
  return { ...described, data: new Uint8Array(values.buffer, values.byteOffset, values.byteLength) };
}

function floats(data: Uint8Array | undefined): number[] {
  return Array.from(new Float32Array(Uint8Array.from(data ?? []).buffer));
}

const TABLE = BigInt64Array.of(10n, 20n, 30n, 40n);

/** Looks numbers up in a table; an index beyond it makes the whole run fail. */
const lookup: ModelOptions = {
  settings: {
    inputs: [{ name: "index", datatype: "INT64", shape: [], batchAxis: 0 }],
    outputs: [{ name: "value", datatype: "INT64", shape: [], batchAxis: 0 }],
  },
  model: {
    inputs: [{ name: "index", type: "int64", shape: ["batch"] }],
    outputs: [{ name: "value", type: "int64", shape: ["batch"] }],
    nodes: [{ op: "Gather", inputs: ["table", "index"], outputs: ["value"] }],
    initializers: [{ name: "table", type: "int64", dims: [4], data: TABLE }],
  },
};

testLoader({
  name: "onnx",
  modelFile: "model.onnx",
  count: 4,
  badCode: "MODEL_ERROR",
  badMessage: /out of data bounds/,
  bundle: () => onnxBundle(lookup),
  tensors: (rows) => [
    tensor(
      { name: "index", datatype: "INT64", shape: [rows.length] },
      BigInt64Array.from(rows, (row) => (row === "bad" ? 99n : BigInt(row))),
    ),
  ],
  expectAnswer(result, row, input) {
    const { data } = result.outputs.get("value") ?? { data: new Uint8Array(0) };
    expect(new BigInt64Array(Uint8Array.from(data).buffer)[row]).toBe(TABLE[input]);
  },
});

describe("the digits network", () => {
  const digits = new URL("../../../examples/digits/", import.meta.url);
  const settings: Settings = {
    inputs: [{ name: "image", datatype: "FP32", shape: [8, 8, 1], batchAxis: 0 }],
    outputs: [
      { name: "scores", datatype: "FP32", shape: [10], batchAxis: 0 },
      { name: "digit", datatype: "INT64", shape: [], batchAxis: 0 },
    ],
  };

  async function cases(): Promise<{ images: number[][][][]; scores: number[][] }> {
    return JSON.parse(await readFile(new URL("digits-cases.json", digits), "utf8")) as Awaited<
      ReturnType<typeof cases>
    >;
  }

  test("gives the expected scores, one by one and as a batch", async () => {
    const { images, scores } = await cases();
    await using bundle = await onnxBundle({
      settings,
      model: await readFile(new URL("digits.onnx", digits)),
    });
    await using container = await TestContainer.start(bundle);
    const batch = Float32Array.from(images.flat(3));
    const all = await container.infer([
      tensor({ name: "image", datatype: "FP32", shape: [images.length, 8, 8, 1] }, batch),
    ]);
    expect(all.outputs.get("scores")?.shape).toEqual([images.length, 10]);
    for (const [index, score] of floats(all.outputs.get("scores")?.data).entries())
      expect(Math.abs(score - (scores.flat()[index] ?? Number.NaN))).toBeLessThan(1e-5);
    for (const [row, expected] of scores.entries()) {
      const one = await container.infer([
        tensor(
          { name: "image", datatype: "FP32", shape: [1, 8, 8, 1] },
          batch.subarray(row * 64, (row + 1) * 64),
        ),
      ]);
      for (const [index, score] of floats(one.outputs.get("scores")?.data).entries())
        expect(Math.abs(score - (expected[index] ?? Number.NaN))).toBeLessThan(1e-5);
    }
  });

  test("takes threads and session options", async () => {
    const { images, scores } = await cases();
    const sessionOptions = { graphOptimizationLevel: "disabled" };
    const model = await readFile(new URL("digits.onnx", digits));
    await using bundle = await onnxBundle({ settings: { ...settings, sessionOptions }, model });
    await using container = await TestContainer.start(bundle, { WINDJAMMER_THREADS: "2" });
    const image = Float32Array.from(images.slice(0, 1).flat(3));
    const { outputs } = await container.infer([
      tensor({ name: "image", datatype: "FP32", shape: [1, 8, 8, 1] }, image),
    ]);
    for (const [index, score] of floats(outputs.get("scores")?.data).entries())
      expect(Math.abs(score - (scores[0]?.[index] ?? Number.NaN))).toBeLessThan(1e-5);
  });

  test("takes and gives JSON", async () => {
    const { images, scores } = await cases();
    await using bundle = await onnxBundle({
      settings,
      model: await readFile(new URL("digits.onnx", digits)),
    });
    await using container = await TestContainer.start(bundle);
    const reply = await container.inferJson({
      id: "a",
      inputs: [{ name: "image", datatype: "FP32", shape: [2, 8, 8, 1], data: images.slice(0, 2) }],
      outputs: [{ name: "digit" }],
    });
    expect(reply.json()).toEqual({
      model_name: "m",
      model_version: "1",
      id: "a",
      outputs: [
        {
          name: "digit",
          datatype: "INT64",
          shape: [2],
          data: scores.slice(0, 2).map((row) => row.indexOf(Math.max(...row))),
        },
      ],
    });
  });
});

/** A model that gives back what it gets. */
function identity(datatype: Datatype, type: OnnxType): Promise<BundleOnDisk> {
  return onnxBundle({
    settings: {
      inputs: [{ name: "x", datatype, shape: [2], batchAxis: 0 }],
      outputs: [{ name: "y", datatype, shape: [2], batchAxis: 0 }],
    },
    model: {
      inputs: [{ name: "x", type, shape: ["n", 2] }],
      outputs: [{ name: "y", type, shape: ["n", 2] }],
      nodes: [{ op: "Identity", inputs: ["x"], outputs: ["y"] }],
    },
  });
}

describe("element types", () => {
  const samples: [Datatype, OnnxType, ArrayBufferView][] = [
    ["FP32", "float32", Float32Array.of(1.5, -2, Number.NaN, 1e30)],
    ["FP64", "float64", Float64Array.of(0.1, -1e300, 3, Infinity)],
    ["FP16", "float16", Float16Array.of(1, -2.5, 0, 65_504)],
    ["INT8", "int8", Int8Array.of(-128, 0, 1, 127)],
    ["INT16", "int16", Int16Array.of(-32_768, 0, 1, 32_767)],
    ["INT32", "int32", Int32Array.of(-(2 ** 31), 0, 1, 2 ** 31 - 1)],
    ["INT64", "int64", BigInt64Array.of(-(2n ** 63n), 0n, 1n, 2n ** 63n - 1n)],
    ["UINT8", "uint8", Uint8Array.of(0, 1, 2, 255)],
    ["UINT16", "uint16", Uint16Array.of(0, 1, 2, 65_535)],
    ["UINT32", "uint32", Uint32Array.of(0, 1, 2, 2 ** 32 - 1)],
    ["UINT64", "uint64", BigUint64Array.of(0n, 1n, 2n, 2n ** 64n - 1n)],
    ["BOOL", "bool", Uint8Array.of(1, 0, 0, 1)],
  ];

  test("all numeric ones come back bit by bit, aligned in the body or not", async () => {
    const settingsOf = (prefix: string): TensorSettings[] =>
      samples.map(([datatype, type]) => ({ name: `${prefix}_${type}`, datatype, shape: [2], batchAxis: 0 }));
    const valuesOf = (prefix: string): OnnxGraph["inputs"] =>
      samples.map(([, type]) => ({ name: `${prefix}_${type}`, type, shape: ["n", 2] }));
    await using bundle = await onnxBundle({
      settings: { inputs: settingsOf("x"), outputs: settingsOf("y") },
      model: {
        inputs: valuesOf("x"),
        outputs: valuesOf("y"),
        nodes: samples.map(([, type]) => ({ op: "Identity", inputs: [`x_${type}`], outputs: [`y_${type}`] })),
      },
    });
    await using container = await TestContainer.start(bundle);
    const sent = samples.map(([datatype, type, values]) =>
      tensor({ name: `x_${type}`, datatype, shape: [2, 2] }, values),
    );
    // Reversed, the small elements come first and push the others off their alignment.
    for (const inputs of [sent, sent.toReversed(), [...sent.slice(3), ...sent.slice(0, 3)]]) {
      const { outputs, errors } = await container.infer(inputs);
      expect(errors).toEqual([]);
      for (const [index, [datatype, type]] of samples.entries())
        expect(outputs.get(`y_${type}`)).toEqual({
          name: `y_${type}`,
          datatype,
          shape: [2, 2],
          data: Buffer.from(sent[index]?.data ?? []),
        });
    }
  });

  test("strings, also empty ones and beyond ASCII", async () => {
    await using bundle = await identity("BYTES", "string");
    await using container = await TestContainer.start(bundle);
    const texts = ["a", "", "grüße 🙂", "x".repeat(70_000)];
    const data = encodeBytes(texts.map((text) => Buffer.from(text)));
    const { outputs } = await container.infer([{ name: "x", datatype: "BYTES", shape: [2, 2], data }]);
    const output = outputs.get("y");
    expect(output?.shape).toEqual([2, 2]);
    expect(decodeBytes(output?.data ?? data, 4).map((text) => Buffer.from(text).toString())).toEqual(texts);
  });

  test("64-bit integers keep all digits in JSON, both ways", async () => {
    await using bundle = await identity("INT64", "int64");
    await using container = await TestContainer.start(bundle);
    const reply = await container.call("POST", "/v2/models/m/infer", {
      body: '{"inputs":[{"name":"x","datatype":"INT64","shape":[1,2],"data":[9007199254740993,-9223372036854775808]}]}',
    });
    expect(reply.body.toString()).toContain('"data":[9007199254740993,-9223372036854775808]');
  });

  test("a tensor that is not aligned in the body is copied", async () => {
    await using bundle = await identity("FP64", "float64");
    await using container = await TestContainer.start(bundle);
    const { data } = tensor({ name: "x", datatype: "FP64", shape: [1, 2] }, Float64Array.of(0.25, -8));
    const text = JSON.stringify({
      inputs: [{ name: "x", datatype: "FP64", shape: [1, 2], parameters: { binary_data_size: 16 } }],
    });
    const header = Buffer.from(
      text.length % 8 === 3 ? `${text} ` : text.padEnd(text.length + ((11 - (text.length % 8)) % 8)),
    );
    expect(header.byteLength % 8).not.toBe(0);
    const reply = await container.call("POST", "/v2/models/m/infer", {
      body: Buffer.concat([header, data]),
      headers: { "inference-header-content-length": `${header.byteLength}` },
    });
    expect(reply.status).toBe(200);
    expect(reply.body.subarray(-16)).toEqual(Buffer.from(data));
  });
});

describe("batch axes", () => {
  test("an axis behind others is moved there and back", async () => {
    await using bundle = await onnxBundle({
      settings: {
        inputs: [{ name: "state", datatype: "FP32", shape: [2, 3], batchAxis: 1 }],
        outputs: [{ name: "next", datatype: "FP32", shape: [2, 3], batchAxis: 1 }],
      },
      model: {
        inputs: [{ name: "state", type: "float32", shape: [2, "batch", 3] }],
        outputs: [{ name: "next", type: "float32", shape: [2, "batch", 3] }],
        nodes: [{ op: "Add", inputs: ["state", "first"], outputs: ["next"] }],
        // Adds 100 to the first layer only, so that rows and layers cannot be confused.
        initializers: [{ name: "first", type: "float32", dims: [2, 1, 1], data: Float32Array.of(100, 0) }],
      },
    });
    await using container = await TestContainer.start(bundle);
    const rows = [
      [0, 1, 2, 3, 4, 5],
      [10, 11, 12, 13, 14, 15],
      [20, 21, 22, 23, 24, 25],
    ];
    const sent = tensor(
      { name: "state", datatype: "FP32", shape: [3, 2, 3] },
      Float32Array.from(rows.flat()),
    );
    const output = (await container.infer([sent])).outputs.get("next");
    expect(output?.shape).toEqual([3, 2, 3]);
    expect(floats(output?.data)).toEqual(
      rows.flatMap((row) => row.map((value, index) => value + (index < 3 ? 100 : 0))),
    );
  });

  const scaled: ModelOptions = {
    settings: {
      inputs: [
        { name: "x", datatype: "FP32", shape: [2], batchAxis: 0 },
        { name: "sr", datatype: "FP32", shape: [], batchAxis: null },
      ],
      outputs: [{ name: "y", datatype: "FP32", shape: [2], batchAxis: 0 }],
    },
    model: {
      inputs: [
        { name: "x", type: "float32", shape: ["n", 2] },
        { name: "sr", type: "float32", shape: [] },
      ],
      outputs: [{ name: "y", type: "float32", shape: ["n", 2] }],
      nodes: [{ op: "Mul", inputs: ["x", "sr"], outputs: ["y"] }],
    },
  };

  test.each([
    ["equal", [2, 2, 2]],
    ["different", [2, 3, 4]],
  ])("an input without one may be %s in the rows", async (_, rates) => {
    await using bundle = await onnxBundle(scaled);
    await using container = await TestContainer.start(bundle);
    const { outputs, errors } = await container.infer([
      tensor({ name: "x", datatype: "FP32", shape: [3, 2] }, Float32Array.of(1, 2, 3, 4, 5, 6)),
      tensor({ name: "sr", datatype: "FP32", shape: [3] }, Float32Array.from(rates)),
    ]);
    expect(errors).toEqual([]);
    expect(floats(outputs.get("y")?.data)).toEqual(
      [1, 2, 3, 4, 5, 6].map((x, i) => x * (rates[Math.floor(i / 2)] ?? 0)),
    );
  });

  test("a model with a batch fixed to 1 runs row by row", async () => {
    await using bundle = await onnxBundle({
      settings: {
        batching: "one-by-one",
        inputs: [{ name: "x", datatype: "FP32", shape: [2], batchAxis: 0 }],
        outputs: [
          { name: "y", datatype: "FP32", shape: [2], batchAxis: 0 },
          { name: "sum", datatype: "FP32", shape: [], batchAxis: null },
        ],
      },
      model: {
        inputs: [{ name: "x", type: "float32", shape: [1, 2] }],
        outputs: [
          { name: "y", type: "float32", shape: [1, 2] },
          { name: "sum", type: "float32", shape: [] },
        ],
        nodes: [
          { op: "Neg", inputs: ["x"], outputs: ["y"] },
          { op: "ReduceSum", inputs: ["x"], outputs: ["sum"], attributes: { keepdims: 0 } },
        ],
      },
    });
    await using container = await TestContainer.start(bundle);
    const { outputs } = await container.infer([
      tensor({ name: "x", datatype: "FP32", shape: [3, 2] }, Float32Array.of(1, 2, 3, 4, 5, 6)),
    ]);
    expect(floats(outputs.get("y")?.data)).toEqual([-1, -2, -3, -4, -5, -6]);
    expect(outputs.get("sum")?.shape).toEqual([3]);
    expect(floats(outputs.get("sum")?.data)).toEqual([3, 7, 11]);
  });

  test.each([1, 3, 4, 7])("a batch fixed to 3 serves %i rows", async (count) => {
    await using bundle = await onnxBundle({
      settings: {
        fixedBatch: 3,
        inputs: [{ name: "x", datatype: "FP32", shape: [2], batchAxis: 0 }],
        outputs: [{ name: "y", datatype: "FP32", shape: [2], batchAxis: 0 }],
      },
      model: {
        inputs: [{ name: "x", type: "float32", shape: [3, 2] }],
        outputs: [{ name: "y", type: "float32", shape: [3, 2] }],
        nodes: [{ op: "Neg", inputs: ["x"], outputs: ["y"] }],
      },
    });
    await using container = await TestContainer.start(bundle);
    const values = Float32Array.from({ length: count * 2 }, (_, index) => index + 1);
    const { outputs } = await container.infer([
      tensor({ name: "x", datatype: "FP32", shape: [count, 2] }, values),
    ]);
    expect(outputs.get("y")?.shape).toEqual([count, 2]);
    expect(floats(outputs.get("y")?.data)).toEqual(Array.from(values, (value) => -value));
  });
});

/** Indices of what is not zero: as many as there are. */
function nonZero(datatype: Datatype, shape: readonly number[]): ModelOptions {
  return {
    settings: {
      batching: "one-by-one",
      inputs: [{ name: "x", datatype: "FP32", shape: [3], batchAxis: null }],
      outputs: [{ name: "y", datatype, shape, batchAxis: null }],
    },
    model: {
      inputs: [{ name: "x", type: "float32", shape: [3] }],
      outputs: [
        {
          name: "y",
          type: datatype === "INT64" ? "int64" : "int32",
          shape: datatype === "INT64" ? [1, "k"] : ["k"],
        },
      ],
      nodes: [
        { op: "NonZero", inputs: ["x"], outputs: [datatype === "INT64" ? "y" : "found"] },
        ...(datatype === "INT64"
          ? []
          : [
              { op: "Cast", inputs: ["found"], outputs: ["small"], attributes: { to: 6 } },
              { op: "Squeeze", inputs: ["small", "axes"], outputs: ["y"] },
            ]),
      ],
      initializers: [{ name: "axes", type: "int64", dims: [1], data: BigInt64Array.of(0n) }],
    },
  };
}

describe("outputs whose shape depends on the data", () => {
  const rows = tensor(
    { name: "x", datatype: "FP32", shape: [3, 3] },
    Float32Array.of(1, 0, 1, 0, 0, 1, 1, 1, 0),
  );

  test("travel as ragged rows where the contract allows it", async () => {
    await using bundle = await onnxBundle({
      ...nonZero("INT32", [-1]),
      contract: { outputs: [{ name: "y", datatype: "INT32", shape: [-1], isRagged: true }] },
    });
    await using container = await TestContainer.start(bundle);
    const { outputs, errors } = await container.infer([rows]);
    const output = outputs.get("y");
    expect(errors).toEqual([]);
    expect(output).toMatchObject({ datatype: "BYTES", shape: [3], contentType: "int32" });
    expect(
      decodeBytes(output?.data ?? rows.data, 3).map((row) =>
        Array.from(new Int32Array(Uint8Array.from(row).buffer)),
      ),
    ).toEqual([[0, 2], [2], [0, 1]]);
  });

  test("others fail the rows that do not fit the first one", async () => {
    await using bundle = await onnxBundle(nonZero("INT64", [1, -1]));
    await using container = await TestContainer.start(bundle);
    const { outputs, errors } = await container.infer([rows]);
    expect(errors[1]?.message).toContain("maxBatchSize 1");
    expect(outputs.get("y")?.shape).toEqual([3, 1, 2]);
    expect(errors.map((error) => error?.code)).toEqual([undefined, "INVALID_MODEL_OUTPUT", undefined]);
    expect(errors[1]?.message).toContain("[1,1] here and [1,2]");
  });
});

function processed(processing: OnnxModelSettings["processing"]): Settings {
  return {
    inputs: [{ name: "x", datatype: "FP32", shape: [2], batchAxis: 0 }],
    outputs: [
      { name: "y", datatype: "FP32", shape: [2], batchAxis: 0 },
      { name: "top", datatype: "INT64", shape: [1], batchAxis: 0 },
    ],
    ...(processing === undefined ? {} : { processing }),
  };
}

describe("processing functions", () => {
  const model: OnnxGraph = {
    inputs: [{ name: "x", type: "float32", shape: ["n", 2] }],
    outputs: [
      { name: "y", type: "float32", shape: ["n", 2] },
      { name: "top", type: "int64", shape: ["n", 1] },
    ],
    nodes: [
      { op: "Softmax", inputs: ["x"], outputs: ["y"] },
      { op: "ArgMax", inputs: ["x"], outputs: ["top"], attributes: { axis: 1 } },
    ],
  };
  const file = "processing.mjs";
  const values = { inputs: [JSON_INPUT], outputs: [JSON_OUTPUT] };

  test("preprocess makes feeds, postprocess makes answers, with the row's own input", async () => {
    await using bundle = await onnxBundle({
      settings: processed({ file, preprocess: "pre", postprocess: "post" }),
      model,
      contract: values,
      files: {
        [file]: `export const pre = (inputs) => inputs.map(({ a, b }) => [a, b]);
          export const post = async (outputs, inputs) => outputs.map(({ y, top }, row) => ({
            label: ["a", "b"][Number(top.data[0])], dims: y.dims, kind: y.data.constructor.name, of: inputs[row] }));`,
      },
    });
    await using container = await TestContainer.start(bundle);
    const inputs = [
      { a: 1, b: 2 },
      { a: 5, b: -1 },
    ];
    expect(await container.predict(inputs)).toEqual([
      { label: "b", dims: [2], kind: "Float32Array", of: inputs[0] },
      { label: "a", dims: [2], kind: "Float32Array", of: inputs[1] },
    ]);
  });

  test("without postprocess the answer holds the outputs as nested lists by name", async () => {
    await using bundle = await onnxBundle({
      settings: processed({ file, preprocess: "pre" }),
      model,
      contract: values,
      files: { [file]: "export const pre = (inputs) => inputs.map((x) => ({ x: Float32Array.from(x) }));" },
    });
    await using container = await TestContainer.start(bundle);
    expect(await container.predict([[0, 0]])).toEqual([{ y: [0.5, 0.5], top: [0] }]);
  });

  test("without preprocess postprocess gets tensors", async () => {
    await using bundle = await onnxBundle({
      settings: processed({ file, postprocess: "post" }),
      model,
      contract: { outputs: [JSON_OUTPUT] },
      files: { [file]: "export const post = (outputs, inputs) => inputs.map(({ x }) => [x.dims, x.data]);" },
    });
    await using container = await TestContainer.start(bundle);
    const { outputs } = await container.infer([
      tensor({ name: "x", datatype: "FP32", shape: [2, 2] }, Float32Array.of(1, 2, 3, 4)),
    ]);
    expect(textsOf(outputs.get("output"))).toEqual(["[[2],[1,2]]", "[[2],[3,4]]"]);
  });

  test("tensors may follow a preprocess function", async () => {
    await using bundle = await onnxBundle({
      settings: processed({ file, preprocess: "pre" }),
      model,
      contract: { inputs: [JSON_INPUT] },
      files: { [file]: "export const pre = (inputs) => inputs;" },
    });
    await using container = await TestContainer.start(bundle);
    const { outputs, errors } = await container.infer([jsonTensor("input", [[0, 0], [1], [0, 0]])]);
    expect(errors.map((error) => error?.code)).toEqual([undefined, "INVALID_MODEL_OUTPUT", undefined]);
    expect(floats(outputs.get("y")?.data)).toEqual([0.5, 0.5, 0, 0, 0.5, 0.5]);
  });

  test("a feed that does not fit, and a function that throws, fail their row alone", async () => {
    await using bundle = await onnxBundle({
      settings: processed({ file, preprocess: "pre", postprocess: "post" }),
      model,
      contract: values,
      files: {
        [file]: `export const pre = (inputs) => inputs.map((x) => { if (x === "pre") throw new Error("in pre"); return x.feed ?? x; });
          export const post = (outputs, inputs) => inputs.map((x) => { if (x.post) throw new Error("in post"); return "fine"; });`,
      },
    });
    await using container = await TestContainer.start(bundle);
    const answers = await container.predict([
      [1, 2],
      "pre",
      { feed: [1, 2], post: true },
      [1, 2, 3],
      [[1, 2]],
      { feed: { z: [1, 2] } },
      [1, "b"],
      null,
    ]);
    expect(
      answers.map((answer) => (typeof answer === "string" ? answer : (answer as { code: string }).code)),
    ).toEqual([
      "fine",
      "MODEL_ERROR",
      "MODEL_ERROR",
      "INVALID_MODEL_OUTPUT",
      "INVALID_MODEL_OUTPUT",
      "INVALID_MODEL_OUTPUT",
      "INVALID_MODEL_OUTPUT",
      "MODEL_ERROR",
    ]);
    const messages = answers.map((answer) => (answer as { message?: string }).message);
    expect(messages[1]).toBe("Error: in pre");
    expect(messages[2]).toBe("Error: in post");
    expect(messages[3]).toContain('input "x" takes shape [2] for one row, preprocess returned [3]');
    expect(messages[4]).toContain("preprocess returned [1,2]");
    expect(messages[5]).toContain('preprocess returned no input "x"');
    expect(messages[6]).toContain('takes FP32, preprocess returned "b"');
  });

  test("rows of different shapes run in groups and keep their order", async () => {
    await using bundle = await onnxBundle({
      settings: {
        inputs: [{ name: "x", datatype: "FP32", shape: [-1], batchAxis: 0 }],
        outputs: [{ name: "sum", datatype: "FP32", shape: [], batchAxis: 0 }],
        processing: { file, preprocess: "pre" },
      },
      model: {
        inputs: [{ name: "x", type: "float32", shape: ["n", "k"] }],
        outputs: [{ name: "sum", type: "float32", shape: ["n"] }],
        nodes: [{ op: "ReduceSum", inputs: ["x", "axes"], outputs: ["sum"], attributes: { keepdims: 0 } }],
        initializers: [{ name: "axes", type: "int64", dims: [1], data: BigInt64Array.of(1n) }],
      },
      contract: values,
      files: { [file]: "export const pre = (inputs) => inputs;" },
    });
    await using container = await TestContainer.start(bundle);
    expect(await container.predict([[1], [1, 2], [5], [1, 2, 3], [3, 4]])).toEqual([1, 3, 5, 6, 7]);
  });
});

async function failure(bundle: BundleOnDisk): Promise<string> {
  await using container = TestContainer.spawn(bundle);
  expect(await container.exited).toEqual({ code: 1, signal: null });
  return container.stderr.trim().split("\n").at(-1) ?? "";
}

describe("bundles that cannot be loaded", () => {
  test("say when onnxruntime-node is not there, and how to declare it", async () => {
    await using whole = await onnxBundle(lookup);
    const manifest = JSON.parse(await readFile(`${whole.files}/manifest.json`, "utf8")) as Manifest;
    await using bundle = await writeBundle(manifest, { "model.onnx": "" }, false);
    expect(await failure(bundle)).toContain('"packages": { "onnxruntime-node": "1.30.0" }');
  });

  test("say when the file is no model", async () => {
    await using bundle = await onnxBundle({ ...lookup, model: new Uint8Array(100) });
    expect(await failure(bundle)).toMatch(/onnxruntime cannot load model\.onnx: .*[Pp]rotobuf/);
  });

  test("say which inputs do not fit", async () => {
    const inputs = [{ name: "other", datatype: "INT64", shape: [], batchAxis: 0 }] as const;
    await using bundle = await onnxBundle({ ...lookup, settings: { ...lookup.settings, inputs } });
    expect(await failure(bundle)).toContain("needs inputs that the bundle does not name: index");
  });

  test("load weights from a file beside the model", async () => {
    await using bundle = await onnxBundle({
      settings: lookup.settings,
      model: {
        ...(lookup.model as OnnxGraph),
        initializers: [
          {
            name: "table",
            type: "int64",
            dims: [4],
            external: { location: "model.weights", offset: 0, length: 32 },
          },
        ],
      },
      files: { "model.weights": new Uint8Array(TABLE.buffer) },
    });
    await using container = await TestContainer.start(bundle);
    const { outputs } = await container.infer([
      tensor({ name: "index", datatype: "INT64", shape: [1] }, BigInt64Array.of(2n)),
    ]);
    expect(outputs.get("value")?.data).toEqual(Buffer.from(BigInt64Array.of(30n).buffer));
  });
});
