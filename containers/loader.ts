// Contract of a loader: it loads a bundle's model once per replica and predicts lists.
import type { ItemError, Manifest } from "./protocol.ts";
import type { Tensor } from "./tensors.ts";

export interface LoadContext {
  /** The bundle's folder, absolute. Packages resolve from here. */
  readonly modelDir: string;
  readonly manifest: Manifest;
  /** Compute threads this replica may use. */
  readonly threads: number;
}

/** `count` rows: every input tensor has them on its first axis. */
export interface Batch {
  readonly count: number;
  readonly inputs: readonly Tensor[];
  /** Aborted when nobody waits for the answer any more. */
  readonly signal: AbortSignal;
}

export interface BatchResult {
  /** One per output of the contract, `count` rows each, in order. */
  readonly outputs: readonly Tensor[];
  /** One entry per row, where any row failed: the row's outputs then hold zeros or empty elements. */
  readonly errors?: readonly (ItemError | undefined)[];
}

export interface LoadedModel {
  /** Predicts one batch. A throw fails every row with MODEL_ERROR; prefer `errors` for single rows. */
  predict(batch: Batch): Promise<BatchResult>;
  /**
   * True: nothing holds a batch's inputs once its answer is written, so that their memory may serve the next batch.
   * Default false.
   */
  readonly releasesInputs?: boolean;
  /** Warm-up before the replica is ready: runs the model once on made-up input, where that is harmless. */
  warmUp?(): Promise<void>;
  close?(): Promise<void>;
}

/** What `containers/<name>/loader.ts` exports as `loader`. */
export interface Loader {
  /** @throws with a message for the user when the model cannot be loaded */
  load(context: LoadContext): Promise<LoadedModel>;
}
