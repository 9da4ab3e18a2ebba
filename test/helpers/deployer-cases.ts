// The models with which the standard deployers pass their suites: a function, and look-up tables in each format.
import { cp, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  functionDeployer,
  onnx,
  tensorflow,
  type FunctionOptions,
  type OnnxOptions,
  type TensorFlowOptions,
} from "../../deployers/index.ts";
import type { ServedCase } from "../conformance/deployer.ts";
import { onnxModel } from "./onnx-writer.ts";
import { writeFiles } from "./project.ts";
import { tableModel } from "./tfjs-writer.ts";

/** Factor of the function, by content. */
const FACTORS = { first: 2, second: 3 } as const;

export const functionCase: ServedCase<FunctionOptions> = {
  deployer: functionDeployer,
  async write(folder, content) {
    await writeFiles(folder, {
      "model.ts": `
        import { scale } from "./lib/scale.ts";
        export const predict = (inputs: readonly number[][]): number[] =>
          inputs.map((row) => {
            if (row.some((x) => x < 0)) throw new RangeError("negative numbers have no place here");
            return scale(row.reduce((a, b) => a + b, 0));
          });`,
      "lib/scale.ts": `export const scale = (x: number): number => ${FACTORS[content]} * x;`,
    });
    return { inputType: "doubles", module: join(folder, "model.ts") };
  },
  inputs: [[1, 2, 3], [], [0.5]],
  outputs: { first: [12, 0, 1], second: [18, 0, 1.5] },
  badInput: { input: ["one"], message: "input[0]" },
  failing: { input: [1, -1], message: "negative numbers" },
  wrongOptions: [
    { change: { inputType: "numbers" }, message: "inputType" },
    { change: { module: 7 }, message: "module" },
    { change: { module: "https://example.org/model.ts" }, message: "module" },
    { change: { export: "" }, message: "export" },
    { change: { exports: "predict" }, message: "'export'" },
    { change: { packages: { zod: "^4.0.0" } }, message: "exact version" },
    { change: { packages: { "../evil": "1.0.0" } }, message: "packages" },
    { change: { environment: { WINDJAMMER_SOCKET: "/tmp/x" } }, message: "environment" },
    { change: { allowScripts: { zod: "yes" } }, message: "allowScripts" },
  ],
  missingFile: (folder) => ({ module: join(folder, "gone.ts") }),
};

/** Contents of the table. */
const TABLES = { first: [10, 11, 12], second: [20, 21, 22] } as const;

export const onnxCase: ServedCase<OnnxOptions> = {
  deployer: onnx,
  async write(folder, content) {
    await mkdir(folder, { recursive: true });
    const model = onnxModel({
      inputs: [{ name: "index", type: "int64", shape: ["batch"] }],
      outputs: [{ name: "value", type: "float32", shape: ["batch"] }],
      nodes: [{ op: "Gather", inputs: ["table", "index"], outputs: ["value"] }],
      initializers: [{ name: "table", type: "float32", dims: [3], data: Float32Array.from(TABLES[content]) }],
    });
    await writeFile(join(folder, "table.onnx"), model);
    return { model: join(folder, "table.onnx") };
  },
  inputs: [0, 1, 2],
  outputs: TABLES,
  badInput: { input: "one", message: "input" },
  failing: { input: 99, message: "99" },
  wrongOptions: [
    { change: { model: null }, message: "model" },
    { change: { inputType: "images" }, message: "inputType" },
    { change: { inputType: "json" }, message: "preprocess" },
    { change: { batchAxis: -1 }, message: "batchAxis" },
    { change: { batchAxis: { indx: 0 } }, message: '"index"' },
    { change: { sessionOptions: { intraOpThreads: 2 } }, message: "intraOpThreads" },
    { change: { sessionOptions: { optimizedModelFilePath: "/tmp/x" } }, message: "optimizedModelFilePath" },
    { change: { runtimeVersion: "latest" }, message: "runtimeVersion" },
    {
      change: { runtimeVersion: "1.30.0", packages: { "onnxruntime-node": "1.27.0" } },
      message: "runtimeVersion",
    },
    { change: { maxBatchSize: 0 }, message: "maxBatchSize" },
    { change: { processing: 1 }, message: "processing" },
  ],
  missingFile: (folder) => ({ model: join(folder, "gone.onnx") }),
};

const TENSORFLOW_WRONG: ServedCase<TensorFlowOptions>["wrongOptions"] = [
  { change: { model: null }, message: "model" },
  { change: { model: { save: "no" } }, message: "live model" },
  { change: { backend: "webgl" }, message: "backend" },
  { change: { runtimeVersion: "4" }, message: "runtimeVersion" },
  { change: { inputType: "json" }, message: "preprocess" },
  { change: { batchAxis: { indx: 0 } }, message: '"index"' },
  { change: { tags: [] }, message: "tags" },
  { change: { outputs: ["valeu"] }, message: 'did you mean "value"' },
];

/** A graph model of TensorFlow.js, without native code. */
export const tfjsCase: ServedCase<TensorFlowOptions> = {
  deployer: tensorflow,
  async write(folder, content) {
    await writeFiles(folder, tableModel(TABLES[content]));
    return { model: join(folder, "model.json"), backend: "wasm" };
  },
  inputs: [0, 1, 2],
  outputs: TABLES,
  badInput: { input: "one", message: "input" },
  failing: { input: 99, message: "99" },
  wrongOptions: [...TENSORFLOW_WRONG, { change: { signature: "serving_default" }, message: "signature" }],
  missingFile: (folder) => ({ model: join(folder, "gone", "model.json") }),
};

/** A SavedModel, which the native library runs. */
export const savedModelCase: ServedCase<TensorFlowOptions> = {
  ...tfjsCase,
  async write(folder, content) {
    const fixture = fileURLToPath(new URL(`../fixtures/tensorflow/table-${content}`, import.meta.url));
    await cp(fixture, folder, { recursive: true });
    return { model: folder, runtimeVersion: "4.22.0" };
  },
  wrongOptions: [
    ...TENSORFLOW_WRONG,
    { change: { backend: "wasm" }, message: "SavedModel" },
    { change: { signature: "serving_defualt" }, message: 'did you mean "serving_default"' },
    { change: { tags: ["gpu"] }, message: '["serve"]' },
  ],
  missingFile: (folder) => ({ model: join(folder, "gone") }),
};
