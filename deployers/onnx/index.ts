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
  type InputType,
  type JsonObject,
  type Manifest,
  type Windjammer,
} from "../../core/index.ts";
import { INPUT_TYPE_NAMES, longInputType, SHOWN_INPUT_TYPES, type InputTypeName } from "../input-types.ts";
import { locationSchema, toPath } from "../location.ts";
import { checkExact, installedVersion, packageOptionsShape, type PackageOptions } from "../packages.ts";
import { planBatches, type BatchAxis } from "./batch-axis.ts";
import { modelContract, planTensors, type ValueForm } from "./contract.ts";
import { copyModel, MODEL_FILE, readModel } from "./model-source.ts";
import {
  bundleProcessing,
  PROCESSING_FILES,
  processingSchema,
  type BundledProcessing,
  type Processing,
} from "./processing.ts";
import { sessionOptionsSchema, type OnnxSessionOptions } from "./session-options.ts";
import { modelTensors, withSizes } from "./tensors.ts";
import type { TensorInput, TensorOutput } from "./values.ts";

/** An ONNX model to deploy. */
export interface OnnxOptions extends PackageOptions {
  /** The .onnx file: a path, relative to the current folder, or a file URL. Its external weight files come along. */
  readonly model: string | URL;
  /**
   * What one query holds. Default "tensor": the model's inputs, nested or flat; with a preprocess function "json". A
   * model with one vector a row also takes "floats", "doubles" or "integers" (a flat list), one with a string "strings".
   */
  readonly inputType?: InputTypeName | "tensor" | undefined;
  /**
   * Functions around the model: a module with exports `preprocess` (queries to tensors) and `postprocess` (tensors to
   * answers), or one of them. Default: none; answers hold the model's outputs.
   */
  readonly processing?: Processing | undefined;
  /**
   * Axis along which rows are stacked. Default "auto": read from the file (table in deployers/README.md). A number: this
   * axis of every tensor that has it. null: none. An object: axis by tensor name; tensors it leaves out have none.
   */
  readonly batchAxis?: BatchAxis | undefined;
  readonly sessionOptions?: OnnxSessionOptions | undefined;
  /** Exact version of onnxruntime-node. Default: the one installed here, else 1.30.0. */
  readonly runtimeVersion?: string | undefined;
  /** Most rows in one call. Default: as the batching policy decides. */
  readonly maxBatchSize?: number | undefined;
}

const RUNTIME = "onnxruntime-node";
const DEFAULT_RUNTIME_VERSION = "1.30.0";

/** Deploys an ONNX file; `deployOnnxModel` is its typed form. */
export const onnx: Deployer<OnnxOptions> = {
  name: "onnx",
  options: z.strictObject({
    model: locationSchema,
    inputType: z.enum([...INPUT_TYPE_NAMES, "tensor"], `expected "tensor", ${SHOWN_INPUT_TYPES}`).optional(),
    processing: processingSchema.optional(),
    batchAxis: z
      .union(
        [
          z.literal("auto"),
          z.int().min(0).max(31),
          z.null(),
          z.record(z.string(), z.int().min(0).max(31).nullable()),
        ],
        'expected "auto", an axis from 0, null, or an object of axes by tensor name',
      )
      .optional(),
    sessionOptions: sessionOptionsSchema.optional(),
    runtimeVersion: z
      .string()
      .refine(isExactVersion, 'expected an exact version such as "1.30.0"')
      .optional(),
    maxBatchSize: z.int().min(1).max(100_000).optional(),
    ...packageOptionsShape,
  }),
  bundle: bundleOnnx,
};

async function bundleOnnx(options: OnnxOptions, folder: string, report: BundleReport): Promise<Manifest> {
  const path = toPath(options.model);
  const model = await readModel(path);
  report(`read ${path}`, { producer: model.producer, opset: model.opset });
  const tensors = withSizes(modelTensors(model), options.sessionOptions?.freeDimensionOverrides ?? {});
  const batches = planBatches(tensors, options.batchAxis ?? "auto");
  const plan = planTensors(tensors, batches);
  const processing = await processingOf(options, folder, report);
  const form = valueForm(options.inputType, processing);
  const contract = modelContract(plan, form);
  const bytes = await copyModel(
    { path, externalFiles: model.externalFiles },
    { folder, reserved: ["manifest.json", ...PROCESSING_FILES] },
  );
  report(`copied the model${model.externalFiles.length === 0 ? "" : " and its weight files"}`, { bytes });
  const settings: JsonObject = {
    file: MODEL_FILE,
    ...json(plan),
    ...(options.sessionOptions === undefined ? {} : { sessionOptions: json(options.sessionOptions) }),
    ...(processing === undefined ? {} : { processing: json(processing.settings) }),
  };
  return manifest({
    deployer: "onnx",
    loader: "onnx",
    inputType: form.inputType,
    contract: {
      ...contract,
      isBatched: true,
      ...(options.maxBatchSize === undefined ? {} : { maxBatchSize: options.maxBatchSize }),
    },
    packages: await packagesOf(options, processing),
    allowScripts: { [RUNTIME]: false, ...options.allowScripts },
    environment: { ORT_DISABLE_TELEMETRY: "1", ...options.environment },
    model: settings,
    notes: [
      ...tensors.notes,
      ...(batches.note === undefined ? [] : [batches.note]),
      ...(processing?.notes ?? []),
    ],
  });
}

async function processingOf(
  options: OnnxOptions,
  folder: string,
  report: BundleReport,
): Promise<BundledProcessing | undefined> {
  const { processing, packages } = options;
  return processing === undefined ? undefined : bundleProcessing({ processing, packages }, folder, report);
}

function valueForm(name: OnnxOptions["inputType"], processing: BundledProcessing | undefined): ValueForm {
  const hasPreprocess = processing?.settings.preprocess !== undefined;
  const inputType: InputType =
    name === undefined ? (hasPreprocess ? "json" : "tensor") : name === "tensor" ? name : longInputType(name);
  if (hasPreprocess && inputType === "tensor") {
    throw new InvalidOptionsError(
      'inputType "tensor" leaves nothing for the preprocess function; use "json", which takes nested arrays too',
      { details: { option: "inputType" } },
    );
  }
  return { inputType, hasPreprocess, hasProcessing: processing !== undefined };
}

/** The runtime in one exact version, the packages of the processing module, and the declared ones over both. */
async function packagesOf(
  options: OnnxOptions,
  processing: BundledProcessing | undefined,
): Promise<Record<string, string>> {
  await checkExact(options.packages ?? {}, process.cwd());
  const declared = options.packages?.[RUNTIME];
  if (declared !== undefined && options.runtimeVersion !== undefined && declared !== options.runtimeVersion) {
    throw new InvalidOptionsError(
      `runtimeVersion is ${options.runtimeVersion}, but packages has ${RUNTIME} ${declared}; leave one of them out`,
      { details: { option: "runtimeVersion" } },
    );
  }
  const version = declared ?? options.runtimeVersion ?? (await installedRuntime()) ?? DEFAULT_RUNTIME_VERSION;
  const packages = { ...processing?.packages, ...options.packages, [RUNTIME]: version };
  return Object.fromEntries(Object.entries(packages).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

async function installedRuntime(): Promise<string | undefined> {
  return (
    (await installedVersion(RUNTIME, process.cwd())) ??
    installedVersion(RUNTIME, dirname(fileURLToPath(import.meta.url)))
  );
}

/** Options without their undefined entries, as they will stand in the manifest. */
function json(value: object): JsonObject {
  return JSON.parse(JSON.stringify(value)) as JsonObject;
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

export type { BatchAxis } from "./batch-axis.ts";
export type { Processing } from "./processing.ts";
export type { OnnxSessionOptions } from "./session-options.ts";
export type {
  Feed,
  FeedValue,
  NestedValues,
  Postprocess,
  Preprocess,
  ProcessingContext,
  RowTensor,
  TensorData,
  TensorInput,
  TensorOutput,
  TensorValue,
} from "./values.ts";
