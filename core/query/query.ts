// A query and what becomes of it: the shapes that travel along the query line.
import type { Tensor } from "../../containers/tensors.ts";
import { decodeBytes } from "../../containers/tensors.ts";
import type { WindjammerError } from "../errors.ts";

/**
 * One query's part of one input tensor. `data` is packed as in a tensor body (BYTES elements with their length in
 * front), so that the tensor of a batch is the concatenation of its rows. `shape` is without the batch axis.
 */
export interface RowTensor {
  readonly shape: readonly number[];
  readonly data: Uint8Array;
}

/** One query's inputs, in the order of the contract. */
export interface Row {
  readonly tensors: readonly RowTensor[];
  /** Rows of equal key fit into one batch: their shapes, or "" where every row fits with every other. */
  readonly key: string;
}

/** Outputs of a whole batch; queries hold their index into it, so that nothing is copied per row. */
export class BatchOutputs {
  readonly tensors: readonly Tensor[];
  readonly count: number;
  readonly #elements: Map<Tensor, readonly Uint8Array[]> | undefined;

  /** @param isLasting kept for long: its elements, which take many times the memory of their bytes, are not */
  constructor(tensors: readonly Tensor[], count: number, isLasting = false) {
    this.tensors = tensors;
    this.count = count;
    this.#elements = isLasting ? undefined : new Map();
  }

  /** Elements of a BYTES tensor, cut once for all rows. @throws TensorFormatError */
  elements(tensor: Tensor): readonly Uint8Array[] {
    let elements = this.#elements?.get(tensor);
    if (elements === undefined) {
      let count = 1;
      for (const size of tensor.shape) count *= size;
      elements = decodeBytes(tensor.data, count);
      this.#elements?.set(tensor, elements);
    }
    return elements;
  }
}

/** Of queries whose callers ask for none: between the classes that go before it and those that go behind. */
export const DEFAULT_PRIORITY = 5;
/** The last class. */
export const LOWEST_PRIORITY = 10;

/** Outputs of the batch that a query was in, and its place among them. */
export interface Prediction {
  readonly kind: "ok";
  readonly outputs: BatchOutputs;
  readonly index: number;
}

/** What the queue settles a query with. */
export type Settlement = Prediction | { readonly kind: "error"; readonly error: WindjammerError };

/** One input of one caller, on its way. Times are `performance.now()` ms. */
export interface Query {
  readonly row: Row;
  readonly arrivedAt: number;
  /** Infinity: none. */
  readonly deadlineAt: number;
  /** 1 goes first; undefined: `DEFAULT_PRIORITY`. */
  readonly priority?: number | undefined;
  /** True for one that no caller sent, as of a deployment: it has no part in how many arrive. Default false. */
  readonly isTrial?: boolean;
  /** Set by the caller of the queue when nobody waits any more; the queue then drops it. */
  isAbandoned: boolean;
  /** True where it has its prediction from elsewhere: the queue then forgets it. */
  readonly isSettled?: boolean;
  /** Called exactly once. */
  settle(settlement: Settlement): void;
  /** The prediction, where it came after the query was settled; what `row` was in may have gone by then. */
  late?(prediction: Prediction): void;
}

/** What a caller gets. */
export type Outcome =
  | (Prediction & { readonly version: string })
  | {
      readonly kind: "default";
      /** The application's default output, as JSON text. */
      readonly output: string;
      readonly reason: DefaultReason;
      readonly explanation: string;
      /** What it stands in for: for callers who cannot be given it. */
      readonly error: WindjammerError;
    }
  | { readonly kind: "error"; readonly error: WindjammerError };

export type DefaultReason = "deadline" | "shed" | "no-model" | "no-replica" | "model-error" | "replica-lost";
