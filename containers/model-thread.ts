// The main thread's side of the model: gives batches to the worker thread, one after the other.
import { rmSync } from "node:fs";
import { Worker } from "node:worker_threads";
import { type Call, CallQueue, type Predicting } from "./call-queue.ts";
import { heapLimits } from "./memory.ts";
import { type FromWorker, type ToWorker, transferOf, type WorkerSettings } from "./messages.ts";
import { RequestError } from "./request-error.ts";

/** How the worker ended on its own: a throw outside a predict call, or an exit code the model chose. */
export interface ThreadEnd {
  readonly exitCode: number;
  readonly error: Error | undefined;
}

const CLOSE_WAIT_MS = 2000;

export class ModelThread implements Predicting {
  /** Resolves when the model is loaded and warm; rejects with the loader's message. */
  readonly ready: Promise<void>;
  /** Settles when the worker ends without having been asked to. */
  readonly ended: Promise<ThreadEnd>;
  readonly #worker: Worker;
  readonly #calls: CallQueue;
  readonly #inferSocket: string | undefined;
  #hasInferSocket = false;
  #isReady = false;
  #isClosing = false;
  readonly #loaded: PromiseWithResolvers<void> = Promise.withResolvers();
  readonly #drained: PromiseWithResolvers<void> = Promise.withResolvers();
  readonly #closed: PromiseWithResolvers<void> = Promise.withResolvers();

  constructor(settings: WorkerSettings, memoryLimitMb: number | undefined) {
    const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
    this.#worker = new Worker(new URL(`./worker.${extension}`, import.meta.url), {
      name: "model",
      workerData: settings,
      resourceLimits: heapLimits(memoryLimitMb),
    });
    this.#inferSocket = settings.inferSocket;
    this.#calls = new CallQueue({
      start: (id, call) => this.#start(id, call),
      cancel: (id) => this.#send({ kind: "cancel", id }, []),
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
      this.#drained.resolve();
      this.#closed.resolve();
      if (!this.#isClosing) ended.resolve({ exitCode, error: failure });
    });
  }

  get isReady(): boolean {
    return this.#isReady && !this.#isClosing;
  }

  /** Path of the socket on which the worker takes infer calls; undefined: it has none. */
  get inferSocket(): string | undefined {
    return this.#hasInferSocket ? this.#inferSocket : undefined;
  }

  predict(call: Call): ReturnType<Predicting["predict"]> {
    return this.#calls.predict(call);
  }

  /** Resolves when the calls of the infer socket are answered and its connections closed. */
  async drain(): Promise<void> {
    if (!this.#hasInferSocket) return;
    this.#send({ kind: "drain" }, []);
    await this.#drained.promise;
  }

  /** Lets the model close, then ends the worker; true when it has ended within two seconds. */
  async close(): Promise<boolean> {
    this.#isClosing = true;
    if (this.#isReady && !this.#calls.isRunning) {
      this.#send({ kind: "close" }, []);
      await within(CLOSE_WAIT_MS / 2, this.#closed.promise);
    }
    const hasEnded = await within(CLOSE_WAIT_MS / 2, this.#worker.terminate());
    if (this.#inferSocket !== undefined) rmSync(this.#inferSocket, { force: true });
    return hasEnded;
  }

  #start(id: number, { count, inputs, deadlineAt }: Call): void {
    const message: ToWorker = {
      kind: "predict",
      id,
      count,
      inputs,
      deadlineAt: performance.timeOrigin + deadlineAt,
    };
    this.#send(message, transferOf(inputs));
  }

  #receive(message: FromWorker): void {
    if (message.kind === "result") {
      this.#calls.finish(message);
    } else if (message.kind === "refused") {
      this.#calls.finish(new RequestError(message.statusCode, message.message));
    } else if (message.kind === "ready") {
      this.#isReady = true;
      this.#hasInferSocket = message.hasInferSocket;
      this.#loaded.resolve();
      this.#calls.open();
    } else if (message.kind === "load-failed") {
      this.#loaded.reject(new Error(message.message));
    } else if (message.kind === "drained") {
      this.#drained.resolve();
    } else {
      this.#closed.resolve();
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
