// Types of what callers of a model of tensors send and get, and of the user's functions around it.
import type { JsonValue } from "../../core/index.ts";
import type { NumberList } from "../input-types.ts";

/** Numbers, booleans or strings, nested as the tensor's shape is; where one dimension at most is free, also flat. */
export type TensorValue = number | boolean | string | readonly TensorValue[];

/** One row: the model's only input, or its inputs by name; typed arrays are flat. */
export type TensorInput = TensorValue | NumberList | { readonly [input: string]: TensorValue | NumberList };

/** One row: the model's only output as nested arrays, or its outputs by name. */
export type TensorOutput = TensorValue | { readonly [output: string]: TensorValue };

/** Elements of a tensor, row-major: bool as Uint8Array of 0 and 1, int64 and uint64 as BigInt arrays. */
export type TensorData =
  | Float32Array
  | Float64Array
  | Float16Array
  | Int8Array
  | Int16Array
  | Int32Array
  | BigInt64Array
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | BigUint64Array
  | readonly string[];

/** One row's part of a tensor, without the batch axis. */
export interface RowTensor {
  readonly data: TensorData;
  readonly dims: readonly number[];
}

export type NestedValues = number | bigint | boolean | string | readonly NestedValues[];

/** What a model input gets for one row. Flat data is enough where the shape has one free dimension at most. */
export type FeedValue = NestedValues | TensorData | RowTensor;

/** The value of the model's only input, or an object by input name. */
export type Feed = FeedValue | { readonly [input: string]: FeedValue };

export interface ProcessingContext {
  /** Aborted when nobody waits for the answer any more. */
  readonly signal: AbortSignal;
}

/**
 * Export `preprocess` of a processing module: turns the queries of a batch into what the model is fed, one feed each.
 *
 * @example
 * export const preprocess: Preprocess<string> = (texts) => texts.map((text) => encode(text));
 */
export type Preprocess<Input = JsonValue> = (
  inputs: readonly Input[],
  context: ProcessingContext,
) => readonly Feed[] | Promise<readonly Feed[]>;

/**
 * Export `postprocess` of a processing module: makes one JSON value of the model's outputs for each query, given by
 * name, and of its input.
 *
 * @example
 * export const postprocess: Postprocess = (outputs) => outputs.map(({ scores }) => labelOf(scores.data));
 */
export type Postprocess<Output = unknown, Input = unknown> = (
  outputs: readonly { readonly [output: string]: RowTensor }[],
  inputs: readonly Input[],
  context: ProcessingContext,
) => readonly Output[] | Promise<readonly Output[]>;
