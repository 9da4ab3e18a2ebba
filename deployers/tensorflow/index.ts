// Deployer of a TensorFlow model: a SavedModel, a TensorFlow.js model on disk or in a script, functions around it.
import { join } from "node:path";
import { z } from "zod";
import {
  isExactVersion,
  manifest,
  type BundleReport,
  type DeployedApplication,
  type Deployer,
  type DeployOptions,
  type Manifest,
  type Windjammer,
} from "../../core/index.ts";
import { locationSchema, toPath } from "../location.ts";
import { sortedPackages } from "../packages.ts";
import { asJson, tensorModelParts } from "../tensor-model/bundle.ts";
import { tensorModelOptionsShape, type TensorModelOptions } from "../tensor-model/options.ts";
import type { TensorInput, TensorOutput } from "../tensor-model/values.ts";
import { liveModelSchema, type LiveTfjsModel } from "./live-model.ts";
import { locateModel } from "./model-location.ts";
import { bundleLiveModel, bundleModelJson, bundleSavedModel, type BundledModel } from "./model-files.ts";
import {
  chooseBackend,
  runtimePackages,
  runtimeScripts,
  type TensorFlowBackend,
} from "./runtime-packages.ts";

/** A TensorFlow model to deploy. */
export interface TensorFlowOptions extends TensorModelOptions {
  /**
   * The folder of a SavedModel, or the model.json of a TensorFlow.js layers or graph model with its weight shards: a
   * path, relative to the current folder, or a file URL. In a script also a live model, which is saved first.
   */
  readonly model: string | URL | LiveTfjsModel;
  /** Signature of a SavedModel. Default: "serving_default", or the only one. */
  readonly signature?: string | undefined;
  /** Tags of a SavedModel's graph. Default: those of the only one, or ["serve"]. */
  readonly tags?: readonly string[] | undefined;
  /** Outputs to serve, by name. Default: all. */
  readonly outputs?: readonly string[] | undefined;
  /**
   * What computes. SavedModels: "tensorflow". A model.json or live model: "tensorflow" where @tensorflow/tfjs-node is
   * installed in the current folder, else "wasm"; "cpu" is slow and knows more operations.
   */
  readonly backend?: TensorFlowBackend | undefined;
  /** Exact version of @tensorflow/tfjs-node or of the TensorFlow.js packages. Default: the installed one, else 4.22.0. */
  readonly runtimeVersion?: string | undefined;
}

/** Deploys a TensorFlow model; `deployTensorFlowModel` is its typed form. */
export const tensorflow: Deployer<TensorFlowOptions> = {
  name: "tensorflow",
  options: z.strictObject({
    model: z.union(
      [locationSchema, liveModelSchema],
      "expected the folder of a SavedModel, the path of a model.json, or a live model of TensorFlow.js",
    ),
    signature: z.string().min(1).optional(),
    tags: z.array(z.string().min(1)).min(1).optional(),
    outputs: z.array(z.string().min(1)).min(1).optional(),
    backend: z.enum(["tensorflow", "wasm", "cpu"], 'expected "tensorflow", "wasm" or "cpu"').optional(),
    runtimeVersion: z
      .string()
      .refine(isExactVersion, 'expected an exact version such as "4.22.0"')
      .optional(),
    ...tensorModelOptionsShape,
  }),
  bundle: bundleTensorFlow,
};

/** Folder of the model's own files in a bundle. */
const MODEL_FOLDER = "model";

async function bundleTensorFlow(
  options: TensorFlowOptions,
  folder: string,
  report: BundleReport,
): Promise<Manifest> {
  const model = await bundleModel(options, join(folder, MODEL_FOLDER), report);
  const { format } = model;
  const backend = await chooseBackend(format, options.backend);
  const parts = await tensorModelParts(options, model.tensors, { folder, report });
  const packages = await runtimePackages({ format, backend }, options.runtimeVersion);
  return manifest({
    ...parts,
    deployer: "tensorflow",
    loader: "tensorflow",
    packages: sortedPackages({ ...packages, ...parts.packages }),
    allowScripts: { ...runtimeScripts(backend), ...options.allowScripts },
    environment: { TF_CPP_MIN_LOG_LEVEL: "3", ...options.environment },
    model: {
      format,
      file: `${MODEL_FOLDER}/${model.file}`,
      backend,
      ...model.settings,
      ...asJson(parts.model),
    },
  });
}

async function bundleModel(
  options: TensorFlowOptions,
  to: string,
  report: BundleReport,
): Promise<BundledModel> {
  const { model } = options;
  if (typeof model !== "string" && !(model instanceof URL))
    return bundleLiveModel(model, { options, to, report });
  const found = await locateModel(toPath(model));
  return found.kind === "saved-model"
    ? bundleSavedModel(found.folder, { options, to, report })
    : bundleModelJson(found.path, { options, to, report });
}

/**
 * Deploys a TensorFlow model as an endpoint.
 *
 * @example
 * const digits = await deployTensorFlowModel<number[][][], { scores: number[] }>(wj, {
 *   name: "digits", version: "1", model: "./saved-model",
 * });
 * const { scores } = await digits.predict(image);
 *
 * @throws InvalidOptionsError, ModelFileNotFoundError, InvalidModelFileError (corrupt, or no TensorFlow model),
 * UnsupportedModelError (names the tensor), and what `Windjammer.deploy` throws
 */
export async function deployTensorFlowModel<Input = TensorInput, Output = TensorOutput>(
  wj: Pick<Windjammer, "deploy">,
  options: DeployOptions & TensorFlowOptions,
): Promise<DeployedApplication<Input, Output>> {
  return wj.deploy<TensorFlowOptions, Input, Output>(tensorflow, options);
}

export type { LiveTfjsModel } from "./live-model.ts";
export type { TensorFlowBackend } from "./runtime-packages.ts";
