// What a bundle of a model of tensors declares: the contract that callers see, and the settings that its loader reads.
import type { TensorModelSettings, TensorSettings } from "../../containers/tensor-model/settings.ts";
import {
  InvalidOptionsError,
  UnsupportedModelError,
  valueContract,
  type Contract,
  type InputType,
  type TensorSpec,
} from "../../core/index.ts";
import type { BatchPlan } from "./batch-axis.ts";
import type { Dimension, ModelTensor, ModelTensors } from "./tensors.ts";

/** One tensor as the loader feeds or fetches it. */
interface PlannedTensor extends TensorSettings {
  /** The file does not tell the shape; `shape` is [-1]. */
  readonly hasUnknownShape?: true;
}

/** The part of `manifest.model` that the model file and the batch plan decide. */
export interface TensorPlan extends Omit<TensorModelSettings, "processing"> {
  readonly inputs: readonly PlannedTensor[];
  readonly outputs: readonly PlannedTensor[];
}

export function planTensors(tensors: ModelTensors, plan: BatchPlan): TensorPlan {
  const settings = (tensor: ModelTensor): PlannedTensor => {
    const batchAxis = plan.axes.get(tensor) ?? null;
    const { name, datatype, dimensions } = tensor;
    if (dimensions === undefined) return { name, datatype, shape: [-1], batchAxis, hasUnknownShape: true };
    return { name, datatype, shape: rowShape(dimensions, batchAxis), batchAxis };
  };
  return {
    inputs: tensors.inputs.map(settings),
    outputs: tensors.outputs.map(settings),
    batching: plan.batching,
    ...(plan.fixedBatch === undefined ? {} : { fixedBatch: plan.fixedBatch }),
  };
}

function rowShape(dimensions: readonly Dimension[], batchAxis: number | null): number[] {
  return dimensions
    .filter((_, axis) => axis !== batchAxis)
    .map((size) => (typeof size === "number" ? size : -1));
}

/** How queries and answers look. */
export interface ValueForm {
  readonly inputType: InputType;
  /** Queries hold values, which a preprocess function turns into tensors. */
  readonly hasPreprocess: boolean;
  /** Answers are JSON values, made by processing functions. */
  readonly hasProcessing: boolean;
  readonly strings: ModelTensors["strings"];
}

/** @throws UnsupportedModelError when the model's input cannot be written as `inputType` */
export function modelContract(plan: TensorPlan, form: ValueForm): Pick<Contract, "inputs" | "outputs"> {
  const values = valueContract(form.inputType === "tensor" ? "json" : form.inputType);
  if (!form.hasPreprocess) checkInputType(plan.inputs, form);
  const isText = form.strings === "text";
  const given = form.inputType === "bytes" ? "bytes" : form.inputType === "strings" ? "str" : undefined;
  return {
    inputs: form.hasPreprocess
      ? values.inputs
      : plan.inputs.map((tensor) => spec(tensor, given ?? (isText ? "str" : undefined))),
    outputs: form.hasProcessing
      ? values.outputs
      : plan.outputs.map((tensor) => spec(tensor, isText ? "str" : undefined)),
  };
}

function spec(
  { name, datatype, shape, hasUnknownShape }: PlannedTensor,
  contentType: "str" | "bytes" | undefined,
): TensorSpec {
  return {
    name,
    datatype,
    shape,
    ...(datatype === "BYTES" && contentType !== undefined ? { contentType } : {}),
    ...(hasUnknownShape === true ? { hasUnknownShape } : {}),
  };
}

/** Without a preprocess function, Clipper's types are another way to write the only input: flat, or one string. */
function checkInputType(
  inputs: readonly TensorSettings[],
  { inputType, strings }: Pick<ValueForm, "inputType" | "strings">,
): void {
  if (inputType === "tensor") return;
  if (inputType === "json" || (inputType === "bytes" && strings === "text")) {
    throw new InvalidOptionsError(
      `inputType "${inputType}" needs a preprocess function, which turns the value into the model's tensors; ` +
        `name its module in the option processing, or leave inputType out`,
      { details: { option: "inputType" } },
    );
  }
  const isString = inputType === "strings" || inputType === "bytes";
  const isFitting = isString ? isOneString : isOneVector;
  if (inputs[0] !== undefined && inputs.length === 1 && isFitting(inputs[0])) return;
  const list = inputs.map(({ name, datatype, shape }) => `"${name}" ${datatype} [${shape.join(",")}]`);
  throw new UnsupportedModelError(
    `inputType "${inputType}" fits a model with one ${isString ? "string" : "vector"} a row, and this one takes ${list.join(", ")}; ` +
      `leave inputType out (queries then hold the tensors), or write a preprocess function`,
    { details: { option: "inputType" } },
  );
}

function isOneString({ datatype, shape }: TensorSettings): boolean {
  return datatype === "BYTES" && shape.length === 0;
}

/** A flat list tells the shape where one dimension at most is free. */
function isOneVector({ datatype, shape }: TensorSettings): boolean {
  const isNumeric = datatype !== "BYTES" && datatype !== "BOOL";
  return isNumeric && shape.length > 0 && shape.filter((size) => size < 0).length <= 1;
}
