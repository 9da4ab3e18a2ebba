// Predictions without node:http, which costs more than all the rest of a small one: a connection's requests are read
// here as long as each is a plain POST of a known length to a prediction path. With the first that is anything else, the
// connection goes to node:http, with every byte of it, and stays there.
import type { Socket } from "node:net";
import { STATUS_CODES } from "../../containers/node-http.ts";
import { giveBack } from "../../containers/spent-memory.ts";
import type { WindjammerError } from "../errors.ts";
import type { PredictCall } from "../query/predict.ts";
import type { Connections } from "./connections.ts";
import type { Dialect, Reply } from "./dialects/dialect.ts";
import { compressed, lengthOf } from "./reply.ts";

export interface PlainParts {
  readonly dialects: readonly Dialect[];
  readonly connections: Connections;
  readonly maxBodyBytes: number;
  readonly requestTimeoutMs: number;
  /** An idle connection is closed after so long. */
  readonly keepAliveMs: number;
  readonly isClosing: () => boolean;
  readonly onError: (error: unknown) => WindjammerError;
  /** Of a request no query of which is on its way. */
  readonly refuse: (dialect: Dialect, error: WindjammerError) => Reply;
  /** Gives a connection to node:http; what was read of it is in the socket again. */
  readonly handOver: (socket: Socket) => void;
}

/** Larger requests are not held back for their end. */
const MAX_PLAIN_BYTES = 256 * 1024;
const MAX_HEAD_BYTES = 8 * 1024;
const HEAD_END = "\r\n\r\n";
/** A request that comes in more pieces than this is not plain: joining them again and again would cost too much. */
const MAX_PIECES = 8;

const REQUEST_LINE = /^POST (\/[\x21-\x3e\x40-\x7e]*)(?:\?[\x21-\x7e]*)? HTTP\/1\.1$/;
/** With the space around the value: an expression that leaves it out takes cubic time for a line of spaces. */
const HEADER_LINE = /^([A-Za-z0-9!#$%&'*+.^_`|~-]+):([\t\x20-\x7e]*)$/;
/** Headers that ask for something that only node:http does. */
const UNUSUAL = new Set(["transfer-encoding", "content-encoding", "expect", "upgrade", "te", "trailer"]);

/** Heads of past requests that are kept: a client's differ in little but the length of its bodies. */
const MAX_KNOWN_HEADS = 256;
const MAX_KNOWN_HEAD_LENGTH = 1024;

const LENGTH = /^[1-9]\d{0,8}$/;

/** What a request's head says. */
interface Head {
  readonly text: string;
  readonly dialect: Dialect;
  readonly target: string;
  readonly headers: ReadonlyMap<string, string>;
  readonly contentLength: number;
}

export class PlainRequests {
  readonly #parts: PlainParts;
  readonly #connections = new Set<PlainConnection>();
  readonly #date = new DateHeader();
  readonly #heads: KnownHeads;

  constructor(parts: PlainParts) {
    this.#parts = parts;
    this.#heads = new KnownHeads(parts);
  }

  /** A new connection. */
  take(socket: Socket): void {
    const connection = new PlainConnection(socket, this.#parts, {
      date: this.#date,
      heads: this.#heads,
      onGone: () => this.#connections.delete(connection),
    });
    this.#connections.add(connection);
  }

  /**
   * Looks from time to time for connections that wait too long: timers of their own would cost each request more. One that
   * has said nothing yet, or half a request, goes to node:http, which answers when the rest does not come in time.
   */
  watch(): NodeJS.Timeout {
    const everyMs = Math.min(5000, Math.ceil(this.#parts.requestTimeoutMs / 4));
    const look = (): void => {
      const now = performance.now();
      for (const connection of this.#connections) connection.lookAt(now, everyMs);
    };
    return setInterval(look, everyMs).unref();
  }
}

/** Reads heads, each text once as long as it is among the last ones. */
class KnownHeads {
  readonly #parts: PlainParts;
  #byText = new Map<string, Head>();

  constructor(parts: PlainParts) {
    this.#parts = parts;
  }

  /** Undefined: not that of a plain prediction. */
  of(text: string): Head | undefined {
    const known = this.#byText.get(text);
    if (known !== undefined) return known;
    const head = this.#read(text);
    if (head !== undefined && text.length <= MAX_KNOWN_HEAD_LENGTH) {
      if (this.#byText.size === MAX_KNOWN_HEADS) this.#byText.clear();
      this.#byText.set(text, head);
    }
    return head;
  }

  #read(text: string): Head | undefined {
    const lines = text.split("\r\n");
    const path = REQUEST_LINE.exec(lines[0] ?? "")?.[1];
    const headers = path === undefined ? undefined : plainHeaders(lines);
    if (path === undefined || headers === undefined) return undefined;
    const contentLength = Number(headers.get("content-length"));
    if (contentLength > this.#parts.maxBodyBytes) return undefined;
    for (const dialect of this.#parts.dialects) {
      const target = dialect.match(path);
      if (target !== undefined) return { text, dialect, target, headers, contentLength };
    }
    return undefined;
  }
}

interface Surroundings {
  readonly date: DateHeader;
  readonly heads: KnownHeads;
  readonly onGone: () => void;
}

class PlainConnection {
  readonly #socket: Socket;
  readonly #parts: PlainParts;
  readonly #surroundings: Surroundings;
  /** The last head: most clients send the same one again. */
  #head: Head | undefined;
  /** What has arrived and is not taken. */
  #pending: Buffer | undefined;
  #pieces = 0;
  #isDue = false;
  #call: PredictCall | undefined;
  #hasAsked = false;
  /** When something was last heard of it. */
  #heardAt: number = performance.now();

  readonly #onData = (chunk: Buffer): void => this.#arrived(chunk);
  readonly #onEnd = (): void => this.#ended();
  readonly #onTimeout = (): void => this.#stalled();
  readonly #onClose = (): void => this.#gone();

  constructor(socket: Socket, parts: PlainParts, surroundings: Surroundings) {
    this.#socket = socket;
    this.#parts = parts;
    this.#surroundings = surroundings;
    socket.on("data", this.#onData);
    socket.on("end", this.#onEnd);
    socket.on("timeout", this.#onTimeout);
    socket.on("error", ignore);
    socket.on("close", this.#onClose);
  }

  lookAt(now: number, patienceMs: number): void {
    const waitedMs = now - this.#heardAt;
    if (this.#isDue || this.#socket.destroyed) return;
    if (!this.#hasAsked || this.#pending !== undefined) {
      if (waitedMs >= patienceMs) this.#handOver();
    } else if (waitedMs >= this.#parts.keepAliveMs) {
      this.#socket.destroy();
    }
  }

  #arrived(chunk: Buffer): void {
    this.#heardAt = performance.now();
    this.#pending = this.#pending === undefined ? chunk : Buffer.concat([this.#pending, chunk]);
    this.#pieces += 1;
    // Whoever sends the next request before the answer to the last one waits.
    if (this.#isDue) this.#socket.pause();
    else this.#next();
  }

  /** Takes the request that has arrived, once it is whole. */
  #next(): void {
    if (this.#pending === undefined) return;
    if (this.#take(this.#pending) === "unusual") this.#handOver();
  }

  #take(bytes: Buffer): "taken" | "more" | "unusual" {
    const headEnd = bytes.indexOf(HEAD_END, 0, "latin1");
    if (headEnd === -1 || headEnd > MAX_HEAD_BYTES || this.#parts.isClosing()) return "unusual";
    const text = bytes.toString("latin1", 0, headEnd);
    const head = this.#head?.text === text ? this.#head : this.#surroundings.heads.of(text);
    if (head === undefined) return "unusual";
    this.#head = head;
    const end = headEnd + HEAD_END.length + head.contentLength;
    if (end > bytes.length) {
      if (end > MAX_PLAIN_BYTES || this.#pieces >= MAX_PIECES) return "unusual";
      this.#parts.connections.beginPlain(this.#socket);
      return "more";
    }
    // Several at once may end in any order, and node:http knows how to answer them in theirs.
    if (end < bytes.length) return "unusual";
    this.#pending = undefined;
    this.#pieces = 0;
    this.#answer(head, bytes);
    return "taken";
  }

  /** @param bytes head and body */
  #answer({ text, dialect, target, headers }: Head, bytes: Buffer): void {
    const body = bytes.subarray(text.length + HEAD_END.length);
    this.#isDue = true;
    this.#hasAsked = true;
    this.#parts.connections.beginPlain(this.#socket);
    const reply = (build: () => Reply): void => this.#reply(dialect, build);
    const header = (name: string): string | undefined => headers.get(name);
    const release = (): void => giveBack(bytes);
    try {
      const call = dialect.answer({ target, body, header, arrivedAt: this.#heardAt, reply, release });
      // It may be answered by now.
      if (this.#isDue) this.#call = call;
    } catch (error) {
      reply(() => this.#parts.refuse(dialect, this.#parts.onError(error)));
    }
  }

  /** Never throws: the queue calls it. */
  #reply(dialect: Dialect, build: () => Reply): void {
    if (this.#socket.destroyed) return;
    let reply: Reply;
    try {
      reply = build();
    } catch (error) {
      reply = dialect.refusal(this.#parts.onError(error));
    }
    const smaller = compressed(reply);
    if (smaller === undefined) this.#write(reply);
    else void smaller.then((one) => this.#write(one));
  }

  #write(reply: Reply): void {
    const socket = this.#socket;
    if (socket.destroyed) return;
    const { body } = reply;
    const length = lengthOf(body);
    const head = this.#headOf(reply, length);
    if (typeof body === "string") {
      // One byte a character where it is all ASCII, which is written without being encoded.
      socket.write(head + body, length === body.length ? "latin1" : "utf8");
    } else {
      socket.cork();
      socket.write(head, "latin1");
      for (const chunk of body) socket.write(chunk);
      socket.uncork();
    }
    if (socket.writableLength === 0) this.#answered();
    else socket.write("", (error) => (error ? undefined : this.#answered()));
  }

  /** The answer is with the client, or at least with the operating system. */
  #answered(): void {
    this.#isDue = false;
    this.#call = undefined;
    this.#heardAt = performance.now();
    this.#parts.connections.endPlain(this.#socket);
    if (this.#socket.isPaused()) this.#socket.resume();
    if (!this.#socket.destroyed) this.#next();
  }

  #headOf(reply: Reply, length: number): string {
    const { status, contentType = "application/json", headers = [], retryAfterS } = reply;
    let more = retryAfterS === undefined ? "" : `Retry-After: ${Math.max(1, Math.ceil(retryAfterS))}\r\n`;
    for (let at = 0; at + 1 < headers.length; at += 2) more += `${headers[at]}: ${headers[at + 1]}\r\n`;
    const seconds = Math.floor(this.#parts.keepAliveMs / 1000);
    const end = this.#parts.isClosing()
      ? "Connection: close\r\n\r\n"
      : `Connection: keep-alive\r\nKeep-Alive: timeout=${seconds}\r\n\r\n`;
    return (
      `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}\r\nContent-Type: ${contentType}\r\n` +
      `Content-Length: ${length}\r\n${more}Date: ${this.#surroundings.date.now()}\r\n${end}`
    );
  }

  #handOver(): void {
    const socket = this.#socket;
    this.#detach();
    this.#parts.connections.leavePlain(socket);
    if (this.#pending !== undefined) socket.unshift(this.#pending);
    this.#pending = undefined;
    this.#parts.handOver(socket);
    // Node's own listener does not, where the socket was told to pause.
    if (socket.isPaused()) socket.resume();
  }

  #detach(): void {
    this.#socket.off("data", this.#onData);
    this.#socket.off("end", this.#onEnd);
    this.#socket.off("timeout", this.#onTimeout);
    this.#socket.off("error", ignore);
    this.#socket.off("close", this.#onClose);
    this.#surroundings.onGone();
  }

  /** The client sends no more; as node:http does, it gets no answer that is not there yet. */
  #ended(): void {
    if (this.#pending !== undefined && !this.#isDue) {
      // What is in the socket's past cannot be handed over any more.
      this.#parts.connections.failed(new Error("it ends too early"), this.#socket);
      return;
    }
    this.#call?.abandon();
    this.#socket.end();
  }

  /** Bytes for the client that it has not taken for long. */
  #stalled(): void {
    if (this.#socket.writableLength > 0 || !this.#isDue) this.#socket.destroy();
  }

  #gone(): void {
    this.#call?.abandon();
    this.#call = undefined;
    this.#parts.connections.endPlain(this.#socket);
    this.#surroundings.onGone();
  }
}

/** Names and values; undefined where one of them is not plain. */
function plainHeaders([, ...lines]: readonly string[]): ReadonlyMap<string, string> | undefined {
  const headers = new Map<string, string>();
  for (const line of lines) {
    const [, name, value = ""] = HEADER_LINE.exec(line) ?? [];
    const key = name?.toLowerCase();
    if (key === undefined || headers.has(key) || UNUSUAL.has(key)) return undefined;
    headers.set(key, value.trim());
  }
  const isKept = /^(keep-alive)?$/i.test(headers.get("connection") ?? "");
  return isKept && LENGTH.test(headers.get("content-length") ?? "") ? headers : undefined;
}

/** What went wrong with a connection is told by its close. */
function ignore(): void {}

/** The text of a Date header, made once a second. */
class DateHeader {
  #text = "";
  #until = 0;

  now(): string {
    const now = Date.now();
    if (now >= this.#until) {
      this.#text = new Date(now).toUTCString();
      this.#until = now - (now % 1000) + 1000;
    }
    return this.#text;
  }
}
