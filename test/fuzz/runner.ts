// Sends generated requests to a server in this process, and holds it to what may come back: no crash, no hang, no leak,
// and no status that is not documented.
import { once } from "node:events";
import { Agent, request as httpRequest } from "node:http";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { Random } from "./random.ts";

/** One request. `url` is the server's base URL. */
export type FuzzCase =
  | {
      readonly kind: "http";
      readonly url: string;
      readonly method: string;
      readonly path: string;
      readonly headers?: Readonly<Record<string, string>>;
      readonly body: Buffer;
    }
  /** Bytes as they are, in pieces; the connection is then closed from this side. */
  | { readonly kind: "raw"; readonly url: string; readonly pieces: readonly Buffer[] }
  /** Something else; gives the status to report, throws when it went wrong. */
  | { readonly kind: "call"; readonly run: () => Promise<number | undefined> };

export interface FuzzReply {
  /** Undefined: the connection was closed without a reply, which only raw requests may see. */
  readonly status: number | undefined;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
}

/** What a dialect's file makes: a server that is up, requests for it, and what it may answer. */
export interface FuzzTarget extends AsyncDisposable {
  readonly name: string;
  generate(random: Random): FuzzCase;
  /** What is wrong with a reply; undefined: nothing. */
  check(fuzzed: FuzzCase, reply: FuzzReply): string | undefined;
  /** A proper request gets its proper answer. Throws otherwise. */
  verify(): Promise<void>;
}

export interface FuzzOptions {
  readonly requests: number;
  /** Ends earlier when this long has passed. */
  readonly seconds: number;
  readonly seed: number;
}

export interface FuzzReport {
  readonly name: string;
  readonly requests: number;
  readonly seconds: number;
  /** How many got which status; 0: closed without one. */
  readonly statuses: Readonly<Record<string, number>>;
  /** Heap in use after a collection, MiB: after the first tenth, and at the end. */
  readonly heapMiB: readonly [number, number];
  readonly failures: readonly string[];
}

const CONCURRENCY = 24;
/** Longer than any limit of a server that is fuzzed. */
const HANG_MS = 20_000;
const MAX_FAILURES = 20;
/** Growth of the heap between the first tenth and the end that is no leak: caches and metrics fill up. */
const MAX_GROWTH_MIB = 12;

/** Runs one target until the requests or the time are used up. */
export async function fuzz(target: FuzzTarget, options: FuzzOptions): Promise<FuzzReport> {
  const run = new Run(target, options);
  return run.finish();
}

class Run {
  readonly #target: FuzzTarget;
  readonly #options: FuzzOptions;
  readonly #random: Random;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: CONCURRENCY });
  readonly #statuses: Record<string, number> = {};
  readonly #failures: string[] = [];
  #sent = 0;
  #warmHeap = 0;

  constructor(target: FuzzTarget, options: FuzzOptions) {
    this.#target = target;
    this.#options = options;
    this.#random = new Random(options.seed);
  }

  async finish(): Promise<FuzzReport> {
    const { seconds: limit } = this.#options;
    const startedAt = performance.now();
    const onCrash = (error: unknown): void => this.#fail(`uncaught: ${describe(error)}`);
    process.on("uncaughtException", onCrash).on("unhandledRejection", onCrash);
    try {
      await this.#target.verify();
      const until = startedAt + limit * 1000;
      await Promise.all(Array.from({ length: CONCURRENCY }, () => this.#work(until)));
      await this.#target.verify();
    } catch (error) {
      this.#fail(`the server does not answer properly any more: ${describe(error)}`);
    } finally {
      this.#agent.destroy();
      process.off("uncaughtException", onCrash).off("unhandledRejection", onCrash);
    }
    const heap = await heapMiB();
    const warm = this.#warmHeap || heap;
    if (heap - warm > MAX_GROWTH_MIB) this.#fail(`the heap grew from ${warm} to ${heap} MiB`);
    return {
      name: this.#target.name,
      requests: this.#sent,
      seconds: Math.round((performance.now() - startedAt) / 100) / 10,
      statuses: this.#statuses,
      heapMiB: [warm, heap],
      failures: this.#failures,
    };
  }

  async #work(until: number): Promise<void> {
    const { requests } = this.#options;
    while (this.#sent < requests && performance.now() < until && this.#failures.length < MAX_FAILURES) {
      const number = ++this.#sent;
      if (number === Math.ceil(requests / 10)) this.#warmHeap = await heapMiB();
      await this.#one(number, this.#target.generate(this.#random));
    }
  }

  async #one(number: number, fuzzed: FuzzCase): Promise<void> {
    const hang = new AbortController();
    try {
      const sent = this.#send(fuzzed, hang.signal);
      const reply = await Promise.race([sent, sleep(HANG_MS, undefined, { signal: hang.signal })]);
      if (reply === undefined) throw new Error(`no reply within ${HANG_MS} ms`);
      const status = String(reply.status ?? 0);
      this.#statuses[status] = (this.#statuses[status] ?? 0) + 1;
      const wrong = this.#target.check(fuzzed, reply);
      if (wrong !== undefined) throw new Error(wrong);
    } catch (error) {
      this.#fail(`request ${number}: ${describe(error)}\n  ${show(fuzzed)}`);
    } finally {
      hang.abort();
    }
  }

  #send(fuzzed: FuzzCase, signal: AbortSignal): Promise<FuzzReply> {
    if (fuzzed.kind === "http") return this.#http(fuzzed, signal);
    return fuzzed.kind === "raw" ? raw(fuzzed, signal) : call(fuzzed);
  }

  #http(fuzzed: Extract<FuzzCase, { kind: "http" }>, signal: AbortSignal): Promise<FuzzReply> {
    const { url, method, path, headers, body } = fuzzed;
    return new Promise((resolve, reject) => {
      const { hostname, port } = new URL(url);
      const outgoing = httpRequest(
        { agent: this.#agent, hostname, port, method, path, signal },
        (response) => {
          const chunks: Buffer[] = [];
          response.on("data", (chunk: Buffer) => chunks.push(chunk));
          response.on("error", reject);
          response.on("end", () =>
            resolve({ status: response.statusCode, headers: response.headers, body: Buffer.concat(chunks) }),
          );
        },
      );
      outgoing.on("error", reject);
      outgoing.setHeader("content-length", body.length);
      for (const [name, value] of Object.entries(headers ?? {})) outgoing.setHeader(name, value);
      outgoing.end(body);
    });
  }

  #fail(text: string): void {
    if (this.#failures.length < MAX_FAILURES) this.#failures.push(text);
  }
}

async function call({ run }: Extract<FuzzCase, { kind: "call" }>): Promise<FuzzReply> {
  return { status: await run(), headers: {}, body: Buffer.alloc(0) };
}

/** Of the first answer; 100 is none. */
const FIRST_STATUS = /^(?:HTTP\/1\.1 100 Continue\r\n\r\n)?HTTP\/1\.[01] (?!100)(\d{3})/;
/** A client waits so long for an answer before it closes its side, which ends what is still due. */
const PATIENCE_MS = 50;

/** Only the status of the first reply is read. */
function raw({ url, pieces }: Extract<FuzzCase, { kind: "raw" }>, signal: AbortSignal): Promise<FuzzReply> {
  return new Promise((resolve) => {
    const { hostname, port } = new URL(url);
    const socket = connect(Number(port), hostname);
    const chunks: Buffer[] = [];
    const end = (): void => {
      const body = Buffer.concat(chunks);
      const status = FIRST_STATUS.exec(body.toString("latin1", 0, 200))?.[1];
      resolve({ status: status === undefined ? undefined : Number(status), headers: {}, body });
    };
    socket.on("data", (chunk: Buffer) => chunks.push(chunk));
    // Closed in the middle of what is sent: that is an answer, too.
    socket.on("error", () => undefined);
    socket.on("close", end);
    signal.addEventListener("abort", () => socket.destroy(), { once: true });
    void feed(socket, pieces);
  });
}

async function feed(socket: ReturnType<typeof connect>, pieces: readonly Buffer[]): Promise<void> {
  for (const piece of pieces) {
    if (socket.destroyed) return;
    socket.write(piece);
    if (pieces.length > 1) await sleep(1);
  }
  await Promise.race([once(socket, "data"), once(socket, "close"), sleep(PATIENCE_MS)]).catch(
    () => undefined,
  );
  socket.end();
}

/** Without `--expose-gc` too, as in vitest: what waits for collection is no leak. */
function collectGarbage(): void {
  setFlagsFromString("--expose-gc");
  runInNewContext("gc")();
}

async function heapMiB(): Promise<number> {
  // What was queued for collection gets its turn first.
  await sleep(0);
  collectGarbage();
  return Math.round(process.memoryUsage().heapUsed / 2 ** 20);
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function show(fuzzed: FuzzCase): string {
  if (fuzzed.kind === "call") return "(a call)";
  const text =
    fuzzed.kind === "raw"
      ? Buffer.concat(fuzzed.pieces).toString("latin1")
      : `${fuzzed.method} ${fuzzed.path} ${JSON.stringify(fuzzed.headers ?? {})} ${fuzzed.body.toString("latin1")}`;
  return JSON.stringify(text.slice(0, 500));
}
