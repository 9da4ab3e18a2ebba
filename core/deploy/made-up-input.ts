// An input made from a contract, for a version that was deployed without examples.
import type { Datatype, JsonValue, Manifest, TensorSpec } from "../../containers/protocol.ts";
import { taskInput } from "./task-input.ts";

export interface MadeUpInput {
  /** As a caller would send it. */
  readonly value: JsonValue;
  /** For messages: "a made-up input (zeros of shape [784])". */
  readonly text: string;
}

/** One for each task of a Python model that has tasks, else one. */
export function madeUpInputs(manifest: Manifest): readonly MadeUpInput[] {
  const tasks = tasksOf(manifest);
  if (tasks.length === 0) return [madeUpInput(manifest)];
  return tasks.map((task) => ({
    // Where there is one task alone, "task" would be a parameter of the model's own.
    value: { ...taskInput(task), ...(tasks.length > 1 ? { task } : {}) },
    text: `a made-up input of the task ${JSON.stringify(task)}`,
  }));
}

function tasksOf({ container, inputType, model }: Manifest): readonly string[] {
  const { tasks } = model;
  if (container?.kind !== "python" || inputType !== "json" || !Array.isArray(tasks)) return [];
  return tasks.filter((task) => typeof task === "string");
}

/** Zeros of the contract's shape, free dimensions 1; for values an empty object or text. */
export function madeUpInput(manifest: Manifest): MadeUpInput {
  const { inputType, contract } = manifest;
  if (inputType === "json") return { value: {}, text: "a made-up input ({})" };
  if (inputType === "strings" || inputType === "bytes")
    return { value: "", text: "a made-up input (an empty one)" };
  const [first] = contract.inputs;
  if (inputType === "tensor" && contract.inputs.length !== 1) {
    const value = Object.fromEntries(contract.inputs.map((spec) => [spec.name, zeros(spec)]));
    const shapes = contract.inputs.map((spec) => `${spec.name} [${shapeOf(spec).join(",")}]`);
    return { value, text: `a made-up input (zeros of ${shapes.join(", ")})` };
  }
  if (first === undefined) return { value: [], text: "a made-up input ([])" };
  return { value: zeros(first), text: `a made-up input (zeros of shape [${shapeOf(first).join(",")}])` };
}

/** One of many inputs that the contract takes, each number another one; for load. */
export function variedInput(manifest: Manifest, number: number): JsonValue {
  const inputs = madeUpInputs(manifest);
  return varied(inputs[number % inputs.length]?.value ?? null, { number, isWhole: wholeNumbers(manifest) });
}

function wholeNumbers({ inputType, contract }: Manifest): boolean {
  return inputType === "integers" || contract.inputs.some(({ datatype }) => /INT/.test(datatype));
}

interface Variation {
  readonly number: number;
  readonly isWhole: boolean;
}

/** Zeros become small numbers, the rest stays: texts and flags may mean something. */
function varied(value: JsonValue, { number, isWhole }: Variation): JsonValue {
  if (typeof value === "number") return isWhole ? number % 2 : (number % 8) / 8;
  if (Array.isArray(value)) return value.map((each, at) => varied(each, { number: number + at, isWhole }));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, each]) => [key, varied(each, { number, isWhole })]),
  );
}

function shapeOf(spec: TensorSpec): readonly number[] {
  return spec.shape.map((size) => (size < 0 ? 1 : size));
}

function zeros(spec: TensorSpec): JsonValue {
  return shapeOf(spec).reduceRight<JsonValue>(
    (inner, size) => Array.from({ length: size }, () => inner),
    zero(spec.datatype),
  );
}

function zero(datatype: Datatype): JsonValue {
  if (datatype === "BOOL") return false;
  return datatype === "BYTES" ? "" : 0;
}
