// Turns the rows of a batch into the plain values that user functions take.
import type { Batch } from "./loader.ts";
import { RAGGED_TYPES } from "./json-data.ts";
import type { ItemError } from "./protocol.ts";
import { decodeBytes, elementCount, type Tensor } from "./tensors.ts";
import { type NumericDatatype, typedView } from "./typed-arrays.ts";

export interface DecodedRows {
  /** One value per row; an object by input name where the contract has several inputs. */
  readonly values: readonly unknown[];
  /** Rows that cannot be decoded; undefined: none. */
  readonly errors: readonly (ItemError | undefined)[] | undefined;
}

/** Numbers become plain arrays nested by the row's shape, BYTES what their content type says. */
export function decodeRows(batch: Batch): DecodedRows {
  const errors: ItemError[] = [];
  const columns = batch.inputs.map((tensor) => decodeColumn(tensor, batch.count, errors));
  const [first] = columns;
  const values =
    columns.length === 1 && first !== undefined
      ? first
      : Array.from({ length: batch.count }, (_, row) =>
          Object.fromEntries(columns.map((column, index) => [batch.inputs[index]?.name, column[row]])),
        );
  return { values, errors: errors.length > 0 ? errors : undefined };
}

function decodeColumn(tensor: Tensor, count: number, errors: ItemError[]): unknown[] {
  const { datatype, data, contentType } = tensor;
  if (datatype !== "BYTES") return numericRows(tensor, datatype);
  const elements = decodeBytes(data, count);
  if (contentType === "json") return jsonRows(elements, tensor.name, errors);
  const raggedType = RAGGED_TYPES[contentType ?? ""];
  if (raggedType !== undefined)
    return elements.map((element) => Array.from<unknown>(typedView(element, raggedType)));
  const buffers = elements.map((element) =>
    Buffer.from(element.buffer, element.byteOffset, element.byteLength),
  );
  return contentType === "str" ? buffers.map((buffer) => buffer.toString("utf8")) : buffers;
}

function jsonRows(elements: readonly Uint8Array[], name: string, errors: ItemError[]): unknown[] {
  return elements.map((element, row) => {
    const text = Buffer.from(element.buffer, element.byteOffset, element.byteLength).toString("utf8");
    try {
      return JSON.parse(text);
    } catch (error) {
      errors[row] = {
        code: "MODEL_ERROR",
        message: `input "${name}" is not JSON: ${(error as Error).message}`,
      };
      return undefined;
    }
  });
}

function numericRows({ data, shape }: Tensor, datatype: NumericDatatype): unknown[] {
  const array = typedView(data, datatype);
  if (datatype === "BOOL") return nest(shape, (index) => array[index] !== 0);
  if (datatype === "INT64" || datatype === "UINT64") return nest(shape, (index) => Number(array[index]));
  return nest(shape, (index) => array[index]);
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
