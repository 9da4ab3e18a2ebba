// The model's worker thread: loads it, warms it up, and predicts one batch after the other.
import { writeSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";
import { type Call, CallQueue, type Predicting } from "./call-queue.ts";
import { CallContext, CallSignal } from "./call-signal.ts";
import { InferServer } from "./infer-server.ts";
import type { Batch, BatchResult, LoadedModel, Loader } from "./loader.ts";
import { type FromWorker, type ToWorker, transferOf, type WorkerSettings } from "./messages.ts";
import type { Contract, ItemError } from "./protocol.ts";
import type { RequestError } from "./request-error.ts";
import { emptyTensor, type Tensor } from "./tensors.ts";
import { tidyHeap } from "./lean-start.ts";
import { errorText, logError, modelError } from "./user-function.ts";

/** Longest wait for a log reader that is behind, before lines are dropped. */
const MAX_LOG_WAIT_MS = 5000;

/**
 * A worker's own streams go through the main thread's event loop and hold back all but the first line while the
 * model computes: lines written before a crash would be lost, so they are written at once.
 */
function writeThrough(stream: NodeJS.WriteStream, fd: 1 | 2): void {
  stream.write = (chunk: Uint8Array | string, ...rest: unknown[]): boolean => {
    const encoding = typeof rest[0] === "string" ? (rest[0] as BufferEncoding) : "utf8";
    writeAll(fd, typeof chunk === "string" ? Buffer.from(chunk, encoding) : chunk);
    const done = rest.find((argument) => typeof argument === "function");
    if (done !== undefined) queueMicrotask(done as () => void);
    return true;
  };
}

function writeAll(fd: number, bytes: Uint8Array): void {
  const pause = new Int32Array(new SharedArrayBuffer(4));
  let waitedMs = 0;
  for (let offset = 0; offset < bytes.byteLength;) {
    try {
      offset += writeSync(fd, bytes, offset);
    } catch (error) {
      // EAGAIN: the pipe is full. Anything else: nobody reads the log any more.
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN" || waitedMs >= MAX_LOG_WAIT_MS) return;
      Atomics.wait(pause, 0, 0, 5);
      waitedMs += 5;
    }
  }
}

type PredictMessage = Extract<ToWorker, { kind: "predict" }>;

/** Its signal is made when the model asks for it. */
class RunningBatch extends CallContext implements Batch {
  readonly count: number;
  readonly inputs: readonly Tensor[];

  constructor(count: number, inputs: readonly Tensor[], signal: CallSignal) {
    super(signal);
    this.count = count;
    this.inputs = inputs;
  }
}

class ModelWorker implements Predicting {
  readonly isReady = true;
  readonly #model: LoadedModel;
  readonly #contract: Contract;
  readonly #post: Post;
  readonly #calls: CallQueue;
  /** Of the call that runs. */
  #signal: CallSignal | undefined;
  /** Calls of the main thread, by its number: it sends one at a time. */
  readonly #cancels = new Map<number, () => void>();
  #server: InferServer | undefined;

  constructor(model: LoadedModel, contract: Contract, post: Post) {
    this.#model = model;
    this.#contract = contract;
    this.#post = post;
    this.#calls = new CallQueue({
      start: (_id, call) => void this.#run(call),
      cancel: () => this.#signal?.cancel(),
    });
    this.#calls.open();
  }

  predict(call: Call): ReturnType<Predicting["predict"]> {
    return this.#calls.predict(call);
  }

  /** Takes infer calls itself, which spares each the way through the main thread. False when it cannot listen. */
  async listen({ model, manifest, inferSocket }: WorkerSettings): Promise<boolean> {
    if (inferSocket === undefined) return false;
    const reusesBodies = this.#model.releasesInputs ?? false;
    const server = new InferServer({ model, manifest, calls: this, reusesBodies });
    try {
      await server.listen(inferSocket);
    } catch (error) {
      console.error(`windjammer: infer calls go through the main thread: ${(error as Error).message}`);
      return false;
    }
    this.#server = server;
    return true;
  }

  async handle(message: ToWorker): Promise<void> {
    if (message.kind === "predict") return this.#predictFor(message);
    if (message.kind === "cancel") return this.#cancels.get(message.id)?.();
    if (message.kind === "drain") {
      // What came while the model kept this thread busy is not even accepted yet.
      for (let turn = 0; turn < 3; turn++) await new Promise(setImmediate);
      await this.#server?.drain();
      return this.#post({ kind: "drained" }, []);
    }
    await this.#model.close?.();
    this.#post({ kind: "closed" }, []);
  }

  /** A call that came through the main thread. */
  async #predictFor({ id, count, inputs, deadlineAt }: PredictMessage): Promise<void> {
    const call = { count, inputs, deadlineAt: deadlineAt - performance.timeOrigin };
    const { prediction, cancel } = this.predict(call);
    this.#cancels.set(id, cancel);
    try {
      const { result, computeUs } = await prediction;
      const outputs = result.outputs.map(ownBuffer);
      this.#post({ kind: "result", id, result: { ...result, outputs }, computeUs }, transferOf(outputs));
    } catch (error) {
      const { statusCode, message } = error as RequestError;
      this.#post({ kind: "refused", id, statusCode, message }, []);
    } finally {
      this.#cancels.delete(id);
    }
  }

  async #run({ count, inputs, deadlineAt }: Call): Promise<void> {
    const signal = new CallSignal(deadlineAt === Infinity ? undefined : deadlineAt - performance.now());
    this.#signal = signal;
    const batch = new RunningBatch(count, inputs, signal);
    const startedAt = performance.now();
    let result: BatchResult;
    try {
      result = await this.#model.predict(batch);
      checkResult(result, this.#contract, count);
    } catch (error) {
      logError("predict", error);
      result = failedBatch(this.#contract, count, modelError(error));
    }
    const computeUs = Math.round((performance.now() - startedAt) * 1000);
    signal.end();
    this.#signal = undefined;
    this.#calls.finish({ result, computeUs });
  }
}

/** Only a buffer that the tensor fills alone may be transferred: others (Node's pool) hold more. */
function ownBuffer(tensor: Tensor): Tensor {
  const { data } = tensor;
  const isOwn = data.buffer instanceof ArrayBuffer && data.byteLength === data.buffer.byteLength;
  return isOwn ? tensor : { ...tensor, data: new Uint8Array(data) };
}

/** A loader that breaks its contract must not give one caller another one's rows. */
function checkResult(result: BatchResult, contract: Contract, count: number): void {
  if (result.outputs.length !== contract.outputs.length)
    throw new Error(`the loader gave ${result.outputs.length} outputs, not ${contract.outputs.length}`);
  for (const { name, shape } of result.outputs)
    if (shape[0] !== count)
      throw new Error(`the loader gave ${shape[0]} rows of output ${name}, not ${count}`);
  if (result.errors !== undefined && result.errors.length !== count)
    throw new Error(`the loader gave ${result.errors.length} error entries for ${count} rows`);
}

function failedBatch(contract: Contract, count: number, error: ItemError): BatchResult {
  return {
    outputs: contract.outputs.map((spec) => emptyTensor(spec, count)),
    errors: Array.from({ length: count }, () => error),
  };
}

type Post = (message: FromWorker, transfer: ArrayBuffer[]) => void;

async function loadModel(settings: WorkerSettings): Promise<LoadedModel> {
  const { loader } = (await import(settings.loaderUrl)) as { loader: Loader };
  const model = await loader.load(settings);
  try {
    await model.warmUp?.();
  } catch (error) {
    // Made-up input need not suit every model; the deployment's examples are the real check.
    console.error(`warm-up failed, which may be harmless: ${errorText(error)}`);
  }
  tidyHeap();
  return model;
}

async function run(): Promise<void> {
  const port = parentPort;
  if (port === null) throw new Error("worker.js is started by server.js, not on its own");
  writeThrough(process.stdout, 1);
  writeThrough(process.stderr, 2);
  const post: Post = (message, transfer) => port.postMessage(message, transfer);
  const settings = workerData as WorkerSettings;
  let model: LoadedModel;
  try {
    model = await loadModel(settings);
  } catch (error) {
    if (error instanceof Error && error.cause instanceof Error) console.error(error.cause.stack);
    return post(
      { kind: "load-failed", message: error instanceof Error ? error.message : errorText(error) },
      [],
    );
  }
  const worker = new ModelWorker(model, settings.manifest.contract, post);
  port.on("message", (message: ToWorker) => void worker.handle(message));
  post({ kind: "ready", hasInferSocket: await worker.listen(settings) }, []);
}

await run();
