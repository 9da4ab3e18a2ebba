// The parts of a manifest that every model of tensors has: contract, settings of the loader, functions around it.
import {
  InvalidOptionsError,
  type BundleReport,
  type InputType,
  type JsonObject,
  type ManifestFields,
} from "../../core/index.ts";
import { longInputType } from "../input-types.ts";
import { checkExact } from "../packages.ts";
import { planBatches } from "./batch-axis.ts";
import { modelContract, planTensors, type ValueForm } from "./contract.ts";
import type { TensorModelOptions } from "./options.ts";
import { bundleProcessing, PROCESSING_FILES, type BundledProcessing } from "./processing.ts";
import type { ModelTensors } from "./tensors.ts";

/** Names in a bundle that a model's own files must not have. */
export const RESERVED_FILES: readonly string[] = ["manifest.json", ...PROCESSING_FILES];

/** Fields of the manifest; `model` still lacks what the format of the file needs. */
export type TensorModelParts = Required<
  Pick<ManifestFields, "inputType" | "contract" | "packages" | "model" | "notes">
>;

/**
 * Decides how rows become calls, and bundles the functions around the model.
 * @throws InvalidOptionsError, UnsupportedModelError, and as `bundleModule`
 */
export async function tensorModelParts(
  options: TensorModelOptions,
  tensors: ModelTensors,
  { folder, report }: { readonly folder: string; readonly report: BundleReport },
): Promise<TensorModelParts> {
  const batches = planBatches(tensors, options.batchAxis ?? "auto");
  const plan = planTensors(tensors, batches);
  await checkExact(options.packages ?? {}, process.cwd());
  const processing =
    options.processing === undefined
      ? undefined
      : await bundleProcessing(
          { processing: options.processing, packages: options.packages },
          folder,
          report,
        );
  const form = { ...valueForm(options.inputType, processing), strings: tensors.strings };
  return {
    inputType: form.inputType,
    contract: {
      ...modelContract(plan, form),
      isBatched: true,
      ...(options.maxBatchSize === undefined ? {} : { maxBatchSize: options.maxBatchSize }),
    },
    packages: { ...processing?.packages, ...options.packages },
    model: {
      ...asJson(plan),
      ...(processing === undefined ? {} : { processing: asJson(processing.settings) }),
    },
    notes: [
      ...tensors.notes,
      ...(batches.note === undefined ? [] : [batches.note]),
      ...(processing?.notes ?? []),
    ],
  };
}

function valueForm(
  name: TensorModelOptions["inputType"],
  processing: BundledProcessing | undefined,
): Omit<ValueForm, "strings"> {
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

/** Options without their undefined entries, as they will stand in the manifest. */
export function asJson(value: object): JsonObject {
  return JSON.parse(JSON.stringify(value)) as JsonObject;
}
