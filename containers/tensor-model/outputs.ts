// Turns a model's row outputs into the tensors of a reply: stacked, ragged, or as JSON.
import type { BatchResult } from "../loader.ts";
import { raggedContentType } from "../json-data.ts";
import { invalidOutput } from "../json-output.ts";
import type { Datatype, ItemError, TensorSpec } from "../protocol.ts";
import { elementCount, emptyTensor, encodeBytes, type Tensor } from "../tensors.ts";
import { bytesOf } from "../typed-arrays.ts";
import type { RowOutputs, RunResult } from "./runner.ts";
import type { RowTensor, StringElement } from "./settings.ts";
import { allocate, join, toWire } from "./stack.ts";

/** Reply of tensors, in the order of the contract. */
export function tensorResult(result: RunResult, specs: readonly TensorSpec[]): BatchResult {
  if (result.kind === "stacked")
    return {
      outputs: result.outputs.flatMap((stack, index) => wire(specs[index], (spec) => toWire(stack, spec))),
    };
  const errors = result.rows.map((row) => (isError(row) ? row : undefined));
  const outputs = specs.map((spec, index) =>
    joinOutput(
      result.rows.map((row) => (isError(row) ? undefined : row[index])),
      { spec, errors },
    ),
  );
  return errors.some((error) => error !== undefined) ? { outputs, errors } : { outputs };
}

function wire(spec: TensorSpec | undefined, make: (spec: TensorSpec) => Tensor): Tensor[] {
  return spec === undefined ? [] : [make(spec)];
}

export function isError(row: RowOutputs): row is ItemError {
  return "code" in row;
}

interface JoinContext {
  readonly spec: TensorSpec;
  /** Rows whose output does not fit beside the others are added here. */
  readonly errors: (ItemError | undefined)[];
}

function joinOutput(rows: readonly (RowTensor | undefined)[], { spec, errors }: JoinContext): Tensor {
  const first = rows.find((row) => row !== undefined);
  if (first === undefined) return emptyTensor(spec, rows.length);
  const differs = rows.some((row) => row !== undefined && !haveEqualDims(row, first));
  if (differs && spec.isRagged === true && raggedContentType(spec.datatype) !== undefined)
    return raggedTensor(rows, spec);
  const blank = { data: allocate(first.data, elementCount(first.dims)), dims: first.dims };
  const fitting = rows.map((row, index) => {
    if (row === undefined || haveEqualDims(row, first)) return row ?? blank;
    errors[index] ??= invalidOutput(
      `output ${spec.name} has shape [${row.dims.join(",")}] here and [${first.dims.join(",")}] for another row of the batch; deploy the model with maxBatchSize 1, or add a postprocess function`,
    );
    return blank;
  });
  return toWire(join(fitting), spec);
}

function haveEqualDims(a: RowTensor, b: RowTensor): boolean {
  return a.dims.length === b.dims.length && a.dims.every((size, axis) => size === b.dims[axis]);
}

function raggedTensor(rows: readonly (RowTensor | undefined)[], spec: TensorSpec): Tensor {
  const elements = rows.map((row) =>
    row !== undefined && ArrayBuffer.isView(row.data) ? bytesOf(row.data) : new Uint8Array(0),
  );
  return {
    name: spec.name,
    datatype: "BYTES",
    shape: [rows.length],
    data: encodeBytes(elements),
    contentType: raggedContentType(spec.datatype) ?? "bytes",
  };
}

/**
 * A row's tensor as nested JSON lists. 64-bit integers keep all digits; what is not finite becomes null; bytes that are no
 * text are `{"b64": …}`, as everywhere in JSON.
 */
export function nestedJson({ data, dims }: RowTensor, datatype: Datatype): string {
  const element = datatype === "BOOL" ? (value: unknown): string => (value ? "true" : "false") : elementText;
  return nestedText(Array.from<unknown, string>(data as ArrayLike<unknown>, element), dims);
}

function nestedText(texts: readonly string[], dims: readonly number[]): string {
  const [length, ...inner] = dims;
  if (length === undefined) return texts[0] ?? "null";
  if (inner.length === 0) return `[${texts.join(",")}]`;
  const size = elementCount(inner);
  const parts = Array.from({ length }, (_, index) =>
    nestedText(texts.slice(index * size, (index + 1) * size), inner),
  );
  return `[${parts.join(",")}]`;
}

function elementText(value: unknown): string {
  if (typeof value === "bigint") return `${value}`;
  const element = value as number | StringElement;
  if (!ArrayBuffer.isView(element)) return JSON.stringify(element);
  return JSON.stringify({
    b64: Buffer.from(element.buffer, element.byteOffset, element.byteLength).toString("base64"),
  });
}
