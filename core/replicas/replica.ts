// One replica that is ready: sends it batches, as many at a time as it may hold, and knows when it has gone.
import { Health } from "./health.ts";
import type { RunningReplica } from "../runtimes/runtime.ts";
import type { InferCall, InferDone, ReplicaTransport } from "./transport.ts";

/** What whoever sends batches to a container has to know of it. */
export type Occupant = Pick<RunningReplica, "id" | "exited" | "tail">;

export interface ReplicaOptions {
  /** Asks it whether it is ready. */
  readonly isReady: () => Promise<boolean>;
  /** Most batches that this process gives it at once. Default 1. */
  readonly maxInFlight?: number;
}

export class Replica {
  readonly running: Occupant;
  readonly transport: ReplicaTransport;
  readonly isReady: () => Promise<boolean>;
  readonly maxInFlight: number;
  /** Answered a batch since its start: a crash after that is no start-up failure. */
  hasAnswered = false;
  /** When it last answered a batch, `performance.now()` ms; -Infinity: never. */
  answeredAt: number = -Infinity;
  readonly health: Health = new Health();
  #taken = 0;
  #inFlight = 0;
  #isReserved = false;
  #isHeld = false;
  #isGone = false;
  #onIdle: (() => void)[] = [];

  constructor(running: Occupant, transport: ReplicaTransport, { isReady, maxInFlight }: ReplicaOptions) {
    this.running = running;
    this.transport = transport;
    this.isReady = isReady;
    this.maxInFlight = maxInFlight ?? 1;
  }

  get id(): string {
    return this.running.id;
  }

  /** Has room for a batch. */
  get isFree(): boolean {
    return this.#taken < this.maxInFlight && !this.#isReserved && !this.#isHeld && !this.#isGone;
  }

  /** Batches that it holds, or is about to be given. */
  get taken(): number {
    return this.#taken;
  }

  /** A batch is on its way. */
  get isBusy(): boolean {
    return this.#inFlight > 0;
  }

  get isGone(): boolean {
    return this.#isGone;
  }

  /** It is about to be given a batch; until `release` that one counts. */
  take(): void {
    this.#taken += 1;
  }

  /** The only batch that was taken stays the only one until it is released. */
  reserve(): void {
    this.#isReserved = true;
  }

  /** A batch that was taken is over. */
  release(): void {
    this.#taken -= 1;
    this.#isReserved = false;
  }

  /** It gets nothing more until `resume`; what it has it goes on with. */
  hold(): void {
    this.#isHeld = true;
  }

  resume(): void {
    this.#isHeld = false;
  }

  /** Calls `done` once. */
  send(call: InferCall, done: InferDone): void {
    this.#inFlight += 1;
    this.transport.infer(call, (error, reply) => {
      this.#inFlight -= 1;
      if (this.#inFlight === 0) for (const resolve of this.#onIdle.splice(0)) resolve();
      if (reply?.statusCode === 200) this.noteAnswer();
      done(error, reply);
    });
  }

  /** Resolves when no batch is on its way to it. */
  whenIdle(): Promise<void> {
    if (!this.isBusy) return Promise.resolve();
    return new Promise((resolve) => {
      this.#onIdle.push(resolve);
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
