// Loader of ONNX files: runs batches through onnxruntime-node.
import type { LoadContext, LoadedModel, Loader } from "../loader.ts";
import { checkSettings, tensorModel } from "../tensor-model/model.ts";
import { Session } from "./session.ts";
import type { OnnxModelSettings } from "./settings.ts";

export const loader: Loader = {
  async load(context: LoadContext): Promise<LoadedModel> {
    const settings = context.manifest.model as unknown as OnnxModelSettings;
    if (typeof settings.file !== "string")
      throw new Error("the manifest of an ONNX model needs model.file, the name of the model file");
    checkSettings(settings, context.manifest.contract);
    return tensorModel(await Session.open(settings, context), settings, context);
  },
};
