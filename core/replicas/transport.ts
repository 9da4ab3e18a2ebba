// The way to one replica: Open Inference Protocol over HTTP/1.1, on a Unix socket or a TCP port.
import { Pool, type Dispatcher } from "undici";
import { HEADERS } from "../../containers/protocol.ts";
import type { ReplicaAddress } from "../types.ts";

export interface InferCall {
  readonly path: string;
  readonly body: Uint8Array;
  /** Length of the JSON in front of the tensors; undefined: the body is all JSON. */
  readonly headerLength: number | undefined;
  /** Milliseconds until nobody waits any more. */
  readonly deadlineMs: number;
}

export interface InferReply {
  readonly statusCode: number;
  readonly body: Uint8Array;
  /** undefined: the reply is all JSON. */
  readonly headerLength: number | undefined;
  /** The loader's own time; undefined when the container does not say. */
  readonly computeMs: number | undefined;
}

export type InferDone = (error: Error | undefined, reply: InferReply | undefined) => void;

/** Sends calls to one replica. Another client for the same wire form may take its place. */
export interface ReplicaTransport {
  /** Calls `done` exactly once. */
  infer(call: InferCall, done: InferDone): void;
  /** A GET on a connection of its own, so that it answers during a long call. Rejects when nothing listens. */
  get(path: string, timeoutMs: number): Promise<{ readonly statusCode: number; readonly text: string }>;
  /** Ends all connections; calls in flight fail. */
  close(): Promise<void>;
}

/** Where a replica listens, when it is one place. */
type OneAddress = Exclude<ReplicaAddress, { readonly anyOf: readonly ReplicaAddress[] }>;

export function transportTo(address: ReplicaAddress): ReplicaTransport {
  return "anyOf" in address ? firstThatAnswers(address.anyOf.map(transportTo)) : httpTransport(address);
}

/** Transport over undici's `dispatch`, which costs a third less than `request` on small messages. */
function httpTransport(address: OneAddress): ReplicaTransport {
  const { origin, base } = partsOf(address);
  const pool = new Pool(origin, {
    connections: 2,
    pipelining: 1,
    headersTimeout: 0,
    bodyTimeout: 0,
    keepAliveTimeout: 3_600_000,
    keepAliveMaxTimeout: 3_600_000,
    ...("socketPath" in address ? { socketPath: address.socketPath } : {}),
  });
  return {
    infer(call, done) {
      const deadlineMs = String(Math.max(1, Math.ceil(call.deadlineMs)));
      const headers =
        call.headerLength === undefined
          ? { "content-type": "application/json", [HEADERS.deadlineMs]: deadlineMs }
          : {
              "content-type": "application/octet-stream",
              [HEADERS.inferenceHeaderLength]: String(call.headerLength),
              [HEADERS.deadlineMs]: deadlineMs,
            };
      const path = base + call.path;
      pool.dispatch({ method: "POST", path, headers, body: call.body }, new ReplyHandler(done));
    },
    async get(path, timeoutMs) {
      const reply = await pool.request({
        method: "GET",
        path: base + path,
        signal: AbortSignal.timeout(timeoutMs),
      });
      return { statusCode: reply.statusCode, text: await reply.body.text() };
    },
    close: () => pool.destroy(),
  };
}

/** Tries them all until one has answered a GET; calls go there from then on. */
function firstThatAnswers(transports: readonly ReplicaTransport[]): ReplicaTransport {
  let found: ReplicaTransport | undefined;
  return {
    infer(call, done) {
      if (found === undefined) done(new Error("nothing listens yet"), undefined);
      else found.infer(call, done);
    },
    get(path, timeoutMs) {
      if (found !== undefined) return found.get(path, timeoutMs);
      const attempts = transports.map(async (transport) => {
        const reply = await transport.get(path, timeoutMs);
        found ??= transport;
        return reply;
      });
      return Promise.any(attempts).catch((error: unknown) => {
        throw error instanceof AggregateError ? error.errors[0] : error;
      });
    },
    close: async () => {
      await Promise.all(transports.map((transport) => transport.close()));
    },
  };
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

  /** undici insists on it. */
  onRequestStart(): void {}

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    statusCode: number,
    headers: Readonly<Record<string, string | string[] | undefined>>,
  ): void {
    this.#statusCode = statusCode;
    this.#headerLength = integerHeader(headers[HEADERS.inferenceHeaderLength]);
    const computeUs = integerHeader(headers[HEADERS.computeUs]);
    this.#computeMs = computeUs === undefined ? undefined : computeUs / 1000;
    const length = integerHeader(headers["content-length"]);
    if (length !== undefined) this.#body = new Uint8Array(length);
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#body === undefined) {
      this.#chunks.push(chunk);
      return;
    }
    this.#body.set(chunk, this.#filled);
    this.#filled += chunk.byteLength;
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

function integerHeader(value: string | string[] | undefined): number | undefined {
  if (typeof value !== "string" || !/^\d{1,15}$/.test(value)) return undefined;
  return Number(value);
}
