// Loader of TensorFlow models: SavedModels through tfjs-node, model.json through it or TensorFlow.js alone.
import type { LoadContext, LoadedModel, Loader } from "../loader.ts";
import { checkSettings, tensorModel } from "../tensor-model/model.ts";
import type { TensorSession } from "../tensor-model/session.ts";
import { whyItCannotServe } from "./failures.ts";
import { SavedModelSession } from "./saved-model.ts";
import type { TensorFlowModelSettings } from "./settings.ts";
import { TfjsSession } from "./tfjs-session.ts";

export const loader: Loader = {
  async load(context: LoadContext): Promise<LoadedModel> {
    const settings = context.manifest.model as unknown as TensorFlowModelSettings;
    if (typeof settings.file !== "string" || typeof settings.backend !== "string")
      throw new Error("the manifest of a TensorFlow model needs model.file, model.format and model.backend");
    checkSettings(settings, context.manifest.contract);
    const model = await tensorModel(await openSession(settings, context), settings, context);
    const failure = await firstRun(model);
    const reason = failure === undefined ? undefined : whyItCannotServe(failure, settings);
    if (reason !== undefined) {
      await model.close?.();
      throw new Error(reason, { cause: failure });
    }
    // It is warm; what it may have refused is for the log.
    return { ...model, warmUp: () => (failure === undefined ? Promise.resolve() : Promise.reject(failure)) };
  },
};

async function openSession(settings: TensorFlowModelSettings, context: LoadContext): Promise<TensorSession> {
  try {
    return settings.format === "saved-model"
      ? SavedModelSession.open(settings, context)
      : await TfjsSession.open(settings, context);
  } catch (error) {
    const reason = error instanceof Error ? whyItCannotServe(error, settings) : undefined;
    throw reason === undefined ? error : new Error(reason, { cause: error });
  }
}

/** Models that load and yet cannot run show it on any input: the first run comes before the replica is ready. */
async function firstRun(model: LoadedModel): Promise<Error | undefined> {
  try {
    await model.warmUp?.();
    return undefined;
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}
