// The models with which the TensorFlow deployer passes its suites: look-up tables, in TensorFlow.js and as SavedModel.
import { cp } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { tensorflow, type TensorFlowOptions } from "../../deployers/index.ts";
import type { ServedCase } from "../conformance/deployer.ts";
import { writeFiles } from "./project.ts";
import { tableModel } from "./tfjs-writer.ts";

/** Contents of the tables. */
const TABLES = { first: [10, 11, 12], second: [20, 21, 22] } as const;

const WRONG: ServedCase<TensorFlowOptions>["wrongOptions"] = [
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
  wrongOptions: [...WRONG, { change: { signature: "serving_default" }, message: "signature" }],
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
    ...WRONG,
    { change: { backend: "wasm" }, message: "SavedModel" },
    { change: { signature: "serving_defualt" }, message: 'did you mean "serving_default"' },
    { change: { tags: ["gpu"] }, message: '["serve"]' },
  ],
  missingFile: (folder) => ({ model: join(folder, "gone") }),
};
