// Options of every deployer of a model of tensors: what queries hold, which axis is the batch, functions around it.
import { z } from "zod";
import { INPUT_TYPE_NAMES, SHOWN_INPUT_TYPES, type InputTypeName } from "../input-types.ts";
import { packageOptionsShape, type PackageOptions } from "../packages.ts";
import type { BatchAxis } from "./batch-axis.ts";
import { processingSchema, type Processing } from "./processing.ts";

export interface TensorModelOptions extends PackageOptions {
  /**
   * What one query holds. Default "tensor": the model's inputs, nested or flat; with a preprocess function "json". A
   * model with one vector a row also takes "floats", "doubles" or "integers" (a flat list), one with a string "strings", and
   * a SavedModel with one "bytes" too (a JPEG file).
   */
  readonly inputType?: InputTypeName | "tensor" | undefined;
  /**
   * Functions around the model: a module with exports `preprocess` (queries to tensors) and `postprocess` (tensors to
   * answers), or one of them. Default: none; answers hold the model's outputs.
   */
  readonly processing?: Processing | undefined;
  /**
   * Axis along which rows are stacked. Default "auto": read from the file (table in deployers/README.md). A number: this
   * axis of every tensor that has it. null: none. An object: axis by tensor name; tensors it leaves out have none.
   */
  readonly batchAxis?: BatchAxis | undefined;
  /** Most rows in one call. Default: as the batching policy decides. */
  readonly maxBatchSize?: number | undefined;
}

/** Fields of a zod object for `TensorModelOptions`. */
export const tensorModelOptionsShape: typeof packageOptionsShape & {
  readonly inputType: z.ZodType<TensorModelOptions["inputType"]>;
  readonly processing: z.ZodType<Processing | undefined>;
  readonly batchAxis: z.ZodType<BatchAxis | undefined>;
  readonly maxBatchSize: z.ZodType<number | undefined>;
} = {
  inputType: z.enum([...INPUT_TYPE_NAMES, "tensor"], `expected "tensor", ${SHOWN_INPUT_TYPES}`).optional(),
  processing: processingSchema.optional(),
  batchAxis: z
    .union(
      [
        z.literal("auto"),
        z.int().min(0).max(31),
        z.null(),
        z.record(z.string(), z.int().min(0).max(31).nullable()),
      ],
      'expected "auto", an axis from 0, null, or an object of axes by tensor name',
    )
    .optional(),
  maxBatchSize: z.int().min(1).max(100_000).optional(),
  ...packageOptionsShape,
};
