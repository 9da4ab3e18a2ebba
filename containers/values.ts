// Turns the rows of a batch into the plain values that user functions take.
import type { Batch } from "./loader.ts";
import { RAGGED_TYPES } from "./json-data.ts";
import type { ItemError } from "./protocol.ts";
import { decodeBytes, elementCount, type Tensor } from "./tensors.ts";
import { type NumericArray, type NumericDatatype, typedView } from "./typed-arrays.ts";

export interface DecodedRows {
  /** One value per row; an object by input name where the contract has several inputs. */
  readonly values: readonly unknown[];
  /** Rows that cannot be decoded; undefined: none. */
  readonly errors: readonly (ItemError | undefined)[] | undefined;
}

/**
 * Rows become lists nested by the row's shape, or single elements where it has none. Numbers become numbers, but
 * 64-bit integers beyond ±2^53 BigInts, which keep all digits; BOOL true or false; BYTES what their content type
 * says.
 */
export function decodeRows(batch: Batch): DecodedRows {
  const errors: ItemError[] = [];
  const columns = batch.inputs.map((tensor) => decodeColumn(tensor, errors));
  const [first] = columns;
  const values =
    columns.length === 1 && first !== undefined
      ? first
      : Array.from({ length: batch.count }, (_, row) =>
          Object.fromEntries(columns.map((column, index) => [batch.inputs[index]?.name, column[row]])),
        );
  return { values, errors: errors.length > 0 ? errors : undefined };
}

function decodeColumn(tensor: Tensor, errors: ItemError[]): unknown[] {
  const { datatype, shape } = tensor;
  if (datatype !== "BYTES") return numericRows(tensor, datatype);
  const elements = bytesElements(tensor, errors);
  return shape.length === 1 ? elements : nest(shape, (index) => elements[index]);
}

/** All elements of a BYTES tensor, decoded. */
function bytesElements({ name, shape, data, contentType }: Tensor, errors: ItemError[]): unknown[] {
  const elements = decodeBytes(data, elementCount(shape)).map((element) =>
    Buffer.from(element.buffer, element.byteOffset, element.byteLength),
  );
  if (contentType === "json") {
    const rowSize = elementCount(shape.slice(1));
    return elements.map((element, index) => {
      try {
        return JSON.parse(element.toString("utf8")) as unknown;
      } catch (error) {
        const message = `input "${name}" is not JSON: ${(error as Error).message}`;
        errors[Math.floor(index / rowSize)] = { code: "MODEL_ERROR", message };
        return undefined;
      }
    });
  }
  const raggedType = RAGGED_TYPES[contentType ?? ""];
  if (raggedType !== undefined)
    return elements.map((element) => {
      const numbers = typedView(element, raggedType) as Numbers;
      return listOfNumbers(numbers, 0, numbers.length);
    });
  return contentType === "str" ? elements.map((element) => element.toString("utf8")) : elements;
}

function numericRows({ data, shape }: Tensor, datatype: NumericDatatype): unknown[] {
  const array = datatype === "BF16" ? widened(data) : typedView(data, datatype);
  if (datatype === "BOOL") return nest(shape, (index) => array[index] !== 0);
  if (datatype === "INT64" || datatype === "UINT64")
    return nest(shape, (index) => plainInteger(array[index] ?? 0));
  return nestNumbers(shape, array as Numbers);
}

function plainInteger(element: number | bigint): number | bigint {
  const number = Number(element);
  return Number.isSafeInteger(number) ? number : element;
}

/** A BF16 is the upper half of an FP32. */
function widened(data: Uint8Array): Float32Array {
  const words = Uint32Array.from(typedView(data, "BF16") as Uint16Array, (word) => word << 16);
  return new Float32Array(words.buffer);
}

/** Nested lists of `shape`; `at` gives the element of a flat index. */
function nest(shape: readonly number[], at: (index: number) => unknown, start = 0): unknown[] {
  const [length = 0, ...inner] = shape;
  const size = elementCount(inner);
  const list: unknown[] = [];
  for (let index = 0; index < length; index += 1)
    list.push(inner.length === 0 ? at(start + index) : nest(inner, at, start + index * size));
  return list;
}

type Numbers = Exclude<NumericArray, BigInt64Array | BigUint64Array>;

/** As `nest`, for plain numbers, which are most of all. */
function nestNumbers(shape: readonly number[], numbers: Numbers, start = 0): unknown[] {
  const [length = 0, ...inner] = shape;
  if (inner.length === 0) return listOfNumbers(numbers, start, length);
  const size = elementCount(inner);
  return Array.from({ length }, (_, index) => nestNumbers(inner, numbers, start + index * size));
}

/** Lists of numbers alone are made here: in a loop that makes other lists, too, each element costs four times as much. */
function listOfNumbers(numbers: Numbers, start: number, length: number): number[] {
  // oxlint-disable-next-line unicorn/no-new-array -- Array.from takes twenty times as long for a row of 784
  const list = new Array<number>(length);
  for (let index = 0; index < length; index += 1) list[index] = numbers[start + index] ?? 0;
  return list;
}
