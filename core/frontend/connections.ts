// What the query server knows of each connection: how many answers are due on it, so that an error of the HTTP parser is
// answered behind them, never in the place of one of them, and that one whose client takes no answer is not held.
import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { STATUS_CODES } from "../../containers/node-http.ts";
import { errorBody } from "../error-replies.ts";
import {
  HeadersTooLargeError,
  InvalidRequestError,
  isNodeError,
  RequestTimeoutError,
  type WindjammerError,
} from "../errors.ts";

/**
 * An idle connection is kept so long: longer than common load balancers do (60 s), so that they, not we, close first. With
 * Node's 5 s, clients that send just then see their connection reset.
 */
export const KEEP_ALIVE_MS = 65_000;

interface Connection {
  /** Requests that were begun and have no answer yet. */
  due: number;
  /** The newest of them. */
  latest: ServerResponse;
  /** Said as the last thing on the connection. */
  lastWords: string | undefined;
  /** `due` has to come down to this before they are said: 1 when the newest request can have no answer any more. */
  unanswerable: number;
}

export class Connections {
  readonly #connections = new WeakMap<Duplex, Connection>();
  readonly #open = new Set<Socket>();
  /** Connections of plain requests on which an answer is due. */
  readonly #plainDue = new Set<Socket>();
  #isClosing = false;
  #onGone: (() => void)[] = [];

  opened(socket: Socket): void {
    this.#open.add(socket);
    socket.once("close", () => {
      this.#open.delete(socket);
      if (this.#open.size === 0) for (const resolve of this.#onGone.splice(0)) resolve();
    });
  }

  /** Resolves when none is open. */
  whenGone(): Promise<void> {
    if (this.#open.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#onGone.push(resolve);
    });
  }

  /** Ends those on which no answer is due, and the others as soon as theirs is with the client. */
  close(): void {
    this.#isClosing = true;
    for (const socket of this.#open) {
      const isDue = (this.#connections.get(socket)?.due ?? 0) > 0 || this.#plainDue.has(socket);
      if (!isDue) socket.destroySoon();
    }
  }

  /** Cuts them all, whatever is due. */
  cut(): void {
    for (const socket of this.#open) socket.destroy();
  }

  /** An answer is due on a connection that node:http knows nothing of, or will be with the rest of its request. */
  beginPlain(socket: Socket): void {
    this.#plainDue.add(socket);
  }

  endPlain(socket: Socket): void {
    if (this.#plainDue.delete(socket) && this.#isClosing) socket.destroySoon();
  }

  /** Node:http has the connection now, and says itself what is due. */
  leavePlain(socket: Socket): void {
    this.#plainDue.delete(socket);
  }

  /** An answer is due on this connection. */
  begin(response: ServerResponse): void {
    const { socket } = response.req;
    const connection = this.#connections.get(socket);
    if (connection === undefined) {
      this.#connections.set(socket, { due: 1, latest: response, lastWords: undefined, unanswerable: 0 });
    } else {
      connection.due += 1;
      connection.latest = response;
    }
  }

  /** It was given, or cannot be given any more. */
  end(response: ServerResponse): void {
    const { socket } = response.req;
    const connection = this.#connections.get(socket);
    if (connection === undefined) return;
    connection.due -= 1;
    const { lastWords } = connection;
    if (lastWords !== undefined && connection.due <= connection.unanswerable) sayLast(socket, lastWords);
    else if (this.#isClosing && connection.due === 0) socket.destroySoon();
  }

  /**
   * Looks from time to time for connections with bytes that their client has not taken, and sets those a timeout: one
   * on every socket costs a request 5 % of its CPU. The timeout starts anew whenever some bytes go.
   */
  watch(timeoutMs: number): NodeJS.Timeout {
    const look = (): void => {
      for (const socket of this.#open) {
        if (socket.writableLength > 0 && !socket.timeout) socket.setTimeout(timeoutMs);
      }
    };
    return setInterval(look, timeoutMs).unref();
  }

  /** For so long nothing came, and nothing that is on its way was taken. */
  stalled(socket: Socket): void {
    const connection = this.#connections.get(socket);
    // Its first request is still coming, and Node's own check answers when that takes too long.
    if (connection === undefined) return;
    const isUnread = socket.writableLength > 0;
    if (isUnread || connection.due === 0) socket.destroy();
  }

  /** Node could not make a request of what came, or it did not come in time. */
  failed(error: Error, socket: Duplex): void {
    const connection = this.#connections.get(socket);
    const isCutOff = connection !== undefined && connection.due > 0 && !connection.latest.req.complete;
    const isAnswered = isCutOff && connection.latest.headersSent;
    if (!socket.writable || isAnswered || (isNodeError(error) && error.code === "ECONNRESET")) {
      socket.destroy();
      return;
    }
    const words = rawReply(describe(error));
    const unanswerable = isCutOff ? 1 : 0;
    if (connection === undefined || connection.due <= unanswerable) {
      sayLast(socket, words);
    } else if (connection.lastWords === undefined) {
      connection.lastWords = words;
      connection.unanswerable = unanswerable;
    }
  }
}

/** A client that does not close its side would keep the socket half open for ever. */
function sayLast(socket: Duplex, words: string): void {
  socket.end(words);
  setTimeout(() => socket.destroy(), LINGER_MS).unref();
}

/** A client gets so long to read our last words before the socket goes. */
export const LINGER_MS = 2000;

function describe(error: Error): WindjammerError {
  const code = isNodeError(error) ? error.code : undefined;
  if (code === "ERR_HTTP_REQUEST_TIMEOUT") {
    return new RequestTimeoutError(
      "the request did not arrive whole in time; send it again, or raise requestTimeoutMs",
    );
  }
  if (code === "HPE_HEADER_OVERFLOW") {
    return new HeadersTooLargeError(
      "the request's headers are larger than 16 KiB; send fewer or shorter ones",
    );
  }
  return new InvalidRequestError(`what came is not an HTTP/1.1 request: ${error.message}`);
}

function rawReply(error: WindjammerError): string {
  const body = JSON.stringify(errorBody(error));
  return [
    `HTTP/1.1 ${error.statusCode} ${STATUS_CODES[error.statusCode]}`,
    "Content-Type: application/json",
    `Content-Length: ${Buffer.byteLength(body)}`,
    "Connection: close",
    "",
    body,
  ].join("\r\n");
}
