// Runs a SavedModel through the native half of tfjs-node: no TensorFlow.js tensors in between, and 64-bit integers whole.
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import type { LoadContext } from "../loader.ts";
import type { Datatype } from "../protocol.ts";
import type { TensorSession } from "../tensor-model/session.ts";
import { elementBytes, stringElement } from "../tensor-model/stack.ts";
import type { RowTensor, TensorData } from "../tensor-model/settings.ts";
import { loadBinding, type TfBinding } from "./tfjs.ts";
import type { TensorFlowModelSettings } from "./settings.ts";

export class SavedModelSession implements TensorSession {
  readonly runtime = "tensorflow";
  readonly #binding: TfBinding;
  readonly #model: number;
  readonly #inputs: readonly Datatype[];
  readonly #outputs: readonly Datatype[];
  readonly #inputNodes: string;
  readonly #outputNodes: string;

  private constructor(binding: TfBinding, model: number, settings: TensorFlowModelSettings) {
    this.#binding = binding;
    this.#model = model;
    this.#inputs = settings.inputs.map(({ datatype }) => datatype);
    this.#outputs = settings.outputs.map(({ datatype }) => datatype);
    this.#inputNodes = (settings.inputNodes ?? []).join(",");
    this.#outputNodes = (settings.outputNodes ?? []).join(",");
  }

  /** @throws Error saying which package or file is missing, or why TensorFlow does not take the model */
  static open(settings: TensorFlowModelSettings, { modelDir }: LoadContext): SavedModelSession {
    const { file, tags = ["serve"] } = settings;
    const path = join(modelDir, file);
    if (!existsSync(path)) throw new Error(`the bundle has no model file ${file}`);
    const binding = loadBinding(modelDir);
    try {
      const model = binding.loadSavedModel(dirname(path), tags.join(","));
      return new SavedModelSession(binding, model, settings);
    } catch (error) {
      throw new Error(`TensorFlow cannot load ${file}: ${(error as Error).message}`, { cause: error });
    }
  }

  // oxlint-disable-next-line require-await -- native runs are synchronous; a throw becomes a rejection
  async run(inputs: readonly RowTensor[]): Promise<RowTensor[]> {
    const held: number[] = [];
    try {
      for (const [index, input] of inputs.entries()) held.push(this.#create(input, this.#inputs[index]));
      const outputs = this.#binding.runSavedModel(
        this.#model,
        Array.from(held),
        this.#inputNodes,
        this.#outputNodes,
      );
      held.push(...outputs.map(({ id }) => id));
      return outputs.map(({ id, shape }, index) => ({ data: this.#read(id, index), dims: shape }));
    } finally {
      for (const id of held) this.#binding.deleteTensor(id);
    }
  }

  async close(): Promise<void> {
    this.#binding.deleteSavedModel(this.#model);
  }

  #create({ data, dims }: RowTensor, datatype: Datatype | undefined): number {
    const binding = this.#binding;
    if (!ArrayBuffer.isView(data))
      return binding.createTensor(dims, binding.TF_STRING, data.map(elementBytes));
    // It takes 64-bit integers as pairs of 32-bit ones.
    if (datatype === "INT64")
      return binding.createTensor(
        dims,
        binding.TF_INT64,
        new Int32Array(data.buffer, data.byteOffset, data.byteLength / 4),
      );
    return binding.createTensor(dims, this.#dtype(datatype), data);
  }

  #dtype(datatype: Datatype | undefined): number {
    const { TF_BOOL, TF_FLOAT, TF_INT32, TF_UINT8 } = this.#binding;
    if (datatype === "FP32") return TF_FLOAT;
    if (datatype === "INT32") return TF_INT32;
    if (datatype === "BOOL") return TF_BOOL;
    if (datatype === "UINT8") return TF_UINT8;
    throw new Error(`tfjs-node takes no inputs of type ${datatype}`);
  }

  #read(id: number, index: number): TensorData {
    const data = this.#binding.tensorDataSync(id);
    if (!Array.isArray(data)) return data as TensorData;
    if (this.#outputs[index] !== "BYTES") throw new Error(`output ${index} is a tensor of strings`);
    return (data as readonly Uint8Array[]).map(stringElement);
  }
}
