// Types of what callers of a model of tensors send and get, and of the user's functions around it.
import type { NumberList } from "../input-types.ts";

/** Bytes of a string tensor that are no text, in base64: a JPEG file, a serialized message. */
export type EncodedBytes = { readonly b64: string };

/** Numbers, booleans or strings, nested as the tensor's shape is; where one dimension at most is free, also flat. */
export type TensorValue = number | boolean | string | EncodedBytes | readonly TensorValue[];

/** One row: the model's only input, or its inputs by name; typed arrays are flat. */
export type TensorInput = TensorValue | NumberList | { readonly [input: string]: TensorValue | NumberList };

/** One row: the model's only output as nested arrays, or its outputs by name. */
export type TensorOutput = TensorValue | { readonly [output: string]: TensorValue };

export type {
  Feed,
  FeedValue,
  NestedValues,
  Postprocess,
  Preprocess,
  ProcessingContext,
  RowTensor,
  StringElement,
  TensorData,
} from "../../containers/tensor-model/settings.ts";
