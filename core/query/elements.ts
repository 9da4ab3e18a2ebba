// How one element of each datatype goes from a JSON value into a packed tensor.
import { encodeBytes } from "../../containers/tensors.ts";
import type { ContentType, Datatype, TensorSpec } from "../../containers/protocol.ts";

/** Fills one tensor element by element. */
export interface Packer {
  /** Stores `value` at `index`; false when it is not an element of this datatype. */
  set(index: number, value: unknown): boolean;
  finish(): Uint8Array;
}

export interface ElementKind {
  /** For error messages: "a finite number". */
  readonly expected: string;
  /** Elements are whole JSON values: numbers inside them are still to be checked. */
  readonly isDeep?: boolean;
  pack(count: number): Packer;
}

type NumberArray =
  | Int8Array
  | Int16Array
  | Int32Array
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | Float32Array
  | Float64Array;

function bytesOf(array: ArrayBufferView): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

function integer(create: (count: number) => NumberArray, min: number, max: number): ElementKind {
  return {
    expected: `an integer from ${min} to ${max}`,
    pack(count) {
      const array = create(count);
      return {
        set(index, value) {
          if (typeof value !== "number" || !Number.isInteger(value) || value < min || value > max)
            return false;
          array[index] = value;
          return true;
        },
        finish: () => bytesOf(array),
      };
    },
  };
}

/** 64-bit integers: numbers where they are exact, bigints (see frontend/json-text.ts) where they are not. */
function bigInteger(
  create: (count: number) => BigInt64Array | BigUint64Array,
  min: bigint,
  max: bigint,
): ElementKind {
  return {
    expected: `an integer from ${min} to ${max}`,
    pack(count) {
      const array = create(count);
      return {
        set(index, value) {
          if (typeof value === "number" ? !Number.isInteger(value) : typeof value !== "bigint") return false;
          const exact = BigInt(value as number | bigint);
          if (exact < min || exact > max) return false;
          array[index] = exact;
          return true;
        },
        finish: () => bytesOf(array),
      };
    },
  };
}

/** Smallest magnitudes that round to infinity; BF16 rounds by way of FP32. */
export const FP32_OVERFLOW: number = (2 - 2 ** -24) * 2 ** 127;
const FP16_OVERFLOW = 65_520;
const BF16_OVERFLOW = (2 - 2 ** -8 - 2 ** -24) * 2 ** 127;

type FloatStore = (count: number) => { set(index: number, value: number): void; finish(): Uint8Array };

function float(datatype: Datatype, overflow: number, store: FloatStore): ElementKind {
  return {
    expected: datatype === "FP64" ? "a finite number" : `a finite number within the range of ${datatype}`,
    pack(count) {
      const target = store(count);
      return {
        set(index, value) {
          // Beside 64-bit integers its own large ones come as bigints, too.
          const number = typeof value === "bigint" ? Number(value) : value;
          if (typeof number !== "number" || !(Math.abs(number) < overflow)) return false;
          target.set(index, number);
          return true;
        },
        finish: () => target.finish(),
      };
    },
  };
}

function inArray(create: (count: number) => NumberArray): FloatStore {
  return (count) => {
    const array = create(count);
    return {
      set: (index, value) => {
        array[index] = value;
      },
      finish: () => bytesOf(array),
    };
  };
}

/** The half-precision calls of DataView, which TypeScript's ES2024 library does not list. */
export type HalfView = DataView & {
  getFloat16(offset: number, isLittleEndian: boolean): number;
  setFloat16(offset: number, value: number, isLittleEndian: boolean): void;
};

const half: FloatStore = (count) => {
  const bytes = new Uint8Array(count * 2);
  const view = new DataView(bytes.buffer) as HalfView;
  return { set: (index, value) => view.setFloat16(index * 2, value, true), finish: () => bytes };
};

/** BF16 is the upper half of FP32, rounded to the nearest, ties to even. */
const brain: FloatStore = (count) => {
  const array = new Uint16Array(count);
  const cell = new DataView(new ArrayBuffer(4));
  return {
    set: (index, value) => {
      cell.setFloat32(0, value);
      const bits = cell.getUint32(0);
      array[index] = (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
    },
    finish: () => bytesOf(array),
  };
};

const bool: ElementKind = {
  expected: "true or false",
  pack(count) {
    const array = new Uint8Array(count);
    return {
      set(index, value) {
        if (typeof value !== "boolean") return false;
        array[index] = value ? 1 : 0;
        return true;
      },
      finish: () => array,
    };
  },
};

const NUMERIC: Readonly<Record<Exclude<Datatype, "BYTES">, ElementKind>> = {
  BOOL: bool,
  INT8: integer((count) => new Int8Array(count), -(2 ** 7), 2 ** 7 - 1),
  INT16: integer((count) => new Int16Array(count), -(2 ** 15), 2 ** 15 - 1),
  INT32: integer((count) => new Int32Array(count), -(2 ** 31), 2 ** 31 - 1),
  INT64: bigInteger((count) => new BigInt64Array(count), -(2n ** 63n), 2n ** 63n - 1n),
  UINT8: integer((count) => new Uint8Array(count), 0, 2 ** 8 - 1),
  UINT16: integer((count) => new Uint16Array(count), 0, 2 ** 16 - 1),
  UINT32: integer((count) => new Uint32Array(count), 0, 2 ** 32 - 1),
  UINT64: bigInteger((count) => new BigUint64Array(count), 0n, 2n ** 64n - 1n),
  FP16: float("FP16", FP16_OVERFLOW, half),
  BF16: float("BF16", BF16_OVERFLOW, brain),
  FP32: float(
    "FP32",
    FP32_OVERFLOW,
    inArray((count) => new Float32Array(count)),
  ),
  FP64: float(
    "FP64",
    Infinity,
    inArray((count) => new Float64Array(count)),
  ),
};

function packed(expected: string, encode: (value: unknown) => Uint8Array | undefined): ElementKind {
  return {
    expected,
    pack() {
      const elements: Uint8Array[] = [];
      return {
        set(index, value) {
          const element = encode(value);
          if (element === undefined) return false;
          elements[index] = element;
          return true;
        },
        finish: () => encodeBytes(elements),
      };
    },
  };
}

/** Strict base64: Node's own decoder skips what it does not know. */
export function fromBase64(value: unknown): Uint8Array | undefined {
  if (typeof value !== "string" || value.length % 4 !== 0) return undefined;
  const padding = value.endsWith("==") ? 2 : value.endsWith("=") ? 1 : 0;
  const digits = padding === 0 ? value : value.slice(0, -padding);
  return /[^A-Za-z0-9+/]/.test(digits) ? undefined : Buffer.from(value, "base64");
}

/** BYTES of a model that does not say what they hold: text, or any bytes in the form of TensorFlow Serving's JSON. */
const textOrBytes = packed('a string, or {"b64": …} with base64 (RFC 4648, padded)', (value) => {
  if (typeof value === "string") return Buffer.from(value);
  const isWrapped = typeof value === "object" && value !== null && Object.keys(value).join() === "b64";
  return isWrapped ? fromBase64((value as { readonly b64: unknown }).b64) : undefined;
});
const text = packed("a string", (value) => (typeof value === "string" ? Buffer.from(value) : undefined));
const base64 = packed("a base64 string (RFC 4648, padded)", fromBase64);
const json: ElementKind = { ...packed("a JSON value", toJson), isDeep: true };

function toJson(value: unknown): Uint8Array {
  try {
    return Buffer.from(JSON.stringify(value));
  } catch {
    return Buffer.from(JSON.stringify(value, printBigInt));
  }
}

/** `JSON.rawJSON` (in Node 24, not in TypeScript's library) keeps every digit of integers that were read exactly. */
function printBigInt(_key: string, value: unknown): unknown {
  if (typeof value !== "bigint") return value;
  return (JSON as unknown as { rawJSON(text: string): unknown }).rawJSON(String(value));
}

const CONTENT: Readonly<Partial<Record<ContentType, ElementKind>>> = { json, bytes: base64, str: text };

/** Elements of this tensor; BYTES without a content type are strings or bytes, as in the Open Inference Protocol. */
export function elementKind(spec: TensorSpec): ElementKind {
  if (spec.datatype !== "BYTES") return NUMERIC[spec.datatype];
  return spec.contentType === undefined ? textOrBytes : (CONTENT[spec.contentType] ?? text);
}
