// What `manifest.model` holds for the TensorFlow loader.
import type { TensorModelSettings } from "../tensor-model/settings.ts";

/** `manifest.model` of a bundle with loader "tensorflow". */
export interface TensorFlowModelSettings extends TensorModelSettings {
  /** How the model is saved. */
  readonly format: "saved-model" | "graph-model" | "layers-model";
  /** In the bundle: "model/saved_model.pb" or "model/model.json"; variables and weights lie where it looks for them. */
  readonly file: string;
  /**
   * "tensorflow": native, with @tensorflow/tfjs-node; the only one that runs SavedModels. "wasm", "cpu": TensorFlow.js
   * without native code.
   */
  readonly backend: "tensorflow" | "wasm" | "cpu";
  /** Of a SavedModel's graph. Default: ["serve"]. */
  readonly tags?: readonly string[];
  /** Names of the inputs in the graph, in the order of `inputs`; a layers model takes them in that order. */
  readonly inputNodes?: readonly string[];
  /** Names of the outputs in the graph, in the order of `outputs`. */
  readonly outputNodes?: readonly string[];
  /** Of a layers model instead: places of `outputs` among all of its outputs. */
  readonly outputPlaces?: readonly number[];
}
