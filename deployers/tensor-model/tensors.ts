// What a deployer knows of a model's inputs and outputs once it has read the file, whatever its format.
import type { Datatype } from "../../core/index.ts";

/** A dimension: fixed, free with a name ("batch"), or free without one. */
export type Dimension = number | string | null;

/** An input or output that can be served. */
export interface ModelTensor {
  readonly name: string;
  readonly datatype: Datatype;
  /** As in the file, batch axis included; undefined: the file does not tell (outputs only). */
  readonly dimensions: readonly Dimension[] | undefined;
}

export interface ModelTensors {
  readonly inputs: readonly ModelTensor[];
  readonly outputs: readonly ModelTensor[];
  /** What the elements of string tensors may be where it runs. */
  readonly strings: "text" | "bytes";
  /** What is left out, in words. */
  readonly notes: readonly string[];
}
