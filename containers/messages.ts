// What the main thread and the model's worker thread say to each other.
import type { BatchResult } from "./loader.ts";
import type { Manifest } from "./protocol.ts";
import type { Tensor } from "./tensors.ts";

/** Below it a copy costs less than a transfer. */
const MIN_TRANSFER_BYTES = 16 * 1024;

/** The buffers of tensors that are given away with a message; it copies the others. */
export function transferOf(tensors: readonly Tensor[]): ArrayBuffer[] {
  const buffers: ArrayBuffer[] = [];
  for (const { data } of tensors) {
    const buffer = data.buffer as ArrayBuffer;
    if (buffer.byteLength >= MIN_TRANSFER_BYTES && !buffers.includes(buffer)) buffers.push(buffer);
  }
  return buffers;
}

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
