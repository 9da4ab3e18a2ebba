// Finds the axis along which rows of a model are stacked, or that there is none. The cases are a table in
// deployers/README.md; where the file leaves a doubt, rows run one by one, which is slower and never wrong.
import { InvalidOptionsError } from "../../core/index.ts";
import type { Dimension, ModelTensor } from "./tensors.ts";

/**
 * - "auto": read from the file.
 * - number: this axis of every tensor that has it.
 * - null: none; a query holds whole tensors, rows run one by one.
 * - object: axis by name of input or output; those it does not name have none.
 */
export type BatchAxis = "auto" | number | null | { readonly [tensor: string]: number | null };

/** How rows become calls; what the loader is told. */
export interface BatchPlan {
  readonly batching: "dynamic" | "one-by-one";
  /** Rows of one call where the model's batch axis is fixed to more than 1. */
  readonly fixedBatch?: number;
  readonly axes: ReadonlyMap<ModelTensor, number | null>;
  /** Why rows run one by one, where a user may want it otherwise. */
  readonly note?: string;
}

interface Tensors {
  readonly inputs: readonly ModelTensor[];
  readonly outputs: readonly ModelTensor[];
}

/** @throws InvalidOptionsError when `batchAxis` does not fit the model */
export function planBatches(tensors: Tensors, batchAxis: BatchAxis): BatchPlan {
  if (batchAxis === "auto") return detect(tensors);
  const all = [...tensors.inputs, ...tensors.outputs];
  if (batchAxis === null)
    return { batching: "one-by-one", axes: new Map(all.map((tensor) => [tensor, null])) };
  return given(all, batchAxis);
}

function detect(tensors: Tensors): BatchPlan {
  const all = [...tensors.inputs, ...tensors.outputs];
  const isScalarInput = (tensor: ModelTensor): boolean =>
    tensor.dimensions?.length === 0 && tensors.inputs.includes(tensor);
  for (const name of candidates(tensors.inputs)) {
    const axes = alongName(tensors, name);
    if (axes !== undefined) return { batching: "dynamic", axes };
  }
  const stacked = all.filter((tensor) => !isScalarInput(tensor));
  const onFirst = new Map(all.map((tensor) => [tensor, isScalarInput(tensor) ? null : 0]));
  if (stacked.every(hasFreeFirst) && !tensors.inputs.every(isScalarInput)) {
    return { batching: "dynamic", axes: onFirst };
  }
  if (stacked.every(({ dimensions }) => dimensions?.[0] === 1)) {
    return { batching: "one-by-one", axes: onFirst };
  }
  const isFixed = all.every(({ dimensions }) => dimensions?.every((size) => typeof size === "number"));
  return {
    batching: "one-by-one",
    axes: new Map(all.map((tensor) => [tensor, null])),
    ...(isFixed ? {} : { note: NO_COMMON_AXIS }),
  };
}

const NO_COMMON_AXIS =
  "the file does not say which axis is the batch in all inputs and outputs, so queries hold whole tensors and rows run one by one; where there is a batch axis, the option batchAxis names it";

/** Names that may be the batch's: first those that say so, on any axis, then those of a first axis. */
function candidates(inputs: readonly ModelTensor[]): Set<string> {
  const anywhere = inputs.flatMap(({ dimensions }) => dimensions ?? []).filter(isNamed);
  const first = inputs.map(({ dimensions }) => dimensions?.[0]).filter(isNamed);
  return new Set([
    ...anywhere.filter((name) => BATCH_NAME.test(name)),
    ...first.filter((name) => !OTHER_NAME.test(name)),
  ]);
}

/** Axes when `name` is the batch's dimension; undefined when it cannot be. */
function alongName({ inputs, outputs }: Tensors, name: string): Map<ModelTensor, number | null> | undefined {
  const axes = new Map<ModelTensor, number | null>();
  // Where the name stands on a later axis, a first axis without a name can be anything.
  const isFirst = inputs.every(({ dimensions }) => (dimensions?.indexOf(name) ?? -1) <= 0);
  for (const tensor of [...inputs, ...outputs]) {
    const dimensions = tensor.dimensions ?? [null];
    const axis = dimensions.indexOf(name);
    if (axis !== dimensions.lastIndexOf(name)) return undefined;
    // Exporters lose the name on some tensors, most often on outputs.
    if (axis >= 0) axes.set(tensor, axis);
    else if (isFirst && hasFreeFirst(tensor)) axes.set(tensor, 0);
    else if (inputs.includes(tensor)) axes.set(tensor, null);
    else return undefined;
  }
  return axes;
}

const BATCH_NAME = /batch/i;

/** On the first axis only: elsewhere N may count points, B blue. */
const BATCH_NAME_OF_FIRST = /batch|^(?:n|b|bs)$/i;

/** Names of axes whose size belongs to one row: stacking along them would mix rows up. */
const OTHER_NAME =
  /seq|token|time|frame|len|height|width|channel|depth|vocab|past|cache|word|char|step|^[thwcld]$/i;

/** Names that exporters number through (tf2onnx, Paddle, PyTorch's outputs, Keras): equal sizes have different ones. */
const NUMBERED_NAME =
  /^(?:unk_+\d+|None|\?|-1|(?:p2o\.)?DynamicDimension\.\d+|.*_dim_\d+|unknown(?:_?\d+)?)$/;

/** A free dimension whose name means something. */
function isNamed(dimension: Dimension | undefined): dimension is string {
  return typeof dimension === "string" && !NUMBERED_NAME.test(dimension);
}

/** Whether the first axis may be the batch's by its place alone. */
function hasFreeFirst({ dimensions }: ModelTensor): boolean {
  if (dimensions === undefined) return true;
  const [first] = dimensions;
  if (first === undefined || typeof first === "number") return false;
  return !isNamed(first) || (BATCH_NAME_OF_FIRST.test(first) && !dimensions.includes(first, 1));
}

function given(
  all: readonly ModelTensor[],
  batchAxis: number | { readonly [tensor: string]: number | null },
): BatchPlan {
  if (typeof batchAxis === "object") checkNames(Object.keys(batchAxis), all);
  const axes = new Map(all.map((tensor) => [tensor, axisOf(tensor, batchAxis)]));
  const sizes = new Map<string, number>();
  for (const [{ name, dimensions }, axis] of axes) {
    const size = axis === null ? undefined : dimensions?.[axis];
    if (typeof size === "number") sizes.set(name, size);
  }
  return { axes, ...fixedSize(sizes) };
}

function checkNames(names: readonly string[], all: readonly ModelTensor[]): void {
  const wrong = names.find((name) => all.every((tensor) => tensor.name !== name));
  if (wrong === undefined) return;
  throw invalid(
    `names "${wrong}", but the inputs and outputs are ${all.map(({ name }) => `"${name}"`).join(", ")}`,
  );
}

function axisOf(
  { name, dimensions }: ModelTensor,
  batchAxis: number | { readonly [tensor: string]: number | null },
): number | null {
  const axis = typeof batchAxis === "object" ? (batchAxis[name] ?? null) : batchAxis;
  const rank = dimensions?.length ?? Infinity;
  if (axis === null || axis < rank) return axis;
  // One number for all leaves tensors of lower rank alone, such as a scalar; an axis by name is meant.
  if (typeof batchAxis === "number") return null;
  throw invalid(`"${name}" has ${rank} dimensions, so it has no axis ${axis} (they count from 0)`);
}

/** What the fixed sizes on the batch axes allow: all 1, or all the same. Free axes go along with any. */
function fixedSize(sizes: ReadonlyMap<string, number>): Pick<BatchPlan, "batching" | "fixedBatch"> {
  const [size, ...others] = new Set(sizes.values());
  if (size === undefined) return { batching: "dynamic" };
  if (others.length > 0 || size < 1) {
    const list = [...sizes].map((entry) => `"${entry[0]}" ${entry[1]}`).join(", ");
    throw invalid(
      `the batch axis is fixed to different sizes: ${list}; name the axis of each tensor, as in { "${[...sizes.keys()][0]}": 0 }`,
    );
  }
  return size === 1 ? { batching: "one-by-one" } : { batching: "dynamic", fixedBatch: size };
}

function invalid(problem: string): InvalidOptionsError {
  return new InvalidOptionsError(`batchAxis: ${problem}`, { details: { option: "batchAxis" } });
}
