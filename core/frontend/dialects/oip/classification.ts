// The classification extension: the k most likely classes of each row in place of its numbers.
import { encodeBytes } from "../../../../containers/tensors.ts";
import { InvalidRequestError } from "../../../errors.ts";
import { flatText } from "../../../query/outputs.ts";
import { parseJson } from "../../json-text.ts";
import { dataOf, type JoinedTensor } from "./output-tensors.ts";

/**
 * BYTES [batch, k] of `value:index`, the greatest value first, equal ones by index; k is at most what a row has.
 * @throws InvalidRequestError for an output without numbers
 */
export function classify(tensor: JoinedTensor, classes: number, isBatched: boolean): JoinedTensor {
  const { name, datatype, shape } = tensor;
  if (datatype === "BYTES" || datatype === "BOOL")
    throw new InvalidRequestError(`output "${name}": classification needs numbers, and it is ${datatype}`);
  const rows = isBatched ? (shape[0] ?? 0) : 1;
  const values = numbersOf(tensor);
  const perRow = rows === 0 ? 0 : values.length / rows;
  const kept = Math.min(classes, perRow);
  const isWhole = !datatype.startsWith("FP") && datatype !== "BF16";
  const elements = Array.from({ length: rows }, (_, row) =>
    top(values.slice(row * perRow, (row + 1) * perRow), kept),
  )
    .flat()
    .map(({ value, index }) => Buffer.from(`${isWhole ? value : Number(value).toFixed(6)}:${index}`));
  const data = encodeBytes(elements);
  const newShape = isBatched ? [rows, kept] : [kept];
  return {
    name,
    datatype: "BYTES",
    shape: newShape,
    contentType: undefined,
    chunks: [data],
    size: data.byteLength,
  };
}

/** 64-bit integers with all their digits. */
function numbersOf(tensor: JoinedTensor): readonly (number | bigint)[] {
  const { name, datatype, shape } = tensor;
  const text = flatText({ name, datatype, shape, data: dataOf(tensor) });
  const keepsIntegers = datatype === "INT64" || datatype === "UINT64";
  const list = parseJson(Buffer.from(text), { expected: "numbers", keepsIntegers }) as (number | null)[];
  return list.map((value) => value ?? Number.NEGATIVE_INFINITY);
}

interface Class {
  readonly value: number | bigint;
  readonly index: number;
}

function top(values: readonly (number | bigint)[], count: number): readonly Class[] {
  return values
    .map((value, index): Class => ({ value, index }))
    .toSorted((one, other) => {
      if (other.value === one.value) return one.index - other.index;
      return other.value > one.value ? 1 : -1;
    })
    .slice(0, count);
}
