// The general way to a replica: Open Inference Protocol over HTTP/1.1 by undici, on a TCP port or a Unix socket.
import { Client, type Dispatcher } from "undici";
import { HEADERS } from "../../containers/protocol.ts";
import { processEnvironment } from "../environment.ts";
import { textOf } from "./socket-get.ts";
import { type InferDone, MAX_REPLY_BYTES, type OneAddress, type ReplicaTransport } from "./transport.ts";

/** An idle connection to one of our containers is kept, since those close none. */
const KEEP_ALIVE_MS = 3_600_000;
/** Servers elsewhere close theirs, after 5 s by the habit of many; a firewall between forgets them without a word. */
const REMOTE_KEEP_ALIVE = { keepAliveTimeout: 3_000, keepAliveMaxTimeout: 60_000 } as const;
/** What a call ends in whose connection the server had closed before it came. */
const CLOSED: ReadonlySet<string> = new Set(["ECONNRESET", "EPIPE", "UND_ERR_SOCKET"]);

/**
 * Transport over undici's `dispatch`, which costs a third less than `request` on small messages.
 * @param maxCalls connections for calls, made when they are needed; questions have one of their own
 */
export function httpTransport(address: OneAddress, maxCalls: number): ReplicaTransport {
  const { base } = partsOf(address);
  const own = processHeaders(address);
  const questions = new Line(address);
  const calls: Line[] = [];
  /** One that no call is on; the oldest, so that those which many calls at once needed are closed in quiet times. */
  const lineForCall = (): Line => {
    const idle = calls.find(({ isBusy }) => !isBusy);
    if (idle !== undefined) return idle;
    const [first] = calls;
    if (first !== undefined && calls.length >= maxCalls) return first;
    const added = new Line(address);
    calls.push(added);
    return added;
  };
  return {
    infer(call, done) {
      const deadlineMs = String(Math.max(1, Math.ceil(call.deadlineMs)));
      const headers =
        call.headerLength === undefined
          ? { ...own, "content-type": "application/json", [HEADERS.deadlineMs]: deadlineMs }
          : {
              ...own,
              "content-type": "application/octet-stream",
              [HEADERS.inferenceHeaderLength]: String(call.headerLength),
              [HEADERS.deadlineMs]: deadlineMs,
            };
      const request = { method: "POST", path: base + call.path, headers, body: call.body } as const;
      lineForCall().infer(request, call.isRetryable === true, done);
    },
    async get(path, timeoutMs) {
      const signal = AbortSignal.timeout(timeoutMs);
      const reply = await questions.ask({ method: "GET", path: base + path, headers: own, signal });
      return { statusCode: reply.statusCode, text: await textOf(reply.body) };
    },
    close: async () => {
      await Promise.all([questions, ...calls].map((line) => line.close()));
    },
  };
}

/** One connection at a time, made anew when it is needed. */
class Line {
  readonly #client: Client;
  readonly #isElsewhere: boolean;
  /** Its connection has brought an answer. */
  #wasUsed = false;
  #callCount = 0;

  constructor(address: OneAddress) {
    this.#isElsewhere = "url" in address;
    this.#client = new Client(partsOf(address).origin, {
      pipelining: 1,
      headersTimeout: 0,
      bodyTimeout: 0,
      keepAliveTimeout: KEEP_ALIVE_MS,
      keepAliveMaxTimeout: KEEP_ALIVE_MS,
      ...(this.#isElsewhere ? REMOTE_KEEP_ALIVE : {}),
      ...("socketPath" in address ? { socketPath: address.socketPath } : {}),
    });
    this.#client.on("connect", () => (this.#wasUsed = false));
  }

  get isBusy(): boolean {
    return this.#callCount > 0;
  }

  infer(request: Dispatcher.DispatchOptions, isRetryable: boolean, done: InferDone): void {
    this.#callCount += 1;
    const end: InferDone = (error, reply) => {
      this.#callCount -= 1;
      if (error === undefined) this.#wasUsed = true;
      done(error, reply);
    };
    const handler = new ReplyHandler((error, reply) => {
      if (error === undefined || handler.hasBegun || !isRetryable || !this.#isStale(error)) end(error, reply);
      // The client is not done with the connection that broke.
      else queueMicrotask(() => this.#client.dispatch(request, new ReplyHandler(end)));
    });
    this.#client.dispatch(request, handler);
  }

  async ask(request: Dispatcher.RequestOptions): Promise<Dispatcher.ResponseData> {
    try {
      return await this.#request(request);
    } catch (error) {
      if (this.#isStale(error as Error)) return this.#request(request);
      throw error;
    }
  }

  close(): Promise<void> {
    return this.#client.destroy();
  }

  async #request(request: Dispatcher.RequestOptions): Promise<Dispatcher.ResponseData> {
    const reply = await this.#client.request(request);
    this.#wasUsed = true;
    return reply;
  }

  /** It failed on a kept connection, which the server may have closed just then: the next try is over a new one. */
  #isStale(error: Error): boolean {
    return this.#isElsewhere && this.#wasUsed && isClosed(error);
  }
}

function isClosed(error: Error): boolean {
  return "code" in error && CLOSED.has(String(error.code));
}

/** Values of the headers that an address wants; whoever started the replica has seen that they are there. */
function processHeaders(address: OneAddress): Readonly<Record<string, string>> {
  const named = "url" in address ? Object.entries(address.headersFrom ?? {}) : [];
  const values = processEnvironment(named.map(([, variable]) => variable));
  return Object.fromEntries(named.map(([header, variable]) => [header, values[variable] ?? ""]));
}

function partsOf(address: OneAddress): { readonly origin: string; readonly base: string } {
  if ("socketPath" in address) return { origin: "http://localhost", base: "" };
  if ("host" in address) return { origin: `http://${hostPart(address.host)}:${address.port}`, base: "" };
  const { origin, pathname } = new URL(address.url);
  return { origin, base: pathname.replace(/\/+$/, "") };
}

function hostPart(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}

/** Collects one reply into one buffer, sized by Content-Length, whose start is aligned for typed-array views. */
class ReplyHandler implements Dispatcher.DispatchHandler {
  readonly #done: InferDone;
  #statusCode = 0;
  #headerLength: number | undefined;
  #computeMs: number | undefined;
  #body: Uint8Array | undefined;
  #filled = 0;
  #chunks: Buffer[] = [];

  constructor(done: InferDone) {
    this.#done = done;
  }

  /** Some of the reply has come. */
  get hasBegun(): boolean {
    return this.#statusCode !== 0;
  }

  /** undici insists on it. */
  onRequestStart(): void {}

  onResponseStart(
    controller: Dispatcher.DispatchController,
    statusCode: number,
    headers: Readonly<Record<string, string | string[] | undefined>>,
  ): void {
    this.#statusCode = statusCode;
    this.#headerLength = integerHeader(headers[HEADERS.inferenceHeaderLength]);
    const computeUs = integerHeader(headers[HEADERS.computeUs]);
    this.#computeMs = computeUs === undefined ? undefined : computeUs / 1000;
    const length = integerHeader(headers["content-length"]);
    if (length === undefined) return;
    if (length > MAX_REPLY_BYTES) controller.abort(tooLong());
    else this.#body = new Uint8Array(length);
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#body === undefined) this.#chunks.push(chunk);
    else this.#body.set(chunk, this.#filled);
    this.#filled += chunk.byteLength;
    if (this.#filled > MAX_REPLY_BYTES) controller.abort(tooLong());
  }

  onResponseEnd(): void {
    this.#done(undefined, {
      statusCode: this.#statusCode,
      body: this.#body ?? new Uint8Array(Buffer.concat(this.#chunks)),
      headerLength: this.#headerLength,
      computeMs: this.#computeMs,
    });
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.#done(error, undefined);
  }
}

function tooLong(): Error {
  return new Error(`its answer is longer than ${MAX_REPLY_BYTES / 2 ** 30} GiB`);
}

function integerHeader(value: string | string[] | undefined): number | undefined {
  if (typeof value !== "string" || !/^\d{1,15}$/.test(value)) return undefined;
  return Number(value);
}
