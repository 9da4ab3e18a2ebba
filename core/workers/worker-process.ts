// One worker process, from its start to its end: what it is told, what it says, and the connections it was given.
import { type ChildProcess, fork } from "node:child_process";
import type { Socket } from "node:net";
import { fileURLToPath } from "node:url";
import { patience } from "../wait.ts";
import type { FromWorker, ToWorker } from "./messages.ts";

export interface WorkerListener {
  /** It can be told things, with `begin` first. */
  hello(worker: WorkerProcess): void;
  /** It takes connections. */
  ready(worker: WorkerProcess): void;
  heard(worker: WorkerProcess, message: Extract<FromWorker, { kind: "counts" | "doubt" }>): void;
  /** It has gone. @param untaken connections that it was given and has not taken: nothing of them was read */
  ended(worker: WorkerProcess, why: string, untaken: readonly Socket[]): void;
}

/** A call that is to be answered by `done`. */
type Call =
  Extract<ToWorker, { readonly id: number }> extends infer Message
    ? Message extends { readonly kind: "connection" }
      ? never
      : Message extends { readonly id: number }
        ? Omit<Message, "id">
        : never
    : never;

/** Pause before the channel of a worker that has ended is looked at again. */
const LISTEN_AGAIN_MS = 2;

export class WorkerProcess {
  readonly startedAt: string = new Date().toISOString();
  readonly #child: ChildProcess;
  readonly #listener: WorkerListener;
  readonly #ended: PromiseWithResolvers<void> = Promise.withResolvers();
  readonly #waiting = new Map<number, () => void>();
  readonly #untaken = new Map<number, Socket>();
  #lastId = 0;
  #silentTicks = 0;
  #state: "starting" | "told" | "ready" | "gone" = "starting";

  constructor(listener: WorkerListener) {
    this.#listener = listener;
    // Nothing of how the server itself was started, such as the port of a debugger, goes for its workers.
    this.#child = fork(entry(), [], { execArgv: [], serialization: "advanced" });
    this.#child.on("message", (message) => this.#heard(message as FromWorker));
    this.#child.once("exit", (code, signal) =>
      this.#endWhenHeardOut(signal === null ? `exited with code ${code}` : `was killed by ${signal}`),
    );
    // Its end follows, or it never began.
    this.#child.on("error", (error) => {
      if (this.#child.pid === undefined) this.#end(`could not be started: ${error.message}`);
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get isReady(): boolean {
    return this.#state === "ready";
  }

  /** Settles when it has gone. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /** Tells it something, unless it cannot hear yet, or any more: it begins with everything there is. */
  tell(message: ToWorker): void {
    if (this.#state === "starting" && message.kind !== "begin") return;
    if (message.kind === "begin") this.#state = "told";
    this.#send(message);
  }

  /** Resolves when it has done it, or has gone. One that takes longer than `timeoutMs` is ended: it hangs. */
  async call(message: Call, timeoutMs: number): Promise<void> {
    if (this.#state === "starting" || this.#state === "gone") return;
    const id = ++this.#lastId;
    const done = new Promise<void>((resolve) => {
      this.#waiting.set(id, resolve);
    });
    const over = new AbortController();
    void this.#killAfter(timeoutMs, over.signal);
    this.#send({ ...message, id });
    await done;
    over.abort();
  }

  /** Gives it a connection of which nothing was read. */
  give(socket: Socket): void {
    const id = ++this.#lastId;
    this.#untaken.set(id, socket);
    // Kept open here until the worker has it: should it end first, another one gets it.
    this.#send({ kind: "connection", id }, socket);
  }

  /** Called from time to time; gives how often since it was last heard. Counted, since a machine may sleep. */
  tick(): number {
    return (this.#silentTicks += 1);
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }

  /** Unless the signal aborts before. */
  async #killAfter(ms: number, signal: AbortSignal): Promise<void> {
    await patience(ms, signal);
    if (!signal.aborted) this.kill();
  }

  #send(message: ToWorker, socket?: Socket): void {
    if (!this.#child.connected) return;
    // Whatever goes wrong here is its end, which comes by itself.
    this.#child.send(message, socket, { keepOpen: true }, () => undefined);
  }

  #heard(message: FromWorker): void {
    this.#silentTicks = 0;
    if (message.kind === "hello") {
      this.#listener.hello(this);
    } else if (message.kind === "ready") {
      this.#state = "ready";
      this.#listener.ready(this);
    } else if (message.kind === "done") {
      this.#waiting.get(message.id)?.();
      this.#waiting.delete(message.id);
    } else if (message.kind === "took") {
      this.#untaken.get(message.id)?.destroy();
      this.#untaken.delete(message.id);
    } else {
      this.#listener.heard(this, message);
    }
  }

  /**
   * What it said before its end may be read after it: only then is it known which connections it took. Node emits no
   * "disconnect" where a connection was on its way.
   */
  #endWhenHeardOut(why: string): void {
    if (this.#child.connected) setTimeout(() => this.#endWhenHeardOut(why), LISTEN_AGAIN_MS);
    else this.#end(why);
  }

  #end(why: string): void {
    if (this.#state === "gone") return;
    this.#state = "gone";
    for (const done of this.#waiting.values()) done();
    this.#waiting.clear();
    const untaken = [...this.#untaken.values()];
    this.#untaken.clear();
    this.#ended.resolve();
    this.#listener.ended(this, why, untaken);
  }
}

/** The built file, or its source when this file runs from source itself. */
function entry(): string {
  const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
  return fileURLToPath(new URL(`./main.${extension}`, import.meta.url));
}
