import { readFileSync, readdirSync } from "node:fs";
import { chmod, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { describe, expect, it } from "vitest";
import { hashFolder } from "../../core/deploy/bundle.ts";
import {
  InvalidModelFileError,
  InvalidOptionsError,
  ModelFileNotFoundError,
  UnsupportedModelError,
  type Manifest,
} from "../../core/index.ts";
import { testDeployer } from "../../test/conformance/deployer.ts";
import { onnxCase } from "../../test/helpers/deployer-cases.ts";
import { onnxModel, type OnnxGraph, type OnnxValue } from "../../test/helpers/onnx-writer.ts";
import { installed, project } from "../../test/helpers/project.ts";
import { tempFolder } from "../../test/helpers/temp.ts";
import { onnx, type OnnxOptions } from "./index.ts";

testDeployer(onnxCase);

const DIGITS = fileURLToPath(new URL("../../examples/digits/digits.onnx", import.meta.url));

const IDENTITY: OnnxGraph = {
  inputs: [{ name: "x", type: "float32", shape: ["batch", 3] }],
  outputs: [{ name: "y", type: "float32", shape: ["batch", 3] }],
  nodes: [{ op: "Identity", inputs: ["x"], outputs: ["y"] }],
};

interface Bundled {
  readonly folder: string;
  readonly manifest: Manifest;
}

async function bundle(options: OnnxOptions): Promise<Bundled> {
  const folder = await tempFolder("wj-bundle-");
  return { folder, manifest: await onnx.bundle(options, folder, () => {}) };
}

/** Bundles a crafted model. */
async function bundleGraph(graph: Partial<OnnxGraph>, options: Partial<OnnxOptions> = {}): Promise<Bundled> {
  const model = join(await tempFolder(), "crafted.onnx");
  await writeFile(model, onnxModel({ ...IDENTITY, ...graph }));
  return bundle({ model, ...options });
}

async function failure(attempt: Promise<unknown>): Promise<Error> {
  return attempt.then(
    () => expect.unreachable("it should have failed"),
    (error: Error) => error,
  );
}

function values(...types: readonly Partial<OnnxValue>[]): OnnxValue[] {
  const usual = { type: "float32", shape: ["batch", 2] } as const;
  return types.map((value, index) => Object.assign({ name: `t${index}` }, usual, value));
}

describe("the contract of an ONNX model", () => {
  it("is read from the file: names, types, shapes of a row", async () => {
    const { manifest, folder } = await bundle({ model: pathToFileURL(DIGITS) });
    expect(manifest).toMatchObject({
      inputType: "tensor",
      contract: {
        inputs: [{ name: "image", datatype: "FP32", shape: [8, 8, 1] }],
        outputs: [
          { name: "scores", datatype: "FP32", shape: [10] },
          { name: "digit", datatype: "INT64", shape: [] },
        ],
        isBatched: true,
      },
      packages: { "onnxruntime-node": "1.30.0" },
      allowScripts: { "onnxruntime-node": false },
      environment: { ORT_DISABLE_TELEMETRY: "1" },
      notes: [],
    });
    expect(manifest.model).toMatchObject({
      file: "model.onnx",
      batching: "dynamic",
      inputs: [{ name: "image", batchAxis: 0 }],
      outputs: [
        { name: "scores", batchAxis: 0 },
        { name: "digit", batchAxis: 0 },
      ],
    });
    expect(readFileSync(join(folder, "model.onnx"))).toEqual(readFileSync(DIGITS));
  });

  it("holds for what onnxruntime answers from the bundle", async () => {
    const cases = JSON.parse(
      readFileSync(new URL("../../examples/digits/digits-cases.json", import.meta.url), "utf8"),
    );
    const { folder } = await bundle({ model: DIGITS });
    const session = await InferenceSession.create(join(folder, "model.onnx"));
    const images: readonly number[][][] = cases.images;
    const data = Float32Array.from(images.flat(3));
    const { digit, scores } = await session.run({
      image: new Tensor("float32", data, [images.length, 8, 8, 1]),
    });
    expect(Array.from(digit?.data as BigInt64Array, Number)).toEqual(cases.digits);
    expect(scores?.dims).toEqual([images.length, 10]);
    await session.release();
  });

  it("has every element type that onnxruntime-node takes", async () => {
    const types = [
      "uint8",
      "int8",
      "uint16",
      "int16",
      "int32",
      "int64",
      "string",
      "bool",
      "float16",
      "float64",
      "uint32",
      "uint64",
    ] as const;
    const inputs = values(...types.map((type) => ({ type })));
    const { manifest } = await bundleGraph({ inputs });
    expect(manifest.contract.inputs.map(({ datatype }) => datatype)).toEqual([
      "UINT8",
      "INT8",
      "UINT16",
      "INT16",
      "INT32",
      "INT64",
      "BYTES",
      "BOOL",
      "FP16",
      "FP64",
      "UINT32",
      "UINT64",
    ]);
    expect(manifest.contract.inputs[6]).toMatchObject({ contentType: "str" });
  });

  it("says -1 for what is free in a row, and moves a batch axis that is not the first", async () => {
    const { manifest } = await bundleGraph({
      inputs: values({ shape: ["batch", "sequence"] }, { shape: [2, "batch", 64] }, { shape: [] }),
    });
    expect(manifest.contract.inputs.map(({ shape }) => shape)).toEqual([[-1], [2, 64], []]);
  });

  it("leaves out outputs that are no tensors, with a note", async () => {
    const { manifest } = await bundleGraph({
      outputs: [...IDENTITY.outputs, { name: "maps", type: "float32", kind: "sequence-of-maps" }],
    });
    expect(manifest.contract.outputs.map(({ name }) => name)).toEqual(["y"]);
    expect(manifest.notes).toEqual([expect.stringContaining('"maps" (sequence)')]);
  });

  it("takes an output whose shape the file does not tell", async () => {
    const { manifest } = await bundleGraph({ outputs: [{ name: "y", type: "float32" }] });
    expect(manifest.model).toMatchObject({ batching: "dynamic", outputs: [{ name: "y", batchAxis: 0 }] });
  });

  it("has dimensions that session options fix", async () => {
    const { manifest } = await bundleGraph(
      { inputs: values({ shape: ["batch", "sequence"] }) },
      { sessionOptions: { freeDimensionOverrides: { sequence: 16 }, intraOpNumThreads: 2 } },
    );
    expect(manifest.contract.inputs[0]?.shape).toEqual([16]);
    expect(manifest.model["sessionOptions"]).toEqual({
      freeDimensionOverrides: { sequence: 16 },
      intraOpNumThreads: 2,
    });
  });

  it("has a note where rows run one by one for lack of a common axis, and the option ends it", async () => {
    const graph = {
      inputs: values({ shape: [null, null] }, { shape: [2, null, 4] }),
      outputs: [{ name: "y", type: "float32", shape: [null, null] } as const],
    };
    const doubtful = await bundleGraph(graph);
    expect(doubtful.manifest.model["batching"]).toBe("one-by-one");
    expect(doubtful.manifest.notes.join()).toContain("batchAxis");
    const clear = await bundleGraph(graph, { batchAxis: { t0: 0, t1: 1, y: 0 }, maxBatchSize: 8 });
    expect(clear.manifest.model["batching"]).toBe("dynamic");
    expect(clear.manifest.contract.maxBatchSize).toBe(8);
    expect(clear.manifest.notes).toEqual([]);
  });
});

describe("a model that cannot be served names the part", () => {
  it.each([
    ["an input of complex numbers", { inputs: values({ type: "complex64" }) }, ['"t0"', "complex64"]],
    ["an input of bfloat16", { inputs: values({ type: "bfloat16" }) }, ['"t0"', "bfloat16"]],
    ["an output of bfloat16", { outputs: values({ type: "bfloat16" }) }, ['"t0"', "bfloat16"]],
    ["an input that is a sequence", { inputs: values({ kind: "sequence" }) }, ['"t0"', "sequence"]],
    [
      "only outputs that are no tensors",
      { outputs: values({ kind: "map" }) },
      ['"t0" (map)', "zipmap=False"],
    ],
    ["an input without a shape", { inputs: values({ shape: undefined }) }, ['"t0"', "shape"]],
    ["no input", { inputs: [] }, ["no input"]],
  ] as const)("%s", async (_, graph, words) => {
    const error = await failure(bundleGraph(graph));
    expect(error).toBeInstanceOf(UnsupportedModelError);
    for (const word of words) expect(error.message).toContain(word);
  });
});

describe("a file that is no ONNX model", () => {
  it.each([
    [
      "a Git LFS pointer",
      "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
      "git lfs pull",
    ],
    ["a web page", "<!DOCTYPE html><html></html>", "web page"],
    ["a zip archive", "PK\u0003\u0004xxxx", "zip archive"],
    ["gzip", Buffer.from([0x1f, 0x8b, 8, 0]), "gunzip"],
    ["HDF5", Buffer.from([0x89, 0x48, 0x44, 0x46, 0x0d]), "HDF5"],
    ["TensorFlow Lite", "\u001c\u0000\u0000\u0000TFL3xxxx", "TensorFlow Lite"],
    ["JSON", '{"format": "layers-model"}', "JSON"],
    ["nothing", "", "empty"],
    ["noise", Buffer.from([0xff, 0x00, 0x13, 0x37, 0xff, 0xff]), "no whole ONNX model"],
    ["another protobuf message", Buffer.from([0x0a, 2, 0x68, 0x69]), "no whole ONNX model"],
    ["a model that is cut off", readFileSync(DIGITS).subarray(0, 9000), "no whole ONNX model"],
  ])("%s", async (_, content, words) => {
    const folder = await project({ "model.onnx": content });
    const error = await failure(bundle({ model: join(folder, "model.onnx") }));
    expect(error).toBeInstanceOf(InvalidModelFileError);
    expect(error.message).toContain(join(folder, "model.onnx"));
    expect(error.message).toContain(words);
  });

  it("a folder", async () => {
    const folder = await project({ "saved/model.bin": "" });
    const error = await failure(bundle({ model: join(folder, "saved") }));
    expect(error).toBeInstanceOf(ModelFileNotFoundError);
    expect(error.message).toContain("is a folder");
  });
});

/** A model that adds the vector of a weight file to its input. */
function withWeights(location: string, length = 12): Uint8Array {
  return onnxModel({
    ...IDENTITY,
    nodes: [{ op: "Add", inputs: ["x", "w"], outputs: ["y"] }],
    initializers: [{ name: "w", type: "float32", dims: [3], external: { location, offset: 0, length } }],
  });
}

describe("external weight files", () => {
  const weights = new Uint8Array(Float32Array.of(1, 2, 3).buffer);

  it("come along, to where the model looks for them, and the bundle runs", async () => {
    const folder = await project({ "m/model.onnx": withWeights("deep/w.bin"), "m/deep/w.bin": weights });
    const bundled = await bundle({ model: join(folder, "m/model.onnx") });
    expect(new Set<unknown>(readdirSync(bundled.folder, { recursive: true }))).toEqual(
      new Set(["deep", "deep/w.bin", "model.onnx"]),
    );
    const session = await InferenceSession.create(join(bundled.folder, "model.onnx"));
    const { y } = await session.run({ x: new Tensor("float32", Float32Array.of(1, 1, 1), [1, 3]) });
    expect(y?.data).toEqual(Float32Array.of(2, 3, 4));
    await session.release();
  });

  it("written in two ways are one file", async () => {
    const model = onnxModel({
      ...IDENTITY,
      nodes: [
        { op: "Add", inputs: ["x", "v"], outputs: ["t"] },
        { op: "Add", inputs: ["t", "w"], outputs: ["y"] },
      ],
      initializers: [
        { name: "v", type: "float32", dims: [3], external: { location: "w.bin", length: 12 } },
        { name: "w", type: "float32", dims: [3], external: { location: "./w.bin", length: 12 } },
      ],
    });
    const folder = await project({ "model.onnx": model, "w.bin": weights });
    const bundled = await bundle({ model: join(folder, "model.onnx") });
    expect(readdirSync(bundled.folder).toSorted()).toEqual(["model.onnx", "w.bin"]);
    const session = await InferenceSession.create(join(bundled.folder, "model.onnx"));
    const { y } = await session.run({ x: new Tensor("float32", Float32Array.of(1, 1, 1), [1, 3]) });
    expect(y?.data).toEqual(Float32Array.of(3, 5, 7));
    await session.release();
  });

  it("that are missing are named", async () => {
    const folder = await project({ "model.onnx": withWeights("w.bin") });
    const error = await failure(bundle({ model: join(folder, "model.onnx") }));
    expect(error).toBeInstanceOf(ModelFileNotFoundError);
    expect(error.message).toContain(join(folder, "w.bin"));
  });

  it("that are too short are refused", async () => {
    const folder = await project({ "model.onnx": withWeights("w.bin", 64), "w.bin": weights });
    const error = await failure(bundle({ model: join(folder, "model.onnx") }));
    expect(error).toBeInstanceOf(InvalidModelFileError);
    expect(error.message).toContain("has 12 bytes, and the model needs 64");
  });

  it.each(["../w.bin", "deep/../../w.bin", "/etc/passwd", "..\\w.bin"])(
    "at %s, outside the folder, are refused",
    async (location) => {
      const folder = await project({ "m/model.onnx": withWeights(location), "w.bin": weights });
      const error = await failure(bundle({ model: join(folder, "m/model.onnx") }));
      expect(error).toBeInstanceOf(UnsupportedModelError);
      expect(error.message).toContain("outside its own folder");
    },
  );

  it.each(["manifest.json", "model.onnx", "./manifest.json"])(
    "named %s, as a file of the bundle, are refused",
    async (location) => {
      const folder = await project({
        "m.onnx": withWeights(location),
        "manifest.json": weights,
        "model.onnx": weights,
      });
      const error = await failure(bundle({ model: join(folder, "m.onnx") }));
      expect(error).toBeInstanceOf(UnsupportedModelError);
    },
  );

  it("are hashed without their permissions", async () => {
    const folder = await project({ "model.onnx": withWeights("w.bin"), "w.bin": weights });
    const first = await bundle({ model: join(folder, "model.onnx") });
    await chmod(join(folder, "w.bin"), 0o755);
    await chmod(join(folder, "model.onnx"), 0o400);
    const second = await bundle({ model: join(folder, "model.onnx") });
    expect(await hashFolder(second.folder)).toBe(await hashFolder(first.folder));
  });
});

describe("queries in Clipper's types", () => {
  it.each([
    ["floats", { shape: ["batch", 3] }],
    ["d", { shape: ["batch", "width", 3] }],
    ["ints", { type: "int64", shape: ["batch", 3] }],
    ["strings", { type: "string", shape: ["batch"] }],
  ] as const)("%s fit a model with such an input, which keeps its tensor", async (inputType, value) => {
    const { manifest } = await bundleGraph({ inputs: values(value) }, { inputType });
    expect(manifest.inputType).not.toBe("tensor");
    expect(manifest.contract.inputs[0]).toMatchObject({ name: "t0" });
  });

  it.each([
    ["floats", [{}, {}]],
    ["floats", [{ shape: ["batch"] }]],
    ["floats", [{ shape: ["batch", null, null] }]],
    ["floats", [{ type: "string" }]],
    ["strings", [{}]],
  ] as const)("%s do not fit others", async (inputType, types) => {
    const error = await failure(bundleGraph({ inputs: values(...types) }, { inputType }));
    expect(error).toBeInstanceOf(UnsupportedModelError);
    expect(error.message).toContain("preprocess");
  });
});

describe("functions around a model", () => {
  const files = {
    "both.ts": `
      import { version } from "plain";
      export const preprocess = (inputs: readonly string[]) => inputs.map((text) => [text.length, 0, 0]);
      export const postprocess = (outputs: readonly { y: { data: Float32Array } }[]) => outputs.map(({ y }) => ({ sum: y.data[0], version }));`,
    "post.ts":
      "export const top = (outputs: unknown[]) => outputs.map(() => 1); export const postprocess = top;",
    "none.ts": "export const helper = 1;",
    "legacy.cjs": "exports.after = (outputs) => outputs.map(() => 1);",
    ...installed("plain", "1.2.3"),
  };
  async function withProcessing(
    processing: (folder: string) => OnnxOptions["processing"],
    more: Partial<OnnxOptions> = {},
  ): Promise<Bundled> {
    const folder = await project(files);
    return bundleGraph({}, { processing: processing(folder), ...more });
  }

  it("are exports by their names: values come and go, the tensors stay for the loader", async () => {
    const { manifest, folder } = await withProcessing((at) => join(at, "both.ts"), { inputType: "strings" });
    expect(manifest.inputType).toBe("strings");
    expect(manifest.contract.inputs).toEqual([
      { name: "input", datatype: "BYTES", shape: [], contentType: "str" },
    ]);
    expect(manifest.contract.outputs).toEqual([
      { name: "output", datatype: "BYTES", shape: [], contentType: "json" },
    ]);
    expect(manifest.model).toMatchObject({
      inputs: [{ name: "x", datatype: "FP32", shape: [3] }],
      processing: { file: "processing.mjs", preprocess: "preprocess", postprocess: "postprocess" },
    });
    expect(manifest.packages).toEqual({ "onnxruntime-node": "1.30.0", plain: "1.2.3" });
    expect(readdirSync(folder).toSorted()).toEqual(["model.onnx", "processing.mjs", "processing.mjs.map"]);
  });

  it("are json by default where there is a preprocess function, tensors where there is none", async () => {
    const both = await withProcessing((at) => join(at, "both.ts"));
    expect(both.manifest.inputType).toBe("json");
    const after = await withProcessing((at) => pathToFileURL(join(at, "post.ts")));
    expect(after.manifest).toMatchObject({ inputType: "tensor", contract: { inputs: [{ name: "x" }] } });
    expect(after.manifest.contract.outputs[0]?.contentType).toBe("json");
  });

  it("are exports of other names, where they are named, also of CommonJS", async () => {
    const named = await withProcessing((at) => ({ module: join(at, "post.ts"), postprocess: "top" }));
    expect(named.manifest.model["processing"]).toEqual({ file: "processing.mjs", postprocess: "top" });
    const legacy = await withProcessing((at) => ({ module: join(at, "legacy.cjs"), postprocess: "after" }));
    expect(legacy.manifest.model["processing"]).toEqual({ file: "processing.mjs", postprocess: "after" });
  });

  it.each([
    ["none.ts", "helper"],
    ["legacy.cjs", "CommonJS"],
  ])("must be there: %s", async (file, words) => {
    const error = await failure(withProcessing((at) => join(at, file)));
    expect(error).toBeInstanceOf(InvalidOptionsError);
    expect(error.message).toContain(words);
  });

  it("leave no room for queries that are tensors already", async () => {
    const error = await failure(withProcessing((at) => join(at, "both.ts"), { inputType: "tensor" }));
    expect(error).toBeInstanceOf(InvalidOptionsError);
  });
});

describe("the version of onnxruntime-node", () => {
  it.each([
    [{ runtimeVersion: "1.27.0" }, "1.27.0"],
    [{ packages: { "onnxruntime-node": "1.26.0" } }, "1.26.0"],
    [{}, "1.30.0"],
  ])("%j gives %s", async (options, version) => {
    const { manifest } = await bundleGraph({}, options);
    expect(manifest.packages).toEqual({ "onnxruntime-node": version });
  });
});
