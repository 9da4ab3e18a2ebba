// Deployer of an ONNX model: the file, its external weights, the contract read from it, functions around it.
import { fileURLToPath } from "node:url";
import { dirname } from "node:path";
import { z } from "zod";
import {
  InvalidOptionsError,
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
import { installedVersion, sortedPackages } from "../packages.ts";
import { asJson, RESERVED_FILES, tensorModelParts } from "../tensor-model/bundle.ts";
import { tensorModelOptionsShape, type TensorModelOptions } from "../tensor-model/options.ts";
import type { TensorInput, TensorOutput } from "../tensor-model/values.ts";
import { copyModel, MODEL_FILE, readModel } from "./model-source.ts";
import { sessionOptionsSchema, type OnnxSessionOptions } from "./session-options.ts";
import { modelTensors, withSizes } from "./tensors.ts";

/** An ONNX model to deploy. */
export interface OnnxOptions extends TensorModelOptions {
  /** The .onnx file: a path, relative to the current folder, or a file URL. Its external weight files come along. */
  readonly model: string | URL;
  readonly sessionOptions?: OnnxSessionOptions | undefined;
  /** Exact version of onnxruntime-node. Default: the one installed here, else 1.30.0. */
  readonly runtimeVersion?: string | undefined;
}

const RUNTIME = "onnxruntime-node";
const DEFAULT_RUNTIME_VERSION = "1.30.0";

/** Deploys an ONNX file; `deployOnnxModel` is its typed form. */
export const onnx: Deployer<OnnxOptions> = {
  name: "onnx",
  options: z.strictObject({
    model: locationSchema,
    sessionOptions: sessionOptionsSchema.optional(),
    runtimeVersion: z
      .string()
      .refine(isExactVersion, 'expected an exact version such as "1.30.0"')
      .optional(),
    ...tensorModelOptionsShape,
  }),
  bundle: bundleOnnx,
};

async function bundleOnnx(options: OnnxOptions, folder: string, report: BundleReport): Promise<Manifest> {
  const path = toPath(options.model);
  const model = await readModel(path);
  report(`read ${path}`, { producer: model.producer, opset: model.opset });
  const tensors = withSizes(modelTensors(model), options.sessionOptions?.freeDimensionOverrides ?? {});
  const parts = await tensorModelParts(options, tensors, { folder, report });
  const bytes = await copyModel(
    { path, externalFiles: model.externalFiles },
    { folder, reserved: RESERVED_FILES },
  );
  report(`copied the model${model.externalFiles.length === 0 ? "" : " and its weight files"}`, { bytes });
  const { sessionOptions } = options;
  return manifest({
    ...parts,
    deployer: "onnx",
    loader: "onnx",
    packages: sortedPackages({ ...parts.packages, [RUNTIME]: await runtimeVersion(options) }),
    allowScripts: { [RUNTIME]: false, ...options.allowScripts },
    environment: { ORT_DISABLE_TELEMETRY: "1", ...options.environment },
    model: {
      file: MODEL_FILE,
      ...parts.model,
      ...(sessionOptions === undefined ? {} : { sessionOptions: asJson(sessionOptions) }),
    },
  });
}

/** @throws InvalidOptionsError when two options say different things */
async function runtimeVersion(options: OnnxOptions): Promise<string> {
  const declared = options.packages?.[RUNTIME];
  if (declared !== undefined && options.runtimeVersion !== undefined && declared !== options.runtimeVersion) {
    throw new InvalidOptionsError(
      `runtimeVersion is ${options.runtimeVersion}, but packages has ${RUNTIME} ${declared}; leave one of them out`,
      { details: { option: "runtimeVersion" } },
    );
  }
  return (
    declared ??
    options.runtimeVersion ??
    (await installedVersion(RUNTIME, process.cwd())) ??
    (await installedVersion(RUNTIME, dirname(fileURLToPath(import.meta.url)))) ??
    DEFAULT_RUNTIME_VERSION
  );
}

/**
 * Deploys an ONNX model as an endpoint.
 *
 * @example
 * const digits = await deployOnnxModel<number[][], number[]>(wj, { name: "digits", version: "1", model: "digits.onnx" });
 * const scores = await digits.predict(image);
 *
 * @throws InvalidOptionsError, ModelFileNotFoundError, InvalidModelFileError (corrupt, or no ONNX model),
 * UnsupportedModelError (names the tensor), and what `Windjammer.deploy` throws
 */
export async function deployOnnxModel<Input = TensorInput, Output = TensorOutput>(
  wj: Pick<Windjammer, "deploy">,
  options: DeployOptions & OnnxOptions,
): Promise<DeployedApplication<Input, Output>> {
  return wj.deploy<OnnxOptions, Input, Output>(onnx, options);
}

export type { OnnxSessionOptions } from "./session-options.ts";
