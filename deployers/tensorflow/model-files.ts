// Brings a model of each format into a bundle, with what is known of its tensors.
import { InvalidOptionsError, type BundleReport, type JsonObject } from "../../core/index.ts";
import type { ModelTensors } from "../tensor-model/tensors.ts";
import { graphTensors } from "./graph-model.ts";
import { layersTensors } from "./layers-model.ts";
import { saveLiveModel, type LiveTfjsModel } from "./live-model.ts";
import {
  checkModelJson,
  copyModelJson,
  readModelJson,
  writeModelJson,
  type ModelJson,
} from "./model-json.ts";
import type { TensorFlowFormat } from "./runtime-packages.ts";
import { copySavedModel, readGraphs } from "./saved-model-source.ts";
import {
  chooseGraph,
  chooseOutputs,
  chooseSignature,
  servedTensor,
  type SignatureChoice,
} from "./signature.ts";

/** A model whose files lie in the bundle. */
export interface BundledModel {
  readonly format: TensorFlowFormat;
  /** In the folder of the model. */
  readonly file: string;
  readonly tensors: ModelTensors;
  /** What only the loader of this format reads. */
  readonly settings: JsonObject;
}

interface Target {
  readonly options: SignatureChoice;
  /** Folder of the model in the bundle. */
  readonly to: string;
  readonly report: BundleReport;
}

/** @throws ModelFileNotFoundError, InvalidModelFileError, InvalidOptionsError, UnsupportedModelError */
export async function bundleSavedModel(
  folder: string,
  { options, to, report }: Target,
): Promise<BundledModel> {
  const graph = chooseGraph(await readGraphs(folder), options.tags);
  const signature = chooseSignature(graph, options.signature);
  report(`read ${folder}: signature "${signature.name}"`, { tensorflow: graph.tensorflowVersion });
  const inputs = signature.inputs.map((tensor) => servedTensor("input", tensor));
  const outputs = chooseOutputs(signature.outputs, options.outputs).map((tensor) =>
    servedTensor("output", tensor),
  );
  const { bytes, isRewritten } = await copySavedModel(folder, to);
  const how = isRewritten ? `, without what TensorFlow ${graph.tensorflowVersion} adds for saving alone` : "";
  report(`copied the SavedModel${how}`, { bytes });
  return {
    format: "saved-model",
    file: "saved_model.pb",
    tensors: { inputs, outputs, strings: "bytes", notes: [] },
    settings: { tags: graph.tags, ...nodesOf({ inputs, outputs }) },
  };
}

/** @throws ModelFileNotFoundError, InvalidModelFileError, InvalidOptionsError, UnsupportedModelError */
export async function bundleModelJson(path: string, { options, to, report }: Target): Promise<BundledModel> {
  const model = await readModelJson(path);
  const known = knownModel(model, options);
  report(`read ${path}, a ${known.format.replace("-", " ")}`);
  const bytes = await copyModelJson(path, model, to);
  report("copied the model and its weight files", { bytes });
  return known;
}

/** @throws InvalidModelFileError, InvalidOptionsError, UnsupportedModelError */
export async function bundleLiveModel(
  live: LiveTfjsModel,
  { options, to, report }: Target,
): Promise<BundledModel> {
  const { model, outputShapes, ...weights } = await saveLiveModel(live);
  const known = knownModel(checkModelJson("the live model", model), options, outputShapes);
  const bytes = await writeModelJson(to, model, { specs: weights.specs, data: weights.data });
  report(`saved the live model, a ${known.format.replace("-", " ")}`, { bytes });
  return known;
}

function knownModel(
  model: ModelJson,
  options: Target["options"],
  outputShapes: Awaited<ReturnType<typeof saveLiveModel>>["outputShapes"] = [],
): BundledModel {
  refuseSavedModelOptions(options);
  const isGraph = (model.format ?? ("node" in model.modelTopology ? "graph-model" : "")) === "graph-model";
  const file = "model.json";
  if (isGraph) {
    const { inputs, outputs: all } = graphTensors(model);
    const outputs = chooseOutputs(all, options.outputs);
    const tensors: ModelTensors = { inputs, outputs, strings: "text", notes: [] };
    return { format: "graph-model", file, tensors, settings: nodesOf({ inputs, outputs }) };
  }
  const { inputs, outputs: all, strings, notes } = layersTensors(model.modelTopology);
  const shaped = all.map(({ name, datatype, dimensions }, index) => ({
    name,
    datatype,
    dimensions: all.length === outputShapes.length ? outputShapes[index] : dimensions,
  }));
  const outputs = chooseOutputs(shaped, options.outputs);
  const places = outputs.map((output) => shaped.indexOf(output));
  return {
    format: "layers-model",
    file,
    tensors: { inputs, outputs, strings, notes },
    settings: { outputPlaces: places },
  };
}

/** @throws InvalidOptionsError */
function refuseSavedModelOptions({ signature, tags }: Target["options"]): void {
  const option = signature === undefined ? (tags === undefined ? undefined : "tags") : "signature";
  if (option === undefined) return;
  throw new InvalidOptionsError(
    `${option}: only SavedModels have ${option === "tags" ? "tags" : "several signatures"}, and the model is one of TensorFlow.js; leave it out`,
    { details: { option } },
  );
}

function nodesOf(tensors: {
  readonly inputs: readonly { readonly node: string }[];
  readonly outputs: readonly { readonly node: string }[];
}): JsonObject {
  return {
    inputNodes: tensors.inputs.map(({ node }) => node),
    outputNodes: tensors.outputs.map(({ node }) => node),
  };
}
