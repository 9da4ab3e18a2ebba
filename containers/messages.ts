// What the main thread and the model's worker thread say to each other.
import type { BatchResult } from "./loader.ts";
import type { Manifest } from "./protocol.ts";
import type { Tensor } from "./tensors.ts";

/** `workerData` of the worker. */
export interface WorkerSettings {
  readonly loaderUrl: string;
  readonly modelDir: string;
  readonly manifest: Manifest;
  readonly threads: number;
}

export type ToWorker =
  | {
      readonly kind: "predict";
      readonly id: number;
      readonly count: number;
      readonly inputs: readonly Tensor[];
      /** Until nobody waits for the answer any more. */
      readonly remainingMs: number | undefined;
    }
  | { readonly kind: "cancel"; readonly id: number }
  | { readonly kind: "close" };

export type FromWorker =
  | { readonly kind: "ready" }
  | { readonly kind: "load-failed"; readonly message: string }
  | {
      readonly kind: "result";
      readonly id: number;
      readonly result: BatchResult;
      /** Microseconds in the loader. */
      readonly computeUs: number;
    }
  | { readonly kind: "closed" };
