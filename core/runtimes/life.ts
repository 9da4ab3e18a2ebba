// The life of a runtime: opened by one server, its work awaited, closed once; and the logs of replicas that have gone.
import { InvalidOptionsError, ShuttingDownError, WindjammerError } from "../errors.ts";
import type { ReplicaLog } from "./replica-log.ts";

/** Replicas that have gone and whose log files are kept: a version that crashes again and again starts many. */
const KEPT_LOGS = 50;

/** @typeParam Opened what a runtime has while it is open */
export class RuntimeLife<Opened> {
  readonly #name: string;
  readonly #pending = new Set<Promise<unknown>>();
  readonly #oldLogs: ReplicaLog[] = [];
  /** By the one server that it may have in its life. */
  #isTaken = false;
  #opened: Opened | undefined;
  #closed: Promise<void> | undefined;

  /** @param name of the runtime, for errors */
  constructor(name: string) {
    this.#name = name;
  }

  /** When `begin` fails, the runtime can be opened again. @throws InvalidOptionsError when it has a server already */
  async open(begin: () => Promise<Opened>): Promise<void> {
    if (this.#isTaken) {
      throw new InvalidOptionsError("this runtime is used by another server; make a new one", {
        details: { option: "runtime" },
      });
    }
    this.#isTaken = true;
    try {
      this.#opened = await begin();
    } catch (error) {
      this.#isTaken = false;
      throw error;
    }
  }

  /** @throws ShuttingDownError */
  get opened(): Opened {
    if (this.#closed !== undefined)
      throw new ShuttingDownError(`the ${this.#name} runtime is closing; start nothing new`);
    if (this.#opened === undefined)
      throw new WindjammerError(`the ${this.#name} runtime is not open; call open() first`);
    return this.#opened;
  }

  /** Work that closing waits for. @throws ShuttingDownError */
  async track<T>(work: (opened: Opened) => Promise<T>): Promise<T> {
    const running = work(this.opened);
    this.#pending.add(running);
    try {
      return await running;
    } finally {
      this.#pending.delete(running);
    }
  }

  /** Keeps the file of a log that has ended, and removes the oldest one kept. */
  async keepLog(log: ReplicaLog): Promise<void> {
    this.#oldLogs.push(log);
    if (this.#oldLogs.length > KEPT_LOGS) await this.#oldLogs.shift()?.removeFile();
  }

  /**
   * Once, also when called again.
   * @param abort cuts short the work that runs
   * @param end called when no work runs any more
   */
  close({ abort, end }: Closing<Opened>): Promise<void> {
    this.#closed ??= this.#close({ abort, end });
    return this.#closed;
  }

  async #close({ abort, end }: Closing<Opened>): Promise<void> {
    const opened = this.#opened;
    if (opened === undefined) return;
    abort(opened, new ShuttingDownError(`the ${this.#name} runtime is closing`));
    await Promise.allSettled(this.#pending);
    await end(opened);
  }
}

interface Closing<Opened> {
  readonly abort: (opened: Opened, why: ShuttingDownError) => void;
  readonly end: (opened: Opened) => Promise<void>;
}
