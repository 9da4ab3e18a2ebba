// Tells what the option `model` leads to: the folder of a SavedModel, a model.json, or something else, with the way out.
import { readdir, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { InvalidModelFileError, ModelFileNotFoundError } from "../../core/index.ts";
import { fileSize } from "../location.ts";

/** A model on disk. */
export type ModelLocation =
  | { readonly kind: "saved-model"; readonly folder: string }
  | { readonly kind: "model-json"; readonly path: string };

const GRAPH_FILE = "saved_model.pb";

/** @throws ModelFileNotFoundError, InvalidModelFileError saying what is there instead */
export async function locateModel(path: string): Promise<ModelLocation> {
  const stats = await stat(path).catch(() => undefined);
  if (stats?.isDirectory() === true) return inFolder(path);
  await fileSize(path, "model");
  const name = basename(path);
  if (name === GRAPH_FILE) return { kind: "saved-model", folder: dirname(path) };
  const foreign = FOREIGN.find(({ pattern }) => pattern.test(name));
  if (foreign !== undefined)
    throw new InvalidModelFileError(`${path} is ${foreign.what}`, { details: { path } });
  if (name.endsWith(".json")) return { kind: "model-json", path };
  throw new InvalidModelFileError(
    `${path} is no TensorFlow model; give the folder of a SavedModel, or the model.json of a TensorFlow.js model`,
    { details: { path } },
  );
}

async function inFolder(folder: string): Promise<ModelLocation> {
  const names = (await readdir(folder)).toSorted();
  if (names.includes(GRAPH_FILE)) return { kind: "saved-model", folder };
  if (names.includes("model.json")) return { kind: "model-json", path: join(folder, "model.json") };
  throw new ModelFileNotFoundError(
    `folder ${folder} holds neither ${GRAPH_FILE} nor model.json; ${await whatElse(folder, names)}`,
    { details: { path: folder, files: names.slice(0, 20) } },
  );
}

async function whatElse(folder: string, names: readonly string[]): Promise<string> {
  if (names.includes("saved_model.pbtxt"))
    return "its saved_model.pbtxt is the text form, which tfjs-node does not read: save the model again, in the usual binary form";
  for (const name of names) {
    const inner = await readdir(join(folder, name)).catch((): string[] => []);
    if (inner.includes(GRAPH_FILE) || inner.includes("model.json"))
      return `give ${join(folder, name)}, which does`;
  }
  return names.length === 0 ? "it is empty" : `it holds ${names.slice(0, 5).join(", ")}`;
}

const FOREIGN: readonly { readonly pattern: RegExp; readonly what: string }[] = [
  {
    pattern: /\.(?:keras|h5|hdf5)$/i,
    what: "a Keras file, which only Keras reads; save the model with model.export(folder) and give that folder",
  },
  {
    pattern: /\.tflite$/i,
    what: "a TensorFlow Lite model, for phones; give the SavedModel that it was made from",
  },
  { pattern: /\.onnx$/i, what: "an ONNX model; deploy it with deployOnnxModel" },
  {
    pattern: /\.pbtxt$/i,
    what: "the text form of a graph; save the model as a SavedModel in the usual binary form",
  },
  {
    pattern: /\.pb$/i,
    what: "a frozen graph of TensorFlow 1, which has no signatures; save it as a SavedModel with tf.compat.v1.saved_model.simple_save",
  },
  {
    pattern: /weights_manifest\.json$/i,
    what: "the weights manifest of a model without its topology; convert the model again with a tensorflowjs_converter of version 1 or newer, which writes a model.json",
  },
];
