// The models with which the standard deployers pass their suites: a function, a look-up table in ONNX, a server.
import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { writeTemplate } from "../../core/cli/init.ts";
import {
  container,
  functionDeployer,
  onnx,
  python,
  type ContainerModelOptions,
  type FunctionOptions,
  type OnnxOptions,
  type PythonOptions,
} from "../../deployers/index.ts";
import type { ServedCase } from "../conformance/deployer.ts";
import { onnxModel } from "./onnx-writer.ts";
import { writeFiles } from "./project.ts";

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

export const pythonCase: ServedCase<PythonOptions> = {
  deployer: python,
  async write(folder, content) {
    await writeFiles(folder, {
      "model/predict.py": `
from pathlib import Path

from scale import scaled


def load_model(dir):
    return int(Path(dir, "factor.txt").read_text())


def predict(model, inputs):
    if any(x < 0 for row in inputs for x in row):
        raise ValueError("negative numbers have no place here")
    return [scaled(float(sum(row)), model) for row in inputs]
`,
      "model/scale.py": "def scaled(x, factor):\n    return x * factor\n",
      "model/factor.txt": `${FACTORS[content]}`,
      "model/__pycache__/scale.cpython-311.pyc": "left out",
    });
    return { inputType: "doubles", folder: join(folder, "model") };
  },
  inputs: [[1, 2, 3], [], [0.5]],
  outputs: { first: [12, 0, 1], second: [18, 0, 1.5] },
  badInput: { input: ["one"], message: "input[0]" },
  failing: { input: [1, -1], message: "negative numbers have no place here (predict.py, line 13)" },
  wrongOptions: [
    { change: { inputType: "numbers" }, message: "inputType" },
    { change: { inputType: "tensor" }, message: "needs inputs" },
    { change: { inputs: [{ name: "x", datatype: "FP32", shape: [2] }] }, message: "leave one of them out" },
    { change: { inputs: [{ name: "x", datatype: "float32" }] }, message: "inputs[0].datatype" },
    { change: { outputs: [] }, message: "outputs" },
    { change: { folder: 7 }, message: "folder" },
    { change: { folder: "https://example.org/model" }, message: "folder" },
    { change: { folder: undefined }, message: "either a folder or a zip" },
    { change: { zip: "model.zip" }, message: "either a folder or a zip" },
    { change: { tasks: ["Text Classification"] }, message: "tasks[0]" },
    { change: { tasks: ["qa"] }, message: "Backprop" },
    { change: { buildFromSource: ["--index-url=x"] }, message: "buildFromSource[0]" },
    { change: { environment: { WINDJAMMER_SOCKET: "/tmp/x" } }, message: "environment" },
    { change: { maxBatchSize: 0 }, message: "maxBatchSize" },
  ],
  missingFile: (folder) => ({ folder: join(folder, "gone") }),
};

/** The template of a server in Node, with the function's factor, and one number it does not take. */
export const containerCase: ServedCase<ContainerModelOptions> = {
  deployer: container,
  async write(folder, content) {
    if (!existsSync(join(folder, "server.mjs"))) await writeTemplate("node", folder);
    await writeFiles(folder, {
      "model.mjs": `
        export const inputs = [{ name: "x", datatype: "FP64", shape: [2] }];
        export const outputs = [{ name: "sum", datatype: "FP64", shape: [] }];
        export const load = async () => ${FACTORS[content]};
        export const predict = async (factor, { x }) => {
          if (x.flat().some((value) => value < 0)) throw new RangeError("negative numbers have no place here");
          return { sum: x.map(([a, b]) => factor * (a + b)) };
        };`,
    });
    return { command: ["node", "server.mjs"], folder };
  },
  inputs: [
    [1, 2],
    [0, 0],
    [0.25, 0.25],
  ],
  outputs: { first: [6, 0, 1], second: [9, 0, 1.5] },
  badInput: { input: [1, "two"], message: "input[1]" },
  failing: { input: [1, -1], message: "negative numbers" },
  wrongOptions: [
    { change: { image: "spam:1" }, message: "exactly one of image, dockerfile, command, url" },
    { change: { command: undefined }, message: "exactly one of image, dockerfile, command, url; got none" },
    { change: { command: [] }, message: "command" },
    { change: { command: "node server.mjs" }, message: "command" },
    { change: { command: undefined, url: "ftp://example.org" }, message: "http" },
    {
      change: { command: undefined, url: "http://example.org" },
      message: "folder: expected it only with command",
    },
    { change: { command: undefined, folder: undefined, image: "-rf" }, message: "name of an image" },
    { change: { port: 8000 }, message: "port: expected it only with image or dockerfile" },
    { change: { contract: { inputs: [], outputs: [], isBatched: true } }, message: "contract" },
    { change: { packages: { zod: "^4.0.0" } }, message: "exact version" },
    { change: { environment: { PORT: "1" } }, message: "environment" },
  ],
  missingFile: (folder) => ({ folder: join(folder, "gone") }),
};
