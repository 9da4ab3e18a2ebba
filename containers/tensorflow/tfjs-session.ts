// Runs a model.json through TensorFlow.js: layers models and graph models, on any of its backends.
import type { LoadContext } from "../loader.ts";
import type { Datatype } from "../protocol.ts";
import type { TensorSession } from "../tensor-model/session.ts";
import type { RowTensor, TensorData } from "../tensor-model/settings.ts";
import { TYPED_ARRAYS } from "../typed-arrays.ts";
import { modelFiles } from "./model-json.ts";
import type { TensorFlowModelSettings } from "./settings.ts";
import {
  loadTfjs,
  type TfGraphModel,
  type Tfjs,
  type TfLayersModel,
  type TfOutput,
  type TfTensor,
} from "./tfjs.ts";

/** TensorFlow.js has these element types, and strings, which no backend of it computes with. */
const DTYPES: Readonly<Partial<Record<Datatype, string>>> = {
  FP32: "float32",
  INT32: "int32",
  BOOL: "bool",
};

interface Model {
  /** Inputs and outputs in the order of the settings. */
  run(inputs: readonly TfTensor[]): TfOutput | Promise<TfOutput>;
  dispose(): unknown;
}

export class TfjsSession implements TensorSession {
  readonly runtime = "tensorflow.js";
  readonly #tf: Tfjs;
  readonly #model: Model;
  readonly #settings: TensorFlowModelSettings;

  private constructor(tf: Tfjs, model: Model, settings: TensorFlowModelSettings) {
    this.#tf = tf;
    this.#model = model;
    this.#settings = settings;
  }

  /** @throws Error saying which package or file is missing, or why TensorFlow.js does not take the model */
  static async open(settings: TensorFlowModelSettings, { modelDir }: LoadContext): Promise<TfjsSession> {
    const tf = await loadTfjs(settings, modelDir);
    const files = modelFiles(modelDir, settings.file);
    try {
      const model =
        settings.format === "layers-model"
          ? layersModel(tf, await tf.loadLayersModel(files), settings)
          : graphModel(await tf.loadGraphModel(files), settings);
      return new TfjsSession(tf, model, settings);
    } catch (error) {
      throw new Error(`TensorFlow.js cannot load ${settings.file}: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }

  async run(inputs: readonly RowTensor[]): Promise<RowTensor[]> {
    const { inputs: takes, outputs: gives } = this.#settings;
    const held: TfTensor[] = [];
    try {
      for (const [index, { data, dims }] of inputs.entries())
        held.push(this.#tf.tensor(data, dims, dtypeOf(takes[index]?.datatype)));
      const outputs = listOf(await this.#model.run(Array.from(held)));
      held.push(...outputs);
      return outputs.map((tensor, index) => ({
        data: converted(tensor.dataSync(), gives[index]?.datatype),
        dims: tensor.shape,
      }));
    } finally {
      this.#tf.dispose(held);
    }
  }

  async close(): Promise<void> {
    this.#model.dispose();
  }
}

function layersModel(tf: Tfjs, model: TfLayersModel, { outputPlaces = [0] }: TensorFlowModelSettings): Model {
  return {
    run(inputs) {
      const all = listOf(model.predictOnBatch(inputs));
      tf.dispose(all.filter((_, place) => !outputPlaces.includes(place)));
      return outputPlaces.flatMap((place) => all.slice(place, place + 1));
    },
    dispose: () => model.dispose(),
  };
}

function graphModel(
  model: TfGraphModel,
  { inputNodes = [], outputNodes = [] }: TensorFlowModelSettings,
): Model {
  let isDynamic = false;
  return {
    run(inputs) {
      const feeds = Object.fromEntries(inputs.map((tensor, index) => [inputNodes[index], tensor]));
      try {
        if (!isDynamic) return model.execute(feeds, outputNodes);
      } catch (error) {
        // Loops, conditions and outputs whose size depends on values: it says so only when it meets them.
        if (!(error as Error).message.includes("executeAsync")) throw error;
        isDynamic = true;
      }
      return model.executeAsync(feeds, outputNodes);
    },
    dispose: () => model.dispose(),
  };
}

function listOf(output: TfOutput): readonly TfTensor[] {
  return Array.isArray(output) ? (output as readonly TfTensor[]) : [output as TfTensor];
}

function dtypeOf(datatype: Datatype | undefined): string {
  const dtype = DTYPES[datatype ?? "BF16"];
  if (dtype === undefined) throw new Error(`TensorFlow.js takes no inputs of type ${datatype}`);
  return dtype;
}

type TfData = ReturnType<TfTensor["dataSync"]>;

/** As the contract has it: files do not always tell an output's element type. */
function converted(data: TfData, datatype: Datatype | undefined): TensorData {
  if (datatype === undefined || datatype === "BYTES" || !ArrayBuffer.isView(data))
    throw new Error(
      `an output is a list of ${ArrayBuffer.isView(data) ? "numbers" : "strings"}, and the contract has ${datatype}`,
    );
  if (data instanceof TYPED_ARRAYS[datatype]) return data;
  return (TYPED_ARRAYS[datatype] as unknown as Float32ArrayConstructor).from(data as Float32Array);
}
