// The calls of a model, one after the other: those that arrive meanwhile wait, and may be given up.
import type { BatchResult } from "./loader.ts";
import { RequestError } from "./request-error.ts";
import type { Tensor } from "./tensors.ts";

export interface Prediction {
  readonly result: BatchResult;
  readonly computeUs: number;
}

/** One infer call. */
export interface Call {
  readonly count: number;
  readonly inputs: readonly Tensor[];
  /** `performance.now()` ms at which nobody waits any more; Infinity: never. */
  readonly deadlineAt: number;
}

/** Takes calls of a model; its buffers are given away or copied. */
export interface Predicting {
  /** The model is loaded and not being stopped. */
  readonly isReady: boolean;
  /** `cancel` says that nobody waits any more. The promise rejects with RequestError 504 when the deadline passes first. */
  predict(call: Call): { readonly prediction: Promise<Prediction>; readonly cancel: () => void };
}

/** What runs the calls. */
export interface CallRunner {
  /** Begins a call; `finish` ends it. */
  start(id: number, call: Call): void;
  /** Nobody waits for the call that runs. */
  cancel(id: number): void;
}

interface Waiting {
  readonly id: number;
  readonly call: Call;
  readonly resolve: (prediction: Prediction) => void;
  readonly reject: (error: Error) => void;
}

export class CallQueue {
  readonly #runner: CallRunner;
  readonly #waiting: Waiting[] = [];
  #running: Waiting | undefined;
  #isOpen = false;
  #sequence = 0;

  constructor(runner: CallRunner) {
    this.#runner = runner;
  }

  get isRunning(): boolean {
    return this.#running !== undefined;
  }

  /** The model is ready: calls begin to run. */
  open(): void {
    this.#isOpen = true;
    this.#next();
  }

  predict(call: Call): ReturnType<Predicting["predict"]> {
    this.#sequence += 1;
    const id = this.#sequence;
    const { promise, resolve, reject } = Promise.withResolvers<Prediction>();
    this.#waiting.push({ id, call, resolve, reject });
    this.#next();
    return { prediction: promise, cancel: () => this.#cancel(id) };
  }

  /** The call that runs has ended. */
  finish(outcome: Prediction | Error): void {
    const done = this.#running;
    this.#running = undefined;
    if (outcome instanceof Error) done?.reject(outcome);
    else done?.resolve(outcome);
    this.#next();
  }

  #next(): void {
    while (this.#running === undefined && this.#isOpen) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      if (next.call.deadlineAt <= performance.now()) {
        next.reject(new RequestError(504, "the deadline passed before the model could start"));
        continue;
      }
      this.#running = next;
      this.#runner.start(next.id, next.call);
    }
  }

  #cancel(id: number): void {
    const index = this.#waiting.findIndex((waiting) => waiting.id === id);
    if (index !== -1) {
      const [waiting] = this.#waiting.splice(index, 1);
      waiting?.reject(new RequestError(499, "the caller has gone"));
    } else if (this.#running?.id === id) {
      this.#runner.cancel(id);
    }
  }
}
