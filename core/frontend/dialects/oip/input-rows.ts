// The tensors of an inference request, held to the contract and cut into the rows of its queries; nothing is copied.
import { isUtf8 } from "node:buffer";
import type { ContentType, Datatype, Manifest, TensorSpec } from "../../../../containers/protocol.ts";
import { DATATYPE_BYTES } from "../../../../containers/protocol.ts";
import { decodeBytes, elementCount, type Tensor, TensorFormatError } from "../../../../containers/tensors.ts";
import { MAX_JSON_DEPTH } from "../../../config.ts";
import { BatchTooLargeError, InvalidInputError } from "../../../errors.ts";
import { outputJson } from "../../../query/outputs.ts";
import { BatchOutputs, type Row, type RowTensor } from "../../../query/query.ts";
import { checkSchema } from "../../../query/schema-check.ts";
import { isDeeperThan } from "../../json-text.ts";

/** One input as it came, its data packed as in a tensor body. */
export interface InputTensor {
  readonly name: string;
  readonly datatype: Datatype;
  readonly shape: readonly number[];
  readonly data: Uint8Array;
  /** What BYTES elements hold, where the caller said it. */
  readonly contentType?: string | undefined;
}

/** The vectors that ragged rows are, by the type of their numbers, and what BYTES elements of them are called. */
export const RAGGED_TYPES: Readonly<Partial<Record<Datatype, ContentType>>> = {
  INT32: "int32",
  FP32: "fp32",
  FP64: "fp64",
};

/**
 * One row a query. A model without a batch axis gets the whole request as one query.
 *
 * @param maxRows most queries in one request
 * @throws InvalidInputError naming the input, what was expected and what came; BatchTooLargeError
 */
export function rowsOf(manifest: Manifest, inputs: readonly InputTensor[], maxRows: number): readonly Row[] {
  const { contract } = manifest;
  const byName = named(inputs, contract.inputs);
  const columns = contract.inputs.map((spec) => {
    const input = byName.get(spec.name);
    if (input === undefined) throw wrong(spec.name, describe(spec, contract.isBatched), "nothing");
    return columnOf(spec, input, { isBatched: contract.isBatched, maxRows });
  });
  const count = columns[0]?.length ?? 0;
  for (const [index, column] of columns.entries()) {
    const name = contract.inputs[index]?.name ?? "";
    if (column.length !== count)
      throw wrong(name, `${count} rows, as "${contract.inputs[0]?.name}" has`, `${column.length}`);
  }
  const rows: Row[] = [];
  for (let row = 0; row < count; row += 1) {
    const tensors = columns.map((column) => column[row] as RowTensor);
    rows.push({ tensors, key: keyOf(contract.inputs, tensors) });
  }
  if (manifest.schemas?.input !== undefined) {
    for (const [index, row] of rows.entries()) checkRow(manifest, row, `row ${index}`);
  }
  return rows;
}

function named(
  inputs: readonly InputTensor[],
  specs: readonly TensorSpec[],
): ReadonlyMap<string, InputTensor> {
  const byName = new Map<string, InputTensor>();
  for (const input of inputs) {
    if (!specs.some(({ name }) => name === input.name)) {
      const known = specs.map(({ name }) => `"${name}"`).join(", ");
      throw new InvalidInputError(`unexpected input ${shown(input.name)}; the model takes ${known}`, {
        details: { field: input.name.slice(0, 100) },
      });
    }
    if (byName.has(input.name)) throw wrong(input.name, "it once", "it twice");
    byName.set(input.name, input);
  }
  return byName;
}

/** Part of a row's key: its shape, where rows of this input may differ and then do not fit into one tensor. */
function keyOf(specs: readonly TensorSpec[], tensors: readonly RowTensor[]): string {
  const keys = specs.map((spec, index) =>
    spec.isRagged !== true && spec.shape.includes(-1) ? (tensors[index]?.shape.join(",") ?? "") : "",
  );
  return keys.every((key) => key === "") ? "" : keys.join(";");
}

interface ColumnOptions {
  readonly isBatched: boolean;
  readonly maxRows: number;
}

/** The part of each row in one input. */
function columnOf(spec: TensorSpec, input: InputTensor, options: ColumnOptions): readonly RowTensor[] {
  const { datatype, data } = input;
  const isVectors = spec.isRagged === true && datatype === "BYTES";
  if (datatype !== spec.datatype && !isVectors) throw wrong(spec.name, `datatype ${spec.datatype}`, datatype);
  checkContent(spec, input, isVectors);
  if (isVectors) return vectorColumn(spec, input, options.maxRows);
  const rowShape = fittingRow(spec, input, options.isBatched);
  const count = options.isBatched ? (input.shape[0] ?? 0) : 1;
  if (count > options.maxRows) throw tooMany(count, options.maxRows);
  if (datatype === "BYTES") return bytesColumn(spec, input, { count, rowShape });
  const rowBytes = elementCount(rowShape) * DATATYPE_BYTES[datatype];
  if (data.byteLength !== rowBytes * count)
    throw wrong(spec.name, `${rowBytes * count} bytes`, `${data.byteLength}`);
  if (count === 1) return [{ shape: rowShape, data }];
  const rows: RowTensor[] = [];
  for (let row = 0; row < count; row += 1)
    rows.push({ shape: rowShape, data: data.subarray(row * rowBytes, (row + 1) * rowBytes) });
  return rows;
}

function checkContent(spec: TensorSpec, { contentType }: InputTensor, isVectors: boolean): void {
  if (isVectors) {
    const expected = RAGGED_TYPES[spec.datatype];
    if (contentType !== expected)
      throw wrong(spec.name, `parameters.content_type "${expected}"`, shown(contentType ?? ""));
    return;
  }
  const isOurs = contentType !== undefined && CONTENT_TYPES.has(contentType);
  const isEither = spec.contentType === undefined && (contentType === "str" || contentType === "bytes");
  if (isOurs && !isEither && contentType !== spec.contentType)
    throw wrong(spec.name, `content type "${spec.contentType ?? "none"}"`, shown(contentType));
}

/** Others' content types (MLServer's "np", "pd") say nothing about how the bytes are to be read here. */
const CONTENT_TYPES: ReadonlySet<string> = new Set(["json", "str", "bytes", "int32", "fp32", "fp64"]);

/** The shape of one row. A scalar row may stand as [n,1]: most clients send texts so. */
function fittingRow(spec: TensorSpec, input: InputTensor, isBatched: boolean): readonly number[] {
  const row = isBatched ? input.shape.slice(1) : input.shape;
  const hasAxis = !isBatched || input.shape.length > 0;
  if (hasAxis && spec.shape.length === 0 && row.every((size) => size === 1)) return [];
  const fits =
    hasAxis &&
    row.length === spec.shape.length &&
    spec.shape.every((size, axis) => size === -1 || size === row[axis]);
  if (!fits) throw wrong(spec.name, `shape ${shapeText(spec, isBatched)}`, `[${input.shape.join(",")}]`);
  return row;
}

interface BytesColumn {
  readonly count: number;
  readonly rowShape: readonly number[];
}

function bytesColumn(
  spec: TensorSpec,
  { data }: InputTensor,
  { count, rowShape }: BytesColumn,
): readonly RowTensor[] {
  const perRow = elementCount(rowShape);
  const elements = elementsOf(spec, data, count * perRow);
  let end = 0;
  return Array.from({ length: count }, (_, row) => {
    const start = end;
    for (let index = row * perRow; index < (row + 1) * perRow; index += 1) {
      const element = elements[index] as Uint8Array;
      checkElement(spec, element, `${spec.name}[${index}]`);
      end += 4 + element.byteLength;
    }
    return { shape: rowShape, data: data.subarray(start, end) };
  });
}

/** Rows of different lengths, one element each. */
function vectorColumn(spec: TensorSpec, { data, shape }: InputTensor, maxRows: number): readonly RowTensor[] {
  const [count = 0] = shape;
  if (shape.length !== 1) throw wrong(spec.name, "shape [n] for vectors as BYTES", `[${shape.join(",")}]`);
  if (count > maxRows) throw tooMany(count, maxRows);
  const width = DATATYPE_BYTES[spec.datatype];
  return elementsOf(spec, data, count).map((element, row) => {
    if (element.byteLength % width !== 0)
      throw wrong(`${spec.name}[${row}]`, `a vector of ${spec.datatype}`, `${element.byteLength} bytes`);
    return { shape: [element.byteLength / width], data: element };
  });
}

function elementsOf(spec: TensorSpec, data: Uint8Array, count: number): readonly Uint8Array[] {
  // Each has four bytes at least: a shape alone must not make us reserve memory.
  if (count * 4 > data.byteLength)
    throw wrong(spec.name, `${count} elements`, `${data.byteLength} bytes, which hold fewer`);
  try {
    return decodeBytes(data, count);
  } catch (error) {
    if (error instanceof TensorFormatError) throw new InvalidInputError(`${spec.name}: ${error.message}`);
    throw error;
  }
}

function checkElement({ contentType = "bytes" }: TensorSpec, element: Uint8Array, place: string): void {
  if (contentType === "bytes") return;
  if (!isUtf8(element)) throw wrong(place, "UTF-8 text", "other bytes");
  if (contentType !== "json") return;
  const bytes = Buffer.from(element.buffer, element.byteOffset, element.byteLength);
  if (isDeeperThan(bytes, MAX_JSON_DEPTH))
    throw wrong(place, `JSON text of at most ${MAX_JSON_DEPTH} levels`, "a deeper one");
  try {
    JSON.parse(bytes.toString());
  } catch (error) {
    const text = bytes.toString("utf8", 0, 200);
    throw wrong(place, 'JSON text, such as "[1,2]"', shown(text), error);
  }
}

/** A row's part of an input or output as a tensor of its own; `batch` are the axes before it. */
export function tensorOf(
  { name, datatype, contentType }: TensorSpec,
  row: RowTensor | undefined,
  batch: readonly number[] = [],
): Tensor {
  const { shape = [], data = new Uint8Array() } = row ?? {};
  const tensor = { name, datatype, shape: [...batch, ...shape], data };
  return contentType === undefined ? tensor : { ...tensor, contentType };
}

/** The row as the JSON value that an author's schema is about. @throws InvalidInputError */
function checkRow(manifest: Manifest, row: Row, field: string): void {
  const { inputs } = manifest.contract;
  const tensors = inputs.map((spec, index) => tensorOf(spec, row.tensors[index]));
  const asOutputs = { ...manifest, contract: { inputs, outputs: inputs, isBatched: false } };
  const text = outputJson(asOutputs, new BatchOutputs(tensors, 1), 0);
  if (manifest.schemas?.input !== undefined) checkSchema(manifest.schemas.input, JSON.parse(text), field);
}

function tooMany(count: number, limit: number): BatchTooLargeError {
  return new BatchTooLargeError(`the request holds ${count} rows and may hold ${limit}; send it in parts`, {
    details: { inputs: count, limit },
  });
}

// oxlint-disable-next-line max-params
function wrong(input: string, expected: string, got: string, cause?: unknown): InvalidInputError {
  const field = input.length > 100 ? `${input.slice(0, 100)}…` : input;
  return new InvalidInputError(`input "${field}": expected ${expected}, got ${got}`, {
    cause,
    details: { field, expected, got },
  });
}

function describe(spec: TensorSpec, isBatched: boolean): string {
  return `${spec.datatype} ${shapeText(spec, isBatched)}`;
}

function shapeText(spec: TensorSpec, isBatched: boolean): string {
  return `[${(isBatched ? [-1, ...spec.shape] : spec.shape).join(",")}]`;
}

function shown(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);
}
