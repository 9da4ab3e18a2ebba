// A live TensorFlow.js model of a script: has it save itself, without importing any of its packages.
import { z } from "zod";
import { InvalidModelFileError } from "../../core/index.ts";
import type { Dimension } from "../tensor-model/tensors.ts";

/** A layers or graph model of TensorFlow.js, as `tf.sequential()`, `tf.model()` or a load function gives it. */
export interface LiveTfjsModel {
  save(handler: never): Promise<unknown>;
  predict(...inputs: never): unknown;
  /** Of a layers model: what tells the shapes of its outputs. */
  readonly outputs?: readonly { readonly shape?: unknown }[];
}

export const liveModelSchema: z.ZodType<LiveTfjsModel> = z.custom<LiveTfjsModel>(
  (value) =>
    typeof value === "object" &&
    value !== null &&
    "save" in value &&
    typeof value.save === "function" &&
    "predict" in value &&
    typeof value.predict === "function",
  "expected a model of TensorFlow.js that can save itself",
);

export interface SavedLiveModel {
  /** All of model.json but the weights. */
  readonly model: object;
  readonly specs: readonly unknown[];
  readonly data: Uint8Array;
  /** Of each output in turn; empty where the model does not tell. */
  readonly outputShapes: readonly (readonly Dimension[] | undefined)[];
}

interface Artifacts {
  readonly modelTopology?: unknown;
  readonly weightSpecs?: readonly unknown[];
  readonly weightData?: ArrayBuffer | readonly ArrayBuffer[];
  readonly [more: string]: unknown;
}

/** Of what a model saves, these do not belong into its model.json: training, and streams. */
const LEFT_OUT: ReadonlySet<string> = new Set([
  "weightSpecs",
  "weightData",
  "getWeightStream",
  "trainingConfig",
]);

/** @throws InvalidModelFileError when the model cannot be saved */
export async function saveLiveModel(live: LiveTfjsModel): Promise<SavedLiveModel> {
  let saved: Artifacts | undefined;
  const handler = {
    save: (artifacts: Artifacts) => {
      saved = artifacts;
      return Promise.resolve({ modelArtifactsInfo: { dateSaved: new Date(), modelTopologyType: "JSON" } });
    },
  };
  try {
    await (live as unknown as { save(handler: object): Promise<unknown> }).save(handler);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new InvalidModelFileError(`model: the live model cannot be saved: ${reason}`, { cause: error });
  }
  if (typeof saved?.modelTopology !== "object" || saved.weightData === undefined)
    throw new InvalidModelFileError("model: the live model saved no topology in JSON, or no weights");
  const parts = Array.isArray(saved.weightData) ? saved.weightData : [saved.weightData];
  const data = Buffer.concat(parts.map((part: ArrayBuffer) => new Uint8Array(part)));
  const model = Object.fromEntries(Object.entries(saved).filter(([key]) => !LEFT_OUT.has(key)));
  return { model, specs: saved.weightSpecs ?? [], data, outputShapes: (live.outputs ?? []).map(shapeOf) };
}

function shapeOf({ shape }: { readonly shape?: unknown }): readonly Dimension[] | undefined {
  return z.array(z.int().min(0).nullable()).safeParse(shape).data;
}
