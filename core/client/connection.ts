// HTTP connections of a client: requests with JSON replies, streams, and errors turned back into their classes.
import { Agent, request, type Dispatcher } from "undici";
import type { Readable } from "node:stream";
import { type ErrorBody, errorFromBody } from "../error-replies.ts";
import {
  isNodeError,
  ServerUnreachableError,
  ShuttingDownError,
  UnauthorizedError,
  WindjammerError,
} from "../errors.ts";
import { type ReceivedEvent, readEvents } from "./event-stream.ts";

const CONNECT_TIMEOUT_MS = 10_000;
/** A stream of events on which nothing comes for so long is dead: the server sends a heartbeat every 15 s. */
const STREAM_IDLE_MS = 45_000;
/** Attempts to take up a stream again that broke off without its end, while nothing new comes. */
const MAX_RESUMES = 5;
const RESUME_DELAY_MS = 200;

export type HttpMethod = "GET" | "HEAD" | "PUT" | "POST" | "DELETE";

export interface RequestOptions {
  /** JSON text, or a stream with its type. */
  readonly body?: string | { readonly stream: Readable; readonly type: string } | undefined;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal | undefined;
  /** The reply fails when nothing of it comes for so many ms. Default: never. */
  readonly idleMs?: number;
}

export interface HttpReply {
  readonly statusCode: number;
  readonly text: string;
  /** Retry-After, where the reply has one in seconds. */
  readonly retryAfterS?: number | undefined;
}

/** Keep-alive connections to one server. */
export class Connection {
  readonly #agent: Agent;
  readonly #token: string | undefined;
  readonly #streamIdleMs: number;
  readonly #closed = new AbortController();

  /** @param streamIdleMs after which a silent stream of events counts as broken off */
  constructor(token: string | undefined, streamIdleMs: number = STREAM_IDLE_MS) {
    this.#token = token;
    this.#streamIdleMs = streamIdleMs;
    // Queries without a latency objective wait as long as it takes, and so does scaling.
    this.#agent = new Agent({
      headersTimeout: 0,
      bodyTimeout: 0,
      connect: { timeout: CONNECT_TIMEOUT_MS },
    });
  }

  /** Headers that only the management API gets. */
  get authorization(): Readonly<Record<string, string>> {
    return this.#token === undefined ? {} : { authorization: `Bearer ${this.#token}` };
  }

  /** Sends a request and reads its reply whole. @throws ServerUnreachableError, ShuttingDownError after `close` */
  async exchange(method: HttpMethod, url: string, options: RequestOptions = {}): Promise<HttpReply> {
    const { statusCode, headers, body } = await this.#send(method, url, options);
    try {
      return { statusCode, text: await body.text(), retryAfterS: retryAfter(headers) };
    } catch (error) {
      throw this.#failure(error, url, options.signal);
    }
  }

  /** Sends a request to the management API. @throws the error class of an error reply */
  async call(method: HttpMethod, url: string, options: RequestOptions = {}): Promise<string> {
    const headers = { accept: "application/json", ...this.authorization, ...options.headers };
    const reply = await this.exchange(method, url, { ...options, headers });
    if (reply.statusCode >= 300) throw replyError(reply, url);
    return reply.text;
  }

  /**
   * Server-sent events of the management API, until the one named "end" or `signal` aborts. A stream that can be
   * resumed is taken up again where it broke off.
   * @throws ServerUnreachableError when it broke off for good
   */
  async *events(
    url: string,
    options: { readonly signal?: AbortSignal | undefined; readonly canResume: boolean },
  ): AsyncGenerator<ReceivedEvent, void> {
    let lastId: string | undefined;
    let resumes = 0;
    for (;;) {
      try {
        for await (const event of this.#open(url, lastId, options.signal)) {
          yield event;
          lastId = event.id ?? lastId;
          resumes = 0;
        }
        return;
      } catch (error) {
        if (options.signal?.aborted === true) return;
        const isBroken = error instanceof ServerUnreachableError && !this.#closed.signal.aborted;
        if (!isBroken || !options.canResume || resumes >= MAX_RESUMES) throw error;
        resumes++;
        await delay(RESUME_DELAY_MS * 2 ** (resumes - 1), this.#signal(options.signal));
      }
    }
  }

  /** Ends every connection. Requests on their way fail with ShuttingDownError. */
  async close(): Promise<void> {
    this.#closed.abort();
    await this.#agent.destroy();
  }

  /** One stream of events; returns behind the one named "end", throws when there is none. */
  async *#open(
    url: string,
    lastId: string | undefined,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<ReceivedEvent, void> {
    const resume = lastId === undefined ? {} : { "last-event-id": lastId };
    const headers = { accept: "text/event-stream", ...this.authorization, ...resume };
    const reply = await this.#send("GET", url, { headers, signal, idleMs: this.#streamIdleMs });
    const { statusCode, body } = reply;
    try {
      if (statusCode >= 300) {
        const retryAfterS = retryAfter(reply.headers);
        throw replyError({ statusCode, text: await body.text(), retryAfterS }, url);
      }
      for await (const event of readEvents(body)) {
        yield event;
        if (event.event === "end") return;
      }
      throw new ServerUnreachableError(`the events of ${url} broke off; the server may have gone`, {
        details: { url },
      });
    } catch (error) {
      throw this.#failure(error, url, signal);
    } finally {
      // A reader that stops early leaves an open stream behind.
      body.on("error", () => {}).destroy();
    }
  }

  async #send(method: HttpMethod, url: string, options: RequestOptions): Promise<Dispatcher.ResponseData> {
    const { body, headers, signal, idleMs = 0 } = options;
    if (this.#closed.signal.aborted) throw closedError();
    const type = typeof body === "string" ? "application/json" : body?.type;
    try {
      return await request(url, {
        method,
        dispatcher: this.#agent,
        headers: { ...(type === undefined ? {} : { "content-type": type }), ...headers },
        signal: this.#signal(signal),
        headersTimeout: idleMs,
        bodyTimeout: idleMs,
        body: (typeof body === "string" ? body : body?.stream) ?? null,
      });
    } catch (error) {
      throw this.#failure(error, url, signal);
    }
  }

  #signal(signal: AbortSignal | undefined): AbortSignal {
    return signal === undefined ? this.#closed.signal : AbortSignal.any([signal, this.#closed.signal]);
  }

  /** The caller's own abort stays what it is; everything else that is not ours means the server cannot be reached. */
  #failure(error: unknown, url: string, signal: AbortSignal | undefined): unknown {
    if (error instanceof WindjammerError) return error;
    if (signal?.aborted === true) return signal.reason;
    if (this.#closed.signal.aborted) return closedError();
    return unreachable(error, url);
  }
}

function closedError(): ShuttingDownError {
  return new ShuttingDownError("this Windjammer was closed; open another with windjammer() or connect()");
}

const REASONS: ReadonlyMap<string, string> = new Map([
  ["ECONNREFUSED", "nothing listens there; start a server with `windjammer start`, or check the address"],
  ["ENOTFOUND", "there is no such host; check the address"],
  ["EAI_AGAIN", "the host name could not be resolved; check the address"],
  ["EHOSTUNREACH", "there is no route to the host"],
  ["ENETUNREACH", "there is no route to the host"],
  ["UND_ERR_CONNECT_TIMEOUT", "the host did not answer in time"],
  ["ECONNRESET", "the connection broke off; the server may have gone"],
  ["EPIPE", "the connection broke off; the server may have gone"],
  ["UND_ERR_SOCKET", "the connection broke off; the server may have gone"],
  ["UND_ERR_ABORTED", "the connection broke off; the server may have gone"],
  ["UND_ERR_HEADERS_TIMEOUT", "nothing came any more, not even a heartbeat; the server may have gone"],
  ["UND_ERR_BODY_TIMEOUT", "nothing came any more, not even a heartbeat; the server may have gone"],
]);

function unreachable(error: unknown, url: string): ServerUnreachableError {
  const code = codeOf(error);
  const { origin } = new URL(url);
  const reason =
    (code === undefined ? undefined : REASONS.get(code)) ??
    (error instanceof Error ? error.message : String(error));
  return new ServerUnreachableError(`cannot reach ${origin}: ${reason}`, {
    cause: error,
    details: { url: origin, ...(code === undefined ? {} : { cause: code }) },
  });
}

/** Trying several addresses of one name gives an AggregateError, whose parts have the code. */
function codeOf(error: unknown): string | undefined {
  if (isNodeError(error)) return error.code;
  if (error instanceof AggregateError) return codeOf(error.errors[0]);
  return undefined;
}

/** The error of an error reply; one that is not ours says so. */
export function replyError(reply: HttpReply, url: string): WindjammerError {
  const { statusCode, text } = reply;
  const body = parseErrorBody(text);
  if (body !== undefined) return errorFromBody(body, reply);
  const summary = text.trim().slice(0, 200);
  if (statusCode === 401) return new UnauthorizedError(`${url} wants authorization: ${summary}`);
  return new ServerUnreachableError(
    `${url} answered ${statusCode}, not as a Windjammer does: ${summary || "an empty body"}`,
    { details: { url, statusCode } },
  );
}

function retryAfter(headers: Dispatcher.ResponseData["headers"]): number | undefined {
  const seconds = Number(headers["retry-after"] || Number.NaN);
  return seconds >= 0 ? seconds : undefined;
}

export function parseErrorBody(text: string): ErrorBody | undefined {
  const value = tryParse(text);
  if (typeof value !== "object" || value === null) return undefined;
  const { error, message, details } = value as Partial<ErrorBody>;
  if (typeof error !== "string" || typeof message !== "string") return undefined;
  return { error, message, details: typeof details === "object" ? details : {} };
}

export function tryParse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function delay(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
  });
}
