// The main thread's side of the model: gives batches to the worker thread, one after the other.
import { Worker } from "node:worker_threads";
import type { BatchResult } from "./loader.ts";
import { heapLimits } from "./memory.ts";
import { type FromWorker, type ToWorker, transferOf, type WorkerSettings } from "./messages.ts";
import { RequestError } from "./request-error.ts";
import type { Tensor } from "./tensors.ts";

/** How the worker ended on its own: a throw outside a predict call, or an exit code the model chose. */
export interface ThreadEnd {
  readonly exitCode: number;
  readonly error: Error | undefined;
}

export interface Prediction {
  readonly result: BatchResult;
  readonly computeUs: number;
}

/** One infer call on its way to the worker. */
export interface Call {
  readonly count: number;
  readonly inputs: readonly Tensor[];
  /** `performance.now()` ms at which nobody waits any more; Infinity: never. */
  readonly deadlineAt: number;
}

interface Waiting {
  readonly id: number;
  readonly call: Call;
  readonly resolve: (prediction: Prediction) => void;
  readonly reject: (error: Error) => void;
}

const CLOSE_WAIT_MS = 2000;

export class ModelThread {
  /** Resolves when the model is loaded and warm; rejects with the loader's message. */
  readonly ready: Promise<void>;
  /** Settles when the worker ends without having been asked to. */
  readonly ended: Promise<ThreadEnd>;
  readonly #worker: Worker;
  readonly #queue: Waiting[] = [];
  #running: Waiting | undefined;
  #isReady = false;
  #isClosing = false;
  #sequence = 0;
  readonly #loaded: PromiseWithResolvers<void> = Promise.withResolvers();
  readonly #closed: PromiseWithResolvers<void> = Promise.withResolvers();

  constructor(settings: WorkerSettings, memoryLimitMb: number | undefined) {
    const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
    this.#worker = new Worker(new URL(`./worker.${extension}`, import.meta.url), {
      name: "model",
      workerData: settings,
      resourceLimits: heapLimits(memoryLimitMb),
    });
    this.ready = this.#loaded.promise;
    const ended = Promise.withResolvers<ThreadEnd>();
    this.ended = ended.promise;
    let failure: Error | undefined;
    this.#worker.on("message", (message: FromWorker) => this.#receive(message));
    this.#worker.on("error", (error: Error) => {
      failure = error;
    });
    this.#worker.on("exit", (exitCode) => {
      this.#closed.resolve();
      if (!this.#isClosing) ended.resolve({ exitCode, error: failure });
    });
  }

  get isReady(): boolean {
    return this.#isReady && !this.#isClosing;
  }

  /**
   * Queues a batch; its buffers are given away or copied. The returned function says that nobody waits any more.
   * @throws RequestError (504) through the promise when the deadline passes before its turn
   */
  predict(call: Call): { readonly prediction: Promise<Prediction>; readonly cancel: () => void } {
    this.#sequence += 1;
    const id = this.#sequence;
    const { promise, resolve, reject } = Promise.withResolvers<Prediction>();
    this.#queue.push({ id, call, resolve, reject });
    this.#next();
    return { prediction: promise, cancel: () => this.#cancel(id) };
  }

  /** Lets the model close, then ends the worker; true when it has ended within two seconds. */
  async close(): Promise<boolean> {
    this.#isClosing = true;
    if (this.#isReady && this.#running === undefined) {
      this.#send({ kind: "close" }, []);
      await within(CLOSE_WAIT_MS / 2, this.#closed.promise);
    }
    return within(CLOSE_WAIT_MS / 2, this.#worker.terminate());
  }

  #next(): void {
    while (this.#running === undefined && this.#isReady) {
      const next = this.#queue.shift();
      if (next === undefined) return;
      const remainingMs = next.call.deadlineAt - performance.now();
      if (remainingMs <= 0) {
        next.reject(new RequestError(504, "the deadline passed before the model could start"));
        continue;
      }
      this.#running = next;
      const { count, inputs } = next.call;
      this.#send(
        {
          kind: "predict",
          id: next.id,
          count,
          inputs,
          remainingMs: remainingMs === Number.POSITIVE_INFINITY ? undefined : remainingMs,
        },
        transferOf(inputs),
      );
    }
  }

  #receive(message: FromWorker): void {
    if (message.kind === "result") {
      const done = this.#running;
      this.#running = undefined;
      done?.resolve(message);
      this.#next();
    } else if (message.kind === "ready") {
      this.#isReady = true;
      this.#loaded.resolve();
      this.#next();
    } else if (message.kind === "load-failed") {
      this.#loaded.reject(new Error(message.message));
    } else {
      this.#closed.resolve();
    }
  }

  #cancel(id: number): void {
    const index = this.#queue.findIndex((waiting) => waiting.id === id);
    if (index !== -1) {
      const [waiting] = this.#queue.splice(index, 1);
      waiting?.reject(new RequestError(499, "the caller has gone"));
    } else if (this.#running?.id === id) {
      this.#send({ kind: "cancel", id }, []);
    }
  }

  #send(message: ToWorker, transfer: ArrayBuffer[]): void {
    this.#worker.postMessage(message, transfer);
  }
}

async function within(ms: number, promise: Promise<unknown>): Promise<boolean> {
  const { promise: late, resolve } = Promise.withResolvers<false>();
  const timer = setTimeout(resolve, ms, false);
  try {
    return await Promise.race([promise.then(() => true as const), late]);
  } finally {
    clearTimeout(timer);
  }
}
