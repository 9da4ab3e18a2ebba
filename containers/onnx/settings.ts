// What `manifest.model` holds for the ONNX loader.
import type { TensorModelSettings } from "../tensor-model/settings.ts";

/** `manifest.model` of a bundle with loader "onnx". */
export interface OnnxModelSettings extends TensorModelSettings {
  /** Name of the model file in the bundle: "model.onnx". External weight files lie where the model looks for them. */
  readonly file: string;
  /** Options of `InferenceSession.create`, over the loader's own (threads by the CPU limit, sequential execution). */
  readonly sessionOptions?: { readonly [option: string]: unknown };
}
