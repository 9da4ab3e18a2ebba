import { cpSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { cp } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { describe, expect, it, vi } from "vitest";
import {
  InvalidModelFileError,
  InvalidOptionsError,
  ModelFileNotFoundError,
  UnsupportedModelError,
  type Manifest,
} from "../../core/index.ts";
import { testDeployer } from "../../test/conformance/deployer.ts";
import { savedModelCase, tfjsCase } from "../../test/helpers/tensorflow-cases.ts";
import { installed, project } from "../../test/helpers/project.ts";
import { tempFolder } from "../../test/helpers/temp.ts";
import { graphModel, placeholder, tableModel, tensors } from "../../test/helpers/tfjs-writer.ts";
import { tensorflow, type TensorFlowOptions } from "./index.ts";

testDeployer(tfjsCase);
testDeployer(savedModelCase);

const DIGITS = fileURLToPath(new URL("../../examples/digits/savedmodel", import.meta.url));
const TYPES = fileURLToPath(new URL("../../test/fixtures/tensorflow/types", import.meta.url));

interface Bundled {
  readonly folder: string;
  readonly manifest: Manifest;
}

async function bundle(options: TensorFlowOptions): Promise<Bundled> {
  const folder = await tempFolder("wj-bundle-");
  return { folder, manifest: await tensorflow.bundle(options, folder, () => {}) };
}

async function failure(attempt: Promise<unknown>): Promise<Error> {
  return attempt.then(
    () => expect.unreachable("it should have failed"),
    (error: Error) => error,
  );
}

function filesOf(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .toSorted();
}

describe("the contract of a SavedModel", () => {
  it("is read from the file: names, types, shapes of a row", async () => {
    const { manifest, folder } = await bundle({ model: pathToFileURL(DIGITS) });
    expect(manifest).toMatchObject({
      inputType: "tensor",
      contract: {
        inputs: [{ name: "image", datatype: "FP32", shape: [8, 8, 1] }],
        outputs: [
          { name: "digit", datatype: "INT32", shape: [] },
          { name: "scores", datatype: "FP32", shape: [10] },
        ],
        isBatched: true,
      },
      packages: { "@tensorflow/tfjs-node": "4.22.0" },
      allowScripts: { "@tensorflow/tfjs-node": true, "core-js": false },
      environment: { TF_CPP_MIN_LOG_LEVEL: "3" },
      notes: [],
    });
    expect(manifest.model).toMatchObject({
      format: "saved-model",
      file: "model/saved_model.pb",
      backend: "tensorflow",
      tags: ["serve"],
      inputNodes: ["serving_default_image:0"],
      outputNodes: ["StatefulPartitionedCall:0", "StatefulPartitionedCall:1"],
      batching: "dynamic",
    });
    expect(filesOf(folder)).toEqual([
      "model/saved_model.pb",
      "model/variables/variables.data-00000-of-00001",
      "model/variables/variables.index",
    ]);
  });

  it("is that of the signature that is asked for, with every element type that can be served", async () => {
    const { manifest } = await bundle({ model: join(TYPES, "saved_model.pb"), signature: "echo" });
    expect(manifest.contract.inputs).toEqual([
      { name: "count", datatype: "INT32", shape: [] },
      { name: "flags", datatype: "BOOL", shape: [2] },
      { name: "id", datatype: "INT64", shape: [] },
      { name: "pixels", datatype: "UINT8", shape: [2] },
      { name: "text", datatype: "BYTES", shape: [] },
    ]);
    expect(manifest.contract.outputs.map(({ name, datatype }) => `${name} ${datatype}`)).toEqual([
      "count INT32",
      "flags BOOL",
      "id INT64",
      "sum FP32",
      "text BYTES",
    ]);
  });

  it("leaves out outputs that nobody wants, also those that could not be served", async () => {
    const { manifest } = await bundle({ model: TYPES, signature: "halves", outputs: ["y"] });
    expect(manifest.contract.outputs).toEqual([{ name: "y", datatype: "FP32", shape: [] }]);
    expect(manifest.model["outputNodes"]).toHaveLength(1);
  });

  it("has a fixed batch where batchAxis says so", async () => {
    const whole = await bundle({ model: TYPES, signature: "fixed" });
    expect(whole.manifest.model).toMatchObject({ batching: "one-by-one" });
    expect(whole.manifest.contract.inputs.map(({ shape }) => shape)).toEqual([[], [2, 3]]);
    const rows = await bundle({ model: TYPES, signature: "fixed", batchAxis: { x: 0, y: 0 } });
    expect(rows.manifest.model).toMatchObject({ batching: "dynamic", fixedBatch: 2 });
    expect(rows.manifest.contract.inputs.map(({ shape }) => shape)).toEqual([[], [3]]);
  });

  it.each([
    ["doubles", UnsupportedModelError, ['input "x"', "double", "tf.cast to tf.float32"]],
    ["halves", UnsupportedModelError, ['output "half"', "half", "option outputs"]],
    ["shapeless", UnsupportedModelError, ['input "x"', "TensorSpec"]],
    ["ecco", InvalidOptionsError, ['did you mean "echo"?', '"doubles", "echo"']],
    [undefined, InvalidOptionsError, ["more than one", '"doubles", "echo"']],
  ] as const)("of the signature %s cannot be", async (signature, type, words) => {
    const error = await failure(bundle({ model: TYPES, signature }));
    expect(error).toBeInstanceOf(type);
    for (const word of words) expect(error.message).toContain(word);
  });
});

function graph(folder: string): string {
  return readFileSync(join(folder, "saved_model.pb")).toString("latin1");
}

/** A node's operation as it stands in the file: tag of field 2, length, name. */
const NEW_OPERATION = "\u0012\u0011DisableCopyOnRead";

describe("a saved_model.pb of a newer TensorFlow", () => {
  it("loses what the library of tfjs-node does not know, and nothing else", async () => {
    expect(graph(DIGITS)).toContain(NEW_OPERATION);
    expect(graph(DIGITS)).toContain("debug_name");
    const { folder, manifest } = await bundle({ model: DIGITS });
    const rewritten = graph(join(folder, "model"));
    expect(rewritten).not.toContain(NEW_OPERATION);
    // The list of operations beside the graph, which nobody loads, still describes it, with its type behind the name.
    expect(
      rewritten
        .split("debug_name")
        .slice(1)
        .filter((rest) => !rest.startsWith("\u0012\u0006string")),
    ).toEqual([]);
    const again = await bundle({ model: join(folder, "model") });
    expect(graph(join(again.folder, "model"))).toBe(rewritten);
    expect(again.manifest.contract).toEqual(manifest.contract);
  });

  it("is refused where it is damaged, however it is", async () => {
    const folder = await tempFolder();
    cpSync(DIGITS, folder, { recursive: true });
    const path = join(folder, "saved_model.pb");
    for (const size of [0, 1, 7, 5000, 24_000]) {
      truncateSync(path, size);
      writeFileSync(path, readFileSync(join(DIGITS, "saved_model.pb")).subarray(0, size));
      const error = await failure(bundle({ model: folder }));
      expect(error).toBeInstanceOf(InvalidModelFileError);
      expect(error.message).toContain(`${path} (${size} bytes) is no whole SavedModel`);
    }
    writeFileSync(path, "<!doctype html><p>Sign in</p>");
    expect((await failure(bundle({ model: folder }))).message).toContain("is no whole SavedModel");
  });
});

describe("files of a SavedModel", () => {
  it.each(["variables/variables.index", "variables/variables.data-00000-of-00001"])(
    "that are missing are named: %s",
    async (file) => {
      const folder = await tempFolder();
      await cp(DIGITS, folder, { recursive: true });
      rmSync(join(folder, file));
      const error = await failure(bundle({ model: folder }));
      expect(error).toBeInstanceOf(ModelFileNotFoundError);
      expect(error.message).toContain(file.endsWith(".index") ? "variables.index" : file);
    },
  );

  it("come along: every shard and asset", async () => {
    const folder = await tempFolder();
    await cp(DIGITS, folder, { recursive: true });
    const variables = join(folder, "variables");
    cpSync(
      join(variables, "variables.data-00000-of-00001"),
      join(variables, "variables.data-00000-of-00002"),
    );
    rmSync(join(variables, "variables.data-00000-of-00001"));
    expect((await failure(bundle({ model: folder }))).message).toContain("variables.data-00001-of-00002");
    writeFileSync(join(variables, "variables.data-00001-of-00002"), "");
    cpSync(DIGITS, join(folder, "assets", "deep"), { recursive: true });
    const { folder: bundled } = await bundle({ model: folder });
    expect(filesOf(join(bundled, "model"))).toContain("variables/variables.data-00001-of-00002");
    expect(filesOf(join(bundled, "model"))).toContain("assets/deep/saved_model.pb");
  });
});

describe("what is no TensorFlow model names the way out", () => {
  it.each([
    [{ "1/saved_model.pb": "" }, ".", "give {}/1, which does"],
    [{ "saved_model.pbtxt": "" }, ".", "binary form"],
    [{}, ".", "it is empty"],
    [{ "a.txt": "", "b.txt": "" }, ".", "it holds a.txt, b.txt"],
    [{ "model.keras": "" }, "model.keras", "model.export(folder)"],
    [{ "model.h5": "" }, "model.h5", "model.export(folder)"],
    [{ "model.tflite": "" }, "model.tflite", "TensorFlow Lite"],
    [{ "model.onnx": "" }, "model.onnx", "deployOnnxModel"],
    [{ "frozen.pb": "" }, "frozen.pb", "frozen graph"],
    [{ "weights_manifest.json": "[]" }, "weights_manifest.json", "tensorflowjs_converter"],
    [{ "model.bin": "" }, "model.bin", "model.json"],
    [{ "model.json": "{" }, "model.json", "is no JSON"],
    [{ "model.json": "[]" }, "model.json", "no TensorFlow.js model"],
    [{ "model.json": '{"modelTopology":{}}' }, "model.json", "class_name"],
    [{ "model.json": '{"format":"graph-model","modelTopology":{}}' }, "model.json", "list of nodes"],
  ])("%j", async (files, model, words) => {
    const folder = await project(files);
    const error = await failure(bundle({ model: join(folder, model) }));
    expect(error).toBeInstanceOf(Error);
    expect(["MODEL_FILE_NOT_FOUND", "INVALID_MODEL_FILE"]).toContain((error as { code?: string }).code);
    expect(error.message).toContain(words.replace("{}", folder));
  });
});

describe("a model.json", () => {
  const table = tableModel([10, 11, 12]);

  it("of a graph has the names of its signature", async () => {
    const folder = await project(table);
    const { manifest, folder: bundled } = await bundle({ model: folder });
    expect(manifest.contract).toMatchObject({
      inputs: [{ name: "index", datatype: "INT32", shape: [] }],
      outputs: [{ name: "value", datatype: "FP32", shape: [] }],
    });
    expect(manifest.model).toMatchObject({
      format: "graph-model",
      file: "model/model.json",
      inputNodes: ["index:0"],
      outputNodes: ["value:0"],
    });
    expect(filesOf(bundled)).toEqual(["model/model.json", "model/weights.bin"]);
  });

  it("of a graph without a signature has its placeholders and its last nodes", async () => {
    const nodes = [
      placeholder("x", "DT_FLOAT", [-1, 3]),
      { name: "sum", op: "AddV2", input: ["x", "one"], attr: { T: { type: "DT_FLOAT" } } },
      { name: "best", op: "ArgMax", input: ["sum", "axis"], attr: { output_type: { type: "DT_INT64" } } },
      { name: "out", op: "Identity", input: ["sum"], attr: { T: { type: "DT_FLOAT" } } },
      { name: "init", op: "NoOp", input: ["^sum"] },
    ];
    const weights = {
      one: { shape: [], data: Float32Array.of(1) },
      axis: { shape: [], data: Int32Array.of(1) },
    };
    const { manifest } = await bundle({ model: await project(graphModel({ nodes, weights })) });
    expect(manifest.contract.inputs).toEqual([{ name: "x", datatype: "FP32", shape: [3] }]);
    expect(manifest.contract.outputs).toEqual([
      { name: "best", datatype: "INT32", shape: [-1], hasUnknownShape: true },
      { name: "out", datatype: "FP32", shape: [-1], hasUnknownShape: true },
    ]);
  });

  it("of a graph with strings is refused, as TensorFlow.js cannot run it", async () => {
    const signature = {
      inputs: tensors({ text: { node: "text:0", dtype: "DT_STRING", shape: [-1] } }),
      outputs: tensors({ text: { node: "text:0", dtype: "DT_STRING", shape: [-1] } }),
    };
    const nodes = [placeholder("text", "DT_STRING", [-1])];
    const error = await failure(
      bundle({ model: await project(graphModel({ nodes, weights: {}, signature })) }),
    );
    expect(error).toBeInstanceOf(UnsupportedModelError);
    expect(error.message).toContain('input "text" is a tensor of string');
  });

  it("lacking a shard, or with one that is cut off or too long, is refused", async () => {
    const folder = await project(table);
    writeFileSync(join(folder, "weights.bin"), new Uint8Array(15));
    const cut = await failure(bundle({ model: folder }));
    expect(cut).toBeInstanceOf(InvalidModelFileError);
    expect(cut.message).toContain("(weights.bin) hold 15 bytes, and the model needs 16");
    rmSync(join(folder, "weights.bin"));
    const gone = await failure(bundle({ model: folder }));
    expect(gone).toBeInstanceOf(ModelFileNotFoundError);
    expect(gone.message).toContain(join(folder, "weights.bin"));
  });

  it.each(["../weights.bin", "/etc/passwd", "https://example.org/weights.bin", "..\\weights.bin"])(
    "with weights at %s is refused",
    async (place) => {
      const text = String(table["model.json"]).replace("weights.bin", place.replaceAll("\\", "\\\\"));
      const folder = await project({ "m/model.json": text, "weights.bin": table["weights.bin"] ?? "" });
      const error = await failure(bundle({ model: join(folder, "m") }));
      expect(error).toBeInstanceOf(UnsupportedModelError);
      expect(error.message).toContain(place);
    },
  );
});

/** A model.json of layers without weights. */
function layersModel(topology: object): Readonly<Record<string, string>> {
  return {
    "model.json": JSON.stringify({ format: "layers-model", modelTopology: topology, weightsManifest: [] }),
  };
}

const INPUT = {
  class_name: "InputLayer",
  config: { name: "in", batch_input_shape: [null, 4], dtype: "int32" },
};
const DENSE = { class_name: "Dense", config: { name: "out", units: 2, dtype: "float32" } };

describe("layers models", () => {
  it.each([
    [
      "Keras' wrapper",
      {
        keras_version: "2.10.0",
        model_config: { class_name: "Sequential", config: { name: "s", layers: [INPUT, DENSE] } },
      },
      "in",
    ],
    ["a list of layers", { class_name: "Sequential", config: [INPUT, DENSE] }, "in"],
    [
      "no input layer",
      {
        class_name: "Sequential",
        config: {
          layers: [{ class_name: "Dense", config: { name: "first", batch_input_shape: [null, 4] } }, DENSE],
        },
      },
      "first_input",
    ],
    [
      "a model inside",
      {
        class_name: "Sequential",
        config: { layers: [{ class_name: "Sequential", config: { name: "inner", layers: [INPUT] } }, DENSE] },
      },
      "inner_input",
    ],
    [
      "places of inputs and outputs",
      {
        class_name: "Functional",
        config: { layers: [INPUT, DENSE], input_layers: [["in", 0, 0]], output_layers: ["out", 0, 0] },
      },
      "in",
    ],
  ])("with %s tell their inputs and outputs", async (_, topology, input) => {
    const { manifest } = await bundle({ model: await project(layersModel(topology)) });
    expect(manifest.contract.inputs).toMatchObject([{ name: input, shape: [4] }]);
    expect(manifest.contract.outputs).toEqual([
      { name: "out", datatype: "FP32", shape: [-1], hasUnknownShape: true },
    ]);
    expect(manifest.model).toMatchObject({ format: "layers-model", batching: "dynamic", outputPlaces: [0] });
  });

  it.each([
    [
      { keras_version: "3.1.0", class_name: "Sequential", config: { layers: [INPUT, DENSE] } },
      "Keras 3 (3.1.0)",
    ],
    [
      {
        class_name: "Sequential",
        config: { layers: [{ class_name: "InputLayer", config: { batch_shape: [null, 4] } }] },
      },
      "Keras 3",
    ],
    [{ class_name: "Sequential", config: { layers: [DENSE] } }, 'shape of its input "out_input"'],
    [
      {
        class_name: "Functional",
        config: { layers: [DENSE], input_layers: [["x", 0, 0]], output_layers: [["out", 0, 0]] },
      },
      '"x"',
    ],
    [{ class_name: "Functional", config: { layers: [DENSE] } }, "input_layers"],
    [{ class_name: "Sequential", config: { layers: [] } }, "no list of layers"],
  ])("are refused: %j", async (topology, words) => {
    const error = await failure(bundle({ model: await project(layersModel(topology)) }));
    expect(error.message).toContain(words);
    expect(["UNSUPPORTED_MODEL", "INVALID_MODEL_FILE"]).toContain((error as { code?: string }).code);
  });
});

describe("the packages of a TensorFlow model", () => {
  const layers = layersModel({ class_name: "Sequential", config: [INPUT, DENSE] });

  it.each([
    ["wasm", ["@tensorflow/tfjs-backend-wasm", "@tensorflow/tfjs-core", "@tensorflow/tfjs-layers"]],
    ["cpu", ["@tensorflow/tfjs-backend-cpu", "@tensorflow/tfjs-core", "@tensorflow/tfjs-layers"]],
    ["tensorflow", ["@tensorflow/tfjs-node"]],
  ] as const)("on %s are %j, all of one version", async (backend, names) => {
    const { manifest } = await bundle({ model: await project(layers), backend, runtimeVersion: "4.21.0" });
    expect(manifest.packages).toEqual(Object.fromEntries(names.map((name) => [name, "4.21.0"])));
    expect(manifest.model["backend"]).toBe(backend);
  });

  it("are those of TensorFlow.js alone where the native library is not installed", async () => {
    const { manifest } = await bundle({ model: await project(tableModel([1])) });
    expect(manifest.packages).toEqual({
      "@tensorflow/tfjs-backend-wasm": "4.22.0",
      "@tensorflow/tfjs-converter": "4.22.0",
      "@tensorflow/tfjs-core": "4.22.0",
    });
    expect(manifest.allowScripts).toEqual({});
  });

  it("are the native library where that is installed, in its version; backend forces the other", async () => {
    const folder = await project({ ...tableModel([1]), ...installed("@tensorflow/tfjs-node", "4.21.0") });
    const cwd = vi.spyOn(process, "cwd").mockReturnValue(folder);
    try {
      const { manifest } = await bundle({ model: folder });
      expect(manifest.model).toMatchObject({ format: "graph-model", backend: "tensorflow" });
      expect(manifest.packages).toEqual({ "@tensorflow/tfjs-node": "4.21.0" });
      const forced = await bundle({ model: folder, backend: "wasm" });
      expect(Object.keys(forced.manifest.packages)).toContain("@tensorflow/tfjs-backend-wasm");
    } finally {
      cwd.mockRestore();
    }
  });

  it("give way to declared versions, and go with those of functions around the model", async () => {
    const folder = await project({
      ...tableModel([1]),
      "post.ts":
        'import { version } from "plain"; export const postprocess = (outputs: unknown[]) => outputs.map(() => version);',
      ...installed("plain", "1.2.3"),
    });
    const { manifest } = await bundle({
      model: folder,
      backend: "wasm",
      processing: join(folder, "post.ts"),
      packages: { "@tensorflow/tfjs-core": "4.20.0" },
    });
    expect(manifest.packages).toEqual({
      "@tensorflow/tfjs-backend-wasm": "4.22.0",
      "@tensorflow/tfjs-converter": "4.22.0",
      "@tensorflow/tfjs-core": "4.20.0",
      plain: "1.2.3",
    });
    expect(manifest.contract.outputs[0]?.contentType).toBe("json");
  });
});
