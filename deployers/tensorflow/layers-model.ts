// The contract of a layers model: inputs and outputs out of Keras' topology in a model.json.
import { z } from "zod";
import { InvalidModelFileError, UnsupportedModelError } from "../../core/index.ts";
import type { Dimension, ModelTensor, ModelTensors } from "../tensor-model/tensors.ts";
import { tfjsDatatype } from "./element-types.ts";

interface Layer {
  readonly class_name: string;
  readonly name?: string | undefined;
  readonly config: Readonly<Record<string, unknown>> | readonly unknown[];
}

const layerSchema: z.ZodType<Layer> = z.looseObject({
  class_name: z.string(),
  name: z.string().optional(),
  config: z.union([z.record(z.string(), z.unknown()), z.array(z.unknown())]),
});

/**
 * What a topology tells. Shapes and element types of outputs are not in it: they are taken for numbers of any shape.
 * @throws InvalidModelFileError, UnsupportedModelError
 */
export function layersTensors(topology: Readonly<Record<string, unknown>>): ModelTensors {
  const model = layer(topology["model_config"] ?? topology);
  refuseKeras3(topology, model);
  const { inputs, outputs } = ends(model);
  return {
    inputs,
    outputs: outputs.map((name) => ({ name, datatype: "FP32", dimensions: undefined })),
    strings: "text",
    notes: [],
  };
}

function layer(value: unknown): Layer {
  const checked = layerSchema.safeParse(value);
  if (checked.success) return checked.data;
  throw new InvalidModelFileError(
    "modelTopology of the layers model has no class_name and config; give the model.json that model.save or tensorflowjs_converter wrote",
  );
}

function configOf({ config }: Layer): Readonly<Record<string, unknown>> {
  return Array.isArray(config) ? { layers: config } : (config as Readonly<Record<string, unknown>>);
}

function layersOf(model: Layer): readonly Layer[] {
  const { layers } = configOf(model);
  const checked = z.array(layerSchema).min(1).safeParse(layers);
  if (checked.success) return checked.data;
  throw new InvalidModelFileError(`modelTopology: the ${model.class_name} model has no list of layers`);
}

function refuseKeras3(topology: Readonly<Record<string, unknown>>, model: Layer): void {
  const version = text(topology["keras_version"]) ?? "";
  const isNew = layersOf(model).some((inner) => {
    const config = configOf(inner);
    return "batch_shape" in config && !("batch_input_shape" in config);
  });
  if (!version.startsWith("3.") && !isNew) return;
  throw new UnsupportedModelError(
    `the model was saved by Keras 3${version === "" ? "" : ` (${version})`}, whose layers TensorFlow.js does not read; ` +
      "save it with model.export(folder) and give that folder, or convert it with tf_keras (Keras 2)",
  );
}

interface Ends {
  readonly inputs: readonly ModelTensor[];
  readonly outputs: readonly string[];
}

function ends(model: Layer): Ends {
  return model.class_name === "Sequential" ? sequentialEnds(model) : functionalEnds(model);
}

function sequentialEnds(model: Layer): Ends {
  const layers = layersOf(model);
  const [first] = layers;
  const last = layers.at(-1);
  if (first === undefined || last === undefined) throw new InvalidModelFileError("the model has no layers");
  return { inputs: sequentialInputs(first), outputs: [nameOf(last)] };
}

/** Without an input layer TensorFlow.js makes one, named after the layer behind it. */
function sequentialInputs(first: Layer): readonly ModelTensor[] {
  if (isModel(first)) {
    const { inputs } = ends(first);
    const name = `${nameOf(first)}_input`;
    return inputs.map(({ datatype, dimensions }) => ({ name, datatype, dimensions }));
  }
  const name = first.class_name === "InputLayer" ? nameOf(first) : `${nameOf(first)}_input`;
  return [inputTensor(name, first)];
}

function isModel({ class_name: kind }: Layer): boolean {
  return kind === "Sequential" || kind === "Functional" || kind === "Model";
}

function functionalEnds(model: Layer): Ends {
  const config = configOf(model);
  const layers = layersOf(model);
  const inputs = places(config["input_layers"]).map((name) => {
    const found = layers.find((inner) => nameOf(inner) === name);
    if (found === undefined)
      throw new InvalidModelFileError(
        `modelTopology: input_layers names "${name}", and no layer is called so`,
      );
    return inputTensor(name, found);
  });
  return { inputs, outputs: distinct(places(config["output_layers"])) };
}

/** `[["image", 0, 0], …]`, or of one alone `["image", 0, 0]`; the names. */
function places(value: unknown): readonly string[] {
  const place = z.tuple([z.string()], z.unknown());
  const one = place.safeParse(value);
  if (one.success) return [one.data[0]];
  const checked = z.array(place).min(1).safeParse(value);
  if (checked.success) return checked.data.map(([name]) => name);
  throw new InvalidModelFileError(
    "modelTopology has no input_layers and output_layers, and is no Sequential model",
  );
}

/** A layer with several outputs names them all; a contract needs one name each. */
function distinct(names: readonly string[]): readonly string[] {
  return names.map((name, index) => {
    const before = names.slice(0, index).filter((other) => other === name).length;
    return before === 0 ? name : `${name}_${before}`;
  });
}

function nameOf(inner: Layer): string {
  return text(configOf(inner)["name"]) ?? inner.name ?? inner.class_name.toLowerCase();
}

function text(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

function inputTensor(name: string, inner: Layer): ModelTensor {
  const { batch_input_shape: shape, input_shape: rowShape, dtype } = configOf(inner);
  const sizes = z.array(z.int().min(1).nullable());
  const whole = sizes.safeParse(shape);
  const row = sizes.safeParse(rowShape);
  const dimensions: readonly Dimension[] | undefined = whole.success
    ? whole.data
    : row.success
      ? [null, ...row.data]
      : undefined;
  if (dimensions === undefined) {
    throw new UnsupportedModelError(
      `the layers model does not tell the shape of its input "${name}"; give its first layer an inputShape and save it again`,
      { details: { input: name } },
    );
  }
  const datatype = tfjsDatatype(typeof dtype === "string" ? dtype : "float32", { role: "input", name });
  return { name, datatype, dimensions };
}
