// A reply as a stream of server-sent events: framing, back-pressure, heartbeats, resuming.
import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { InvalidRequestError } from "../errors.ts";

const HEARTBEAT_MS = 15_000;

export interface ServerSentEvent {
  /** Comes back as Last-Event-ID when the caller reconnects. */
  readonly id?: number;
  readonly event: string;
  readonly data: unknown;
}

/** One stream. Writing to a caller who has gone does nothing; its signal tells the writer to stop. */
export class EventStream {
  readonly #response: ServerResponse;
  readonly #heartbeat: NodeJS.Timeout;

  constructor(response: ServerResponse, heartbeatMs: number = HEARTBEAT_MS) {
    this.#response = response;
    response.writeHead(200, {
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-cache, no-transform",
      "x-accel-buffering": "no",
    });
    // A comment at once, so that the caller (and every proxy) has the head of the reply.
    response.write(": stream\n\n");
    this.#heartbeat = setInterval(() => this.#write(": heartbeat\n\n"), heartbeatMs).unref();
    response.once("close", () => clearInterval(this.#heartbeat));
  }

  /** Resolves when there is room for more. */
  async send({ id, event, data }: ServerSentEvent): Promise<void> {
    const head = id === undefined ? "" : `id: ${id}\n`;
    // JSON text holds no line break, so one data line always suffices.
    if (this.#write(`${head}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`)) return;
    if (!this.#isGone()) await Promise.race([once(this.#response, "drain"), once(this.#response, "close")]);
  }

  end(): void {
    clearInterval(this.#heartbeat);
    if (!this.#isGone()) this.#response.end();
  }

  #write(text: string): boolean {
    return this.#isGone() || this.#response.write(text);
  }

  #isGone(): boolean {
    return this.#response.destroyed || this.#response.writableEnded;
  }
}

/** Sequence after which a caller wants to go on; 0 from the start. @throws InvalidRequestError */
export function lastEventId(request: IncomingMessage): number {
  const header = request.headers["last-event-id"];
  if (header === undefined || header === "") return 0;
  const sequence = Number(header);
  if (!Number.isSafeInteger(sequence) || sequence < 0)
    throw new InvalidRequestError(
      `Last-Event-ID: expected the id of an event, got ${JSON.stringify(header)}`,
    );
  return sequence;
}

/** Whether the caller would rather have JSON than a stream of events. */
export function wantsJson(request: IncomingMessage): boolean {
  const accept = request.headers.accept ?? "*/*";
  return accept.includes("application/json") && !accept.includes("text/event-stream");
}
