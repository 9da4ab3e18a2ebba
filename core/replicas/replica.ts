// One replica that is ready: sends it batches, one at a time, and knows when it has gone.
import { Health } from "./health.ts";
import type { RunningReplica } from "../runtimes/runtime.ts";
import type { InferCall, InferDone, ReplicaTransport } from "./transport.ts";

/** What whoever sends batches to a container has to know of it. */
export type Occupant = Pick<RunningReplica, "id" | "exited" | "tail">;

export class Replica {
  readonly running: Occupant;
  readonly transport: ReplicaTransport;
  /** Asks it whether it is ready. */
  readonly isReady: () => Promise<boolean>;
  /** Answered a batch since its start: a crash after that is no start-up failure. */
  hasAnswered = false;
  /** When it last answered a batch, `performance.now()` ms; -Infinity: never. */
  answeredAt: number = -Infinity;
  readonly health: Health = new Health();
  #isBusy = false;
  #isGone = false;

  constructor(running: Occupant, transport: ReplicaTransport, isReady: () => Promise<boolean>) {
    this.running = running;
    this.transport = transport;
    this.isReady = isReady;
  }

  get id(): string {
    return this.running.id;
  }

  /** Free for a batch. */
  get isFree(): boolean {
    return !this.#isBusy && !this.#isGone;
  }

  /** A batch is on its way. */
  get isBusy(): boolean {
    return this.#isBusy;
  }

  /** Calls `done` once; the replica is free again before that, unless it has gone. */
  send(call: InferCall, done: InferDone): void {
    this.#isBusy = true;
    this.transport.infer(call, (error, reply) => {
      this.#isBusy = false;
      if (reply?.statusCode === 200) this.noteAnswer();
      done(error, reply);
    });
  }

  /** It answered a batch, of this process or of another. */
  noteAnswer(): void {
    this.hasAnswered = true;
    this.answeredAt = performance.now();
  }

  /** No batch goes to it from now on. */
  retire(): void {
    this.#isGone = true;
  }
}

/** What happened to a replica, with its last words: "replica digits-1-r1 exited with code 1: out of cheese". */
export function troubleOf(running: Occupant, what: string): string {
  return `replica ${running.id} ${withLastWords(running, what)}`;
}

/** How far back last words are looked for. */
const LOG_LINES = 5;
/** Our own container's line when it is ready: no cause of anything. */
const READY_LINE = /^windjammer: .* is ready on /;

/** `what`, and the last line the container wrote. */
export function withLastWords(running: Occupant, what: string): string {
  const last = running.tail(LOG_LINES).findLast(({ text }) => !READY_LINE.test(text));
  return last === undefined ? what : `${what}: ${last.text}`;
}
