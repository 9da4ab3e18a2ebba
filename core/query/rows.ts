// A query's input, from a JSON value to the packed row that its contract asks for. outputs.ts goes the other way.
import type { JsonValue, Manifest, TensorSpec } from "../../containers/protocol.ts";
import { elementCount } from "../../containers/tensors.ts";
import { InvalidInputError } from "../errors.ts";
import { elementKind, type ElementKind, type Packer } from "./elements.ts";
import type { Row, RowTensor } from "./query.ts";
import { checkSchema } from "./schema-check.ts";

/**
 * Decodes one input against a bundle's input type and contract.
 *
 * - `integers`, `floats`, `doubles`: one flat array; `strings`: a string; `bytes`: strict base64; `json`: any value.
 * - `tensor`: a nested array of the contract's shape, or a flat one of as many elements (one free dimension follows
 *   from the count); several inputs, or one by choice, as an object by name.
 *
 * @param field how the input is called in errors: "input", "input_batch[3]"
 * @throws InvalidInputError naming the place, what was expected and what came
 */
export function decodeInput(manifest: Manifest, value: JsonValue, field: string): Row {
  const { inputs } = manifest.contract;
  if (manifest.schemas?.input !== undefined) checkSchema(manifest.schemas.input, value, field);
  const [only] = inputs;
  if (only === undefined || inputs.length > 1) return decodeNamed(inputs, value, field);
  const isNested = manifest.inputType === "tensor";
  if (isNested && only.contentType !== "json" && isObject(value) && Object.hasOwn(value, only.name)) {
    return decodeNamed(inputs, value, field);
  }
  const tensor = decodeTensor({ spec: only, value, field, isNested });
  return { tensors: [tensor], key: rowKey(only, tensor.shape) };
}

function decodeNamed(inputs: readonly TensorSpec[], value: JsonValue, field: string): Row {
  if (!isObject(value)) throw mismatch(field, `an object of the inputs ${listInputs(inputs)}`, value);
  const tensors = inputs.map((spec) => {
    if (!Object.hasOwn(value, spec.name)) {
      throw new InvalidInputError(
        `${field}: the input "${spec.name}" is missing; the model takes ${listInputs(inputs)}`,
        {
          details: { field: `${field}.${spec.name}`, expected: describeSpec(spec) },
        },
      );
    }
    const input = value[spec.name] as JsonValue;
    return decodeTensor({ spec, value: input, field: `${field}.${spec.name}`, isNested: true });
  });
  const keys = inputs.map((spec, index) => rowKey(spec, tensors[index]?.shape ?? []));
  return { tensors, key: keys.every((key) => key === "") ? "" : keys.join(";") };
}

/** Part of a row's key: its shape, where rows of this input may differ and then do not fit into one tensor. */
function rowKey(spec: TensorSpec, shape: readonly number[]): string {
  return spec.isRagged !== true && spec.shape.includes(-1) ? shape.join(",") : "";
}

/** One tensor to decode. `isNested`: arrays may be nested as the shape is. */
interface TensorInput {
  readonly spec: TensorSpec;
  readonly value: JsonValue;
  readonly field: string;
  readonly isNested: boolean;
}

function decodeTensor(input: TensorInput): RowTensor {
  const { spec, value, field } = input;
  const kind = elementKind(spec);
  if (spec.shape.length === 0) {
    const packer = kind.pack(1);
    if (!packer.set(0, value)) throw badElement(kind, value, field);
    if (kind.isDeep === true) checkFinite(value, field);
    return { shape: [], data: packer.finish() };
  }
  if (!Array.isArray(value)) throw mismatch(field, describeArray(spec, kind), value);
  const list: readonly JsonValue[] = value;
  const isNested = input.isNested && spec.shape.length > 1 && Array.isArray(list[0]);
  const shape = isNested ? nestedShape(list, input) : flatShape(list, input);
  const packer = kind.pack(elementCount(shape));
  new Filler(packer, kind, field).fill(list, isNested ? shape : [list.length]);
  return { shape, data: packer.finish() };
}

/** Shape of a flat array: the contract's, with its one free dimension taken from the length. */
function flatShape(list: readonly JsonValue[], { spec, field }: TensorInput): readonly number[] {
  const free = spec.shape.filter((size) => size === -1).length;
  const fixed = elementCount(spec.shape.filter((size) => size !== -1));
  if (free === 0 && list.length === fixed) return spec.shape;
  if (free === 1 && fixed > 0 && list.length % fixed === 0) {
    return spec.shape.map((size) => (size === -1 ? list.length / fixed : size));
  }
  const wanted =
    free === 0
      ? `${fixed} elements (${describeSpec(spec)})`
      : free === 1
        ? `a multiple of ${fixed} elements (${describeSpec(spec)})`
        : `arrays nested ${spec.shape.length} deep (${describeSpec(spec)}), since a flat one does not tell its shape`;
  throw mismatch(field, wanted, list);
}

/** Shape of a nested array, taken from its first elements; the filler holds all others to it. */
function nestedShape(list: readonly JsonValue[], { spec, field }: TensorInput): readonly number[] {
  const shape: number[] = [];
  let level: JsonValue = list;
  let place = field;
  for (const size of spec.shape) {
    if (!Array.isArray(level))
      throw mismatch(place, `an array of ${sizeText(size)} (${describeSpec(spec)})`, level);
    const length: number = level.length;
    if (size !== -1 && length !== size) {
      throw mismatch(place, `an array of ${sizeText(size)} (${describeSpec(spec)})`, level);
    }
    shape.push(length);
    level = (level as readonly JsonValue[])[0] ?? [];
    place += "[0]";
  }
  return shape;
}

/** Walks nested arrays of a known shape into a packer and knows where it stands. */
class Filler {
  readonly #packer: Packer;
  readonly #kind: ElementKind;
  readonly #field: string;
  readonly #place: number[] = [];
  #next = 0;

  constructor(packer: Packer, kind: ElementKind, field: string) {
    this.#packer = packer;
    this.#kind = kind;
    this.#field = field;
  }

  fill(list: readonly JsonValue[], shape: readonly number[], axis = 0): void {
    if (axis === shape.length - 1) {
      this.#fillElements(list);
      return;
    }
    const size = shape[axis + 1] as number;
    for (let index = 0; index < list.length; index += 1) {
      this.#place[axis] = index;
      this.#place.length = axis + 1;
      const inner = list[index] as JsonValue;
      if (!Array.isArray(inner) || inner.length !== size) {
        throw mismatch(this.#where(), `an array of ${sizeText(size)}, as the one before it`, inner);
      }
      this.fill(inner, shape, axis + 1);
    }
  }

  #fillElements(list: readonly JsonValue[]): void {
    const depth = this.#place.length;
    for (let index = 0; index < list.length; index += 1) {
      const value = list[index] as JsonValue;
      if (!this.#packer.set(this.#next, value)) {
        throw badElement(this.#kind, value, `${this.#where()}[${index}]`);
      }
      if (this.#kind.isDeep === true) checkFinite(value, `${this.#where()}[${index}]`);
      this.#next += 1;
    }
    this.#place.length = depth;
  }

  #where(): string {
    return this.#field + this.#place.map((index) => `[${index}]`).join("");
  }
}

/** JSON text has no infinity, but `1e999` parses to it, and would go on as null. */
function checkFinite(value: JsonValue, place: string): void {
  if (typeof value === "number") {
    if (!Number.isFinite(value)) throw mismatch(place, "a finite number", value);
  } else if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index += 1) {
      const inner = value[index] as JsonValue;
      if (typeof inner === "number" ? !Number.isFinite(inner) : typeof inner === "object") {
        checkFinite(inner, `${place}[${index}]`);
      }
    }
  } else if (isObject(value)) {
    for (const key of Object.keys(value)) checkFinite(value[key] as JsonValue, `${place}.${key}`);
  }
}

function badElement(kind: ElementKind, value: JsonValue, place: string): InvalidInputError {
  const isHuge = typeof value === "number" && !Number.isFinite(value);
  return mismatch(place, isHuge ? "a finite number" : kind.expected, value);
}

function mismatch(place: string, expected: string, value: unknown): InvalidInputError {
  const got = describeValue(value);
  // Keys of the caller's own objects are part of it.
  const field = place.length > MAX_PLACE ? `${place.slice(0, MAX_PLACE)}…` : place;
  return new InvalidInputError(`${field}: expected ${expected}, got ${got}`, {
    details: { field, expected, got },
  });
}

const MAX_SHOWN = 60;
const MAX_PLACE = 200;

/** A value as error messages show it: short, and arrays and objects by their size only. */
export function describeValue(value: unknown): string {
  if (Array.isArray(value)) return value.length === 0 ? "an empty array" : `an array of ${value.length}`;
  if (typeof value === "object" && value !== null) return "an object";
  if (typeof value === "number" && !Number.isFinite(value)) return "a number beyond the range of a double";
  // Printing its digits takes more than linear time.
  if (typeof value === "bigint" && BigInt.asIntN(128, value) !== value)
    return "an integer of more than 128 bits";
  const text = typeof value === "string" ? JSON.stringify(value.slice(0, MAX_SHOWN + 1)) : String(value);
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
}

function describeArray(spec: TensorSpec, kind: ElementKind): string {
  return `an array (${describeSpec(spec)}), each element ${kind.expected}`;
}

/** "FP32 [28,28]". */
function describeSpec(spec: TensorSpec): string {
  const content = spec.contentType === undefined ? "" : ` (${spec.contentType})`;
  return `${spec.datatype}${content} [${spec.shape.map((size) => (size === -1 ? "any" : size)).join(",")}]`;
}

function listInputs(inputs: readonly TensorSpec[]): string {
  return inputs.map((spec) => `"${spec.name}": ${describeSpec(spec)}`).join(", ");
}

function sizeText(size: number): string {
  return size === -1 ? "any length" : String(size);
}

function isObject(value: JsonValue): value is { readonly [key: string]: JsonValue } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
