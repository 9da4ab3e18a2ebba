// What the main thread and the model's worker thread say to each other.
import type { Prediction } from "./call-queue.ts";
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
  readonly model: { readonly name: string; readonly version: string };
  /** Path of the socket on which the worker itself takes infer calls; undefined: none. */
  readonly inferSocket: string | undefined;
}

export type ToWorker =
  | {
      readonly kind: "predict";
      readonly id: number;
      readonly count: number;
      readonly inputs: readonly Tensor[];
      /** When nobody waits any more, ms since the epoch, on which both threads agree; Infinity: never. */
      readonly deadlineAt: number;
    }
  | { readonly kind: "cancel"; readonly id: number }
  /** No new connections; answer what has arrived. */
  | { readonly kind: "drain" }
  | { readonly kind: "close" };

export type FromWorker =
  | { readonly kind: "ready"; readonly hasInferSocket: boolean }
  | { readonly kind: "load-failed"; readonly message: string }
  | ({ readonly kind: "result"; readonly id: number } & Prediction)
  /** The deadline passed while it waited behind calls of the infer socket. */
  | { readonly kind: "refused"; readonly id: number; readonly statusCode: number; readonly message: string }
  | { readonly kind: "drained" }
  | { readonly kind: "closed" };
