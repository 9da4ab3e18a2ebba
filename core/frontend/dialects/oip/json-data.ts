// The `data` of a tensor in JSON, to packed bytes and back.
import type { Datatype } from "../../../../containers/protocol.ts";
import { encodeBytes } from "../../../../containers/tensors.ts";
import { InvalidInputError } from "../../../errors.ts";
import { fromBase64, FP32_OVERFLOW } from "../../../query/elements.ts";
import { describeValue } from "../../../query/rows.ts";

type Packed = Exclude<Datatype, "BYTES" | "FP16" | "BF16">;

/** One tensor whose data is JSON. */
export interface JsonTensor {
  readonly name: string;
  readonly datatype: Datatype;
  /** Elements that its shape takes. */
  readonly count: number;
  readonly contentType: string | undefined;
}

/** Vectors as BYTES, by content type. */
const VECTORS: ReadonlyMap<string, Packed> = new Map([
  ["int32", "INT32"],
  ["fp32", "FP32"],
  ["fp64", "FP64"],
]);

/**
 * Packs `data`, nested or flat. Numbers that are not finite come as null (NaN) or as "NaN", "Infinity" and
 * "-Infinity", for floating types only; BYTES as text, as base64 with content type "base64", and vectors of numbers
 * with theirs.
 * @throws InvalidInputError naming the element
 */
export function packData(data: unknown, tensor: JsonTensor): Uint8Array {
  const { name, datatype, count, contentType = "" } = tensor;
  if (datatype === "FP16" || datatype === "BF16") {
    throw new InvalidInputError(
      `input "${name}": ${datatype} does not travel as JSON; send it as binary tensor data`,
    );
  }
  if (!Array.isArray(data)) throw wrong(name, "a list as data", data);
  const vectorType = datatype === "BYTES" ? VECTORS.get(contentType) : undefined;
  if (vectorType !== undefined) return packVectors(data, tensor, vectorType);
  const packer =
    datatype === "BYTES" ? new BytesPacker(contentType === "base64") : new NumberPacker(datatype, count);
  new Filler(packer, tensor).fill(data);
  return packer.finish();
}

function packVectors(rows: readonly unknown[], { name, count }: JsonTensor, datatype: Packed): Uint8Array {
  if (rows.length !== count) throw wrongCount(name, count, rows.length);
  const vectors = rows.map((row, index) => {
    if (!Array.isArray(row)) throw wrong(`${name}[${index}]`, "a list of numbers", row);
    const packer = new NumberPacker(datatype, row.length);
    new Filler(packer, { name: `${name}[${index}]`, datatype, count: row.length, contentType: "" }).fill(row);
    return packer.finish();
  });
  return encodeBytes(vectors);
}

interface ElementPacker {
  readonly expected: string;
  /** False: `value` is no such element. */
  set(index: number, value: unknown): boolean;
  finish(): Uint8Array;
}

/** Walks lists, however nested: the count has to be right, not the nesting. */
class Filler {
  readonly #packer: ElementPacker;
  readonly #tensor: JsonTensor;
  #next = 0;

  constructor(packer: ElementPacker, tensor: JsonTensor) {
    this.#packer = packer;
    this.#tensor = tensor;
  }

  fill(data: readonly unknown[]): void {
    this.#fill(data);
    const { name, count } = this.#tensor;
    if (this.#next !== count) throw wrongCount(name, count, this.#next);
  }

  /** The depth of what came was bounded when it was parsed. */
  #fill(data: readonly unknown[]): void {
    const { name, count } = this.#tensor;
    for (let at = 0; at < data.length; at += 1) {
      const value = data[at];
      if (Array.isArray(value)) {
        this.#fill(value);
        continue;
      }
      if (this.#next === count) throw wrongCount(name, count, "more");
      if (!this.#packer.set(this.#next, value))
        throw wrong(`${name}[${this.#next}]`, this.#packer.expected, value);
      this.#next += 1;
    }
  }
}

type NumberArray =
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | Int8Array
  | Int16Array
  | Int32Array
  | Float32Array
  | Float64Array
  | BigInt64Array
  | BigUint64Array;

interface NumberKind {
  readonly create: new (count: number) => NumberArray;
  readonly expected: string;
  /** The element as the array takes it; undefined: it is none. */
  readonly convert: (value: unknown) => number | bigint | undefined;
}

class NumberPacker implements ElementPacker {
  readonly expected: string;
  readonly #array: NumberArray;
  readonly #convert: NumberKind["convert"];

  constructor(datatype: Packed, count: number) {
    const { create, expected, convert } = KINDS[datatype];
    this.expected = expected;
    this.#convert = convert;
    this.#array = new create(count);
  }

  set(index: number, value: unknown): boolean {
    const element = this.#convert(value);
    if (element === undefined) return false;
    (this.#array as { [index: number]: number | bigint })[index] = element;
    return true;
  }

  finish(): Uint8Array {
    const { buffer, byteOffset, byteLength } = this.#array;
    return new Uint8Array(buffer, byteOffset, byteLength);
  }
}

class BytesPacker implements ElementPacker {
  readonly expected: string;
  readonly #isBase64: boolean;
  readonly #elements: Uint8Array[] = [];

  constructor(isBase64: boolean) {
    this.#isBase64 = isBase64;
    this.expected = isBase64 ? "a base64 string (RFC 4648, padded)" : "a string";
  }

  set(_index: number, value: unknown): boolean {
    const element = this.#isBase64 ? fromBase64(value) : textOf(value);
    if (element === undefined) return false;
    this.#elements.push(element);
    return true;
  }

  finish(): Uint8Array {
    return encodeBytes(this.#elements);
  }
}

function textOf(value: unknown): Uint8Array | undefined {
  return typeof value === "string" ? Buffer.from(value) : undefined;
}

function integer(create: NumberKind["create"], min: number, max: number): NumberKind {
  return {
    create,
    expected: `an integer from ${min} to ${max}`,
    convert: (value) =>
      typeof value === "number" && value >= min && value <= max && Number.isInteger(value)
        ? value
        : undefined,
  };
}

/** Bigints are what numbers beyond 2^53 were read as, with all their digits. */
function wide(create: NumberKind["create"], min: bigint, max: bigint): NumberKind {
  return {
    create,
    expected: `an integer from ${min} to ${max}`,
    convert: (value) => {
      if (typeof value === "number" ? !Number.isInteger(value) : typeof value !== "bigint") return undefined;
      const exact = BigInt(value as number | bigint);
      return exact >= min && exact <= max ? exact : undefined;
    },
  };
}

function floating(create: NumberKind["create"], overflow: number): NumberKind {
  return {
    create,
    expected: 'a number, null, "NaN", "Infinity" or "-Infinity"',
    convert: (value) => {
      if (typeof value === "number") return Math.abs(value) < overflow ? value : undefined;
      if (typeof value === "bigint") return Number(value);
      return value === null ? Number.NaN : SPECIAL.get(value);
    },
  };
}

const SPECIAL: ReadonlyMap<unknown, number> = new Map([
  ["NaN", Number.NaN],
  ["Infinity", Number.POSITIVE_INFINITY],
  ["-Infinity", Number.NEGATIVE_INFINITY],
]);

const BOOL: NumberKind = {
  create: Uint8Array,
  expected: "true or false",
  convert: (value) => {
    if (value === true || value === 1) return 1;
    return value === false || value === 0 ? 0 : undefined;
  },
};

const KINDS: Readonly<Record<Packed, NumberKind>> = {
  BOOL,
  INT8: integer(Int8Array, -(2 ** 7), 2 ** 7 - 1),
  INT16: integer(Int16Array, -(2 ** 15), 2 ** 15 - 1),
  INT32: integer(Int32Array, -(2 ** 31), 2 ** 31 - 1),
  INT64: wide(BigInt64Array, -(2n ** 63n), 2n ** 63n - 1n),
  UINT8: integer(Uint8Array, 0, 2 ** 8 - 1),
  UINT16: integer(Uint16Array, 0, 2 ** 16 - 1),
  UINT32: integer(Uint32Array, 0, 2 ** 32 - 1),
  UINT64: wide(BigUint64Array, 0n, 2n ** 64n - 1n),
  FP32: floating(Float32Array, FP32_OVERFLOW),
  FP64: floating(Float64Array, Infinity),
};

export function wrongCount(name: string, expected: number, got: number | string): InvalidInputError {
  return new InvalidInputError(`input "${name}": its shape takes ${expected} elements, data has ${got}`, {
    details: { field: name, expected, got },
  });
}

function wrong(place: string, expected: string, value: unknown): InvalidInputError {
  const got = describeValue(value);
  return new InvalidInputError(`input "${place}": expected ${expected}, got ${got}`, {
    details: { field: place, expected, got },
  });
}
