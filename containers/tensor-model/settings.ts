// What `manifest.model` holds for every model of tensors, and what processing functions get and give: deployers write it,
// loaders read it, and users' functions are typed by it.
import type { Datatype, JsonValue } from "../protocol.ts";
import type { NumericArray } from "../typed-arrays.ts";

/** One tensor of the model file. */
export interface TensorSettings {
  /** As in the model file; any text. */
  readonly name: string;
  /** Its element type; a string tensor is BYTES. */
  readonly datatype: Datatype;
  /** Shape of one row: that of the file without the batch axis. -1 is a free dimension. */
  readonly shape: readonly number[];
  /**
   * Index of the batch axis in the file's shape, also where it is fixed to 1; null: it has none. On the wire the
   * batch axis always comes first: the loader moves it.
   */
  readonly batchAxis: number | null;
}

/** User functions around the model, both named exports of one ES module. */
export interface ProcessingSettings {
  /** Name of the module in the bundle: "processing.mjs". */
  readonly file: string;
  /** Export of type `Preprocess`; without it queries hold the model's tensors. */
  readonly preprocess?: string;
  /** Export of type `Postprocess`; without it answers hold the model's tensors. */
  readonly postprocess?: string;
}

/**
 * The part of `manifest.model` that does not depend on the kind of model file.
 *
 * The contract has to fit:
 * - inputs: without `preprocess` the tensors of `inputs`, by the same names; with it one value (`valueContract`).
 * - outputs: the tensors of `outputs`, by the same names, or, where there is `processing`, a single BYTES output with
 *   content type "json". That one holds what `postprocess` returned; without `postprocess` the tensors as nested
 *   arrays: of the only output, or an object by output name.
 */
export interface TensorModelSettings {
  /** Every input to feed, in the order of the contract. */
  readonly inputs: readonly TensorSettings[];
  /** The outputs to fetch; others are not computed into the answer. */
  readonly outputs: readonly TensorSettings[];
  /**
   * "dynamic": rows are stacked along the batch axis and run at once. An input without one (`batchAxis` null) must
   * be equal in all rows; where it is not, and where an output has none, the rows run one by one.
   * "one-by-one": the model has no batch axis, or one that is fixed to 1; the loader loops over the rows.
   */
  readonly batching: "dynamic" | "one-by-one";
  /**
   * With "dynamic": the batch axis is fixed to this many rows (> 1). The loader runs that many at a time and fills
   * the last run up with copies of its last row, whose results are dropped.
   */
  readonly fixedBatch?: number;
  readonly processing?: ProcessingSettings;
}

/**
 * Elements of a tensor, row-major: bool as Uint8Array of 0 and 1, int64 and uint64 as BigInt arrays. Of a string tensor
 * each is a string, or its bytes where they are no UTF-8 text.
 */
export type TensorData = NumericArray | readonly StringElement[];

/** An element of a string tensor. */
export type StringElement = string | Uint8Array;

/** One row's part of a tensor, without the batch axis. */
export interface RowTensor {
  readonly data: TensorData;
  readonly dims: readonly number[];
}

/** Nested arrays of elements; one alone stands for shape []. */
export type NestedValues = number | bigint | boolean | StringElement | readonly NestedValues[];

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
 * Queries are decoded as for functions: number arrays, strings, bytes or JSON values.
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
 * name, and of its input: what `preprocess` gets, or for a model that takes tensors an object of them by input name.
 *
 * @example
 * export const postprocess: Postprocess = (outputs) => outputs.map(({ scores }) => labelOf(scores.data));
 */
export type Postprocess<Output = unknown, Input = unknown> = (
  outputs: readonly { readonly [output: string]: RowTensor }[],
  inputs: readonly Input[],
  context: ProcessingContext,
) => readonly Output[] | Promise<readonly Output[]>;
