// Checks what a preprocess function returned against the model's inputs and turns it into tensors.
import type { Datatype } from "../protocol.ts";
import { elementCount } from "../tensors.ts";
import { INTEGER_BOUNDS, isWithinBounds, type NumericDatatype, TYPED_ARRAYS } from "../typed-arrays.ts";
import type { RowTensor, StringElement, TensorData, TensorSettings } from "./settings.ts";

/** Deeper than any tensor; also ends the walk of a list that holds itself. */
const MAX_RANK = 32;

/**
 * One row's tensors, in the order of `inputs`.
 * @throws Error that says which input does not fit, for the model's author
 */
export function readFeed(feed: unknown, inputs: readonly TensorSettings[]): RowTensor[] {
  const byName = isPlainObject(feed) && !isTensor(feed) ? feed : undefined;
  const [only] = inputs;
  if (byName === undefined) {
    if (inputs.length === 1 && only !== undefined) return [readTensor(feed, only)];
    throw new Error(`preprocess must return an object with ${namesOf(inputs)}, got ${kindOf(feed)}`);
  }
  return inputs.map((input) => {
    if (byName[input.name] === undefined)
      throw new Error(
        `preprocess returned no input "${input.name}"; it takes ${namesOf(inputs)}, got ${Object.keys(byName).join(", ") || "none"}`,
      );
    return readTensor(byName[input.name], input);
  });
}

function readTensor(value: unknown, input: TensorSettings): RowTensor {
  if (isPlainObject(value)) {
    if (!isTensor(value)) throw new Error(`preprocess returned ${kindOf(value)} for input "${input.name}"`);
    const { data, dims } = value;
    checkShape(dims, input);
    return typed(data, { input, dims });
  }
  if (isTypedArray(value) && !isElement(value, input))
    return typed(value, { input, dims: flatShape(value.length, input) });
  const dims = nestedShape(value, input);
  const flat = Array.isArray(value) ? value.flat(MAX_RANK) : [value];
  if (flat.length !== elementCount(dims))
    throw new Error(`preprocess returned lists of different lengths for input "${input.name}"`);
  if (dims.length === 1 && input.shape.length !== 1)
    return typed(flat, { input, dims: flatShape(flat.length, input) });
  checkShape(dims, input);
  return typed(flat, { input, dims });
}

function nestedShape(value: unknown, input: TensorSettings): number[] {
  const dims: number[] = [];
  for (let inner = value; Array.isArray(inner); inner = inner[0]) {
    if (dims.length === MAX_RANK) throw new Error(`preprocess nested input "${input.name}" too deeply`);
    dims.push(inner.length);
  }
  return dims;
}

/** Shape of flat data: the input's own, with at most one free dimension found by division. */
function flatShape(length: number, input: TensorSettings): number[] {
  const { shape } = input;
  const known = elementCount(shape.filter((size) => size !== -1));
  const free = shape.filter((size) => size === -1).length;
  const rest = free === 0 ? 1 : length / known;
  if (free > 1)
    throw new Error(
      `input "${input.name}" has shape [${shape.join(",")}]: preprocess must return nested lists, or { data, dims }`,
    );
  if (!Number.isInteger(rest) || known * rest !== length)
    throw new Error(
      `input "${input.name}" takes shape [${shape.join(",")}], preprocess returned ${length} elements`,
    );
  return shape.map((size) => (size === -1 ? rest : size));
}

function checkShape(dims: readonly number[], { name, shape }: TensorSettings): void {
  const fits =
    dims.length === shape.length && shape.every((size, axis) => size === -1 || size === dims[axis]);
  if (!fits)
    throw new Error(
      `input "${name}" takes shape [${shape.join(",")}] for one row, preprocess returned [${dims.join(",")}]`,
    );
}

function typed(
  data: ArrayLike<unknown>,
  { input, dims }: { readonly input: TensorSettings; readonly dims: readonly number[] },
): RowTensor {
  if (data.length !== elementCount(dims))
    throw new Error(
      `input "${input.name}" has shape [${dims.join(",")}], preprocess returned ${data.length} elements`,
    );
  return { data: convert(data, input), dims };
}

function convert(data: ArrayLike<unknown>, { name, datatype }: TensorSettings): TensorData {
  if (datatype === "BYTES") {
    const elements = Array.from(data);
    const odd = elements.find((element) => !isStringElement(element));
    if (odd !== undefined)
      throw new Error(
        `input "${name}" takes strings, or bytes as a Uint8Array; preprocess returned ${kindOf(odd)}`,
      );
    return elements as StringElement[];
  }
  const TypedArray = TYPED_ARRAYS[datatype] as unknown as TypedArrayFactory;
  if (data instanceof TypedArray) return data as TensorData;
  return TypedArray.from(data, elementReader(name, datatype)) as TensorData;
}

interface TypedArrayFactory {
  new (length: number): object;
  from(values: ArrayLike<unknown>, convert: (value: unknown, index: number) => number | bigint): object;
}

function elementReader(
  name: string,
  datatype: NumericDatatype,
): (value: unknown, index: number) => number | bigint {
  const isWide = datatype === "INT64" || datatype === "UINT64";
  const isFloat = datatype === "FP16" || datatype === "FP32" || datatype === "FP64";
  return (value, index) => {
    const element = typeof value === "boolean" ? Number(value) : value;
    const isNumber = typeof element === "number" && (isFloat || Number.isInteger(element));
    if ((isNumber || typeof element === "bigint") && isWithinBounds(element, datatype))
      return isWide ? BigInt(element) : Number(element);
    const bounds = INTEGER_BOUNDS[datatype]?.join(" to ");
    const takes = bounds === undefined ? datatype : `${datatype} (${bounds})`;
    throw new Error(`input "${name}" takes ${takes}, preprocess returned ${shown(value)} at ${index}`);
  };
}

/** Bytes are one element of a string tensor. */
function isElement(value: unknown, { datatype }: TensorSettings): boolean {
  return datatype === "BYTES" && isStringElement(value);
}

function isStringElement(value: unknown): value is StringElement {
  return typeof value === "string" || value instanceof Uint8Array;
}

function isTypedArray(value: unknown): value is ArrayLike<unknown> & ArrayBufferView {
  return ArrayBuffer.isView(value) && !(value instanceof DataView);
}

function isPlainObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value);
}

function isTensor(
  value: Readonly<Record<string, unknown>>,
): value is { readonly data: ArrayLike<unknown>; readonly dims: readonly number[] } {
  const { data, dims } = value as { data?: unknown; dims?: unknown };
  return (Array.isArray(data) || isTypedArray(data)) && Array.isArray(dims);
}

function namesOf(inputs: readonly { readonly name: string; readonly datatype: Datatype }[]): string {
  return inputs.map(({ name, datatype }) => `"${name}" (${datatype})`).join(", ");
}

function kindOf(value: unknown): string {
  if (value === null || value === undefined) return `${value}`;
  if (Array.isArray(value)) return "a list";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}

function shown(value: unknown): string {
  if (typeof value === "bigint" || typeof value === "number") return `${value}`;
  return typeof value === "string" ? JSON.stringify(value) : kindOf(value);
}
