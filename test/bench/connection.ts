// One kept-alive HTTP/1.1 connection of the load generator: sends ready-made requests, cuts replies by their length.
// A full client would cost more than the server it measures, on a machine that both share.
import { connect, type Socket } from "node:net";

export interface RawReply {
  readonly status: number;
  readonly body: string;
}

export type ReplyDone = (reply: RawReply | undefined, error: Error | undefined) => void;

/** Ready-made bytes of a POST. */
export function requestBytes(
  url: string,
  body: string | Uint8Array,
  headers: readonly string[] = [],
): Buffer {
  const { host, pathname } = new URL(url);
  const bytes = Buffer.from(body);
  const head = [
    `POST ${pathname} HTTP/1.1`,
    `Host: ${host}`,
    ...(headers.length === 0 ? ["Content-Type: application/json"] : headers),
    `Content-Length: ${bytes.length}`,
    "",
    "",
  ].join("\r\n");
  return Buffer.concat([Buffer.from(head, "latin1"), bytes]);
}

/** One caller's connection. */
export interface Caller {
  /** Calls `done` exactly once. One request at a time. */
  send(request: Buffer, done: ReplyDone): void;
  close(): void;
}

const CHUNKED = /\r\ntransfer-encoding: *chunked/i;

/** A body of HTTP chunks from `at` on; undefined while its last one is not there. */
export function joinChunks(text: string, at: number): string | undefined {
  let body = "";
  for (let start = at; ;) {
    const lineEnd = text.indexOf("\r\n", start);
    if (lineEnd === -1) return undefined;
    const size = Number.parseInt(text.slice(start, lineEnd), 16);
    const end = lineEnd + 2 + size;
    if (text.length < end + 2) return undefined;
    if (size === 0) return body;
    body += text.slice(lineEnd + 2, end);
    start = end + 2;
  }
}

export class Connection implements Caller {
  readonly #socket: Socket;
  #done: ReplyDone | undefined;
  #text = "";
  #bodyAt = -1;
  /** Where the body ends; undefined: it comes in chunks, and says so itself. */
  #end: number | undefined;

  constructor(url: string) {
    const { hostname, port } = new URL(url);
    this.#socket = connect({ host: hostname, port: Number(port), noDelay: true });
    // One character a byte, so that lengths are those of the wire.
    this.#socket.setEncoding("latin1");
    this.#socket.on("data", (text: string) => this.#received(text));
    this.#socket.on("error", (error) => this.#finish(undefined, error));
    this.#socket.on("close", () => this.#finish(undefined, new Error("the server closed the connection")));
  }

  send(request: Buffer, done: ReplyDone): void {
    if (this.#done !== undefined) throw new Error("a request is on its way already");
    this.#done = done;
    this.#socket.write(request);
  }

  /** As `send`. @throws the error of the connection */
  ask(request: Buffer): Promise<RawReply> {
    return new Promise((resolve, reject) => {
      this.send(request, (reply, error) => (reply === undefined ? reject(error) : resolve(reply)));
    });
  }

  close(): void {
    this.#done = undefined;
    this.#socket.destroy();
  }

  #received(text: string): void {
    this.#text = this.#text === "" ? text : this.#text + text;
    if (this.#bodyAt === -1 && !this.#readHead()) return;
    const body = this.#end === undefined ? joinChunks(this.#text, this.#bodyAt) : this.#wholeBody(this.#end);
    if (body === undefined) return;
    const status = Number(this.#text.slice(9, 12));
    this.#text = "";
    this.#bodyAt = -1;
    this.#finish({ status, body }, undefined);
  }

  #wholeBody(end: number): string | undefined {
    return this.#text.length < end ? undefined : this.#text.slice(this.#bodyAt, end);
  }

  #readHead(): boolean {
    const end = this.#text.indexOf("\r\n\r\n");
    if (end === -1) return false;
    const head = this.#text.slice(0, end);
    const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1];
    if (length === undefined && !CHUNKED.test(head)) {
      this.#finish(undefined, new Error(`a reply without a length: ${head.slice(0, 200)}`));
      this.#socket.destroy();
      return false;
    }
    this.#bodyAt = end + 4;
    this.#end = length === undefined ? undefined : this.#bodyAt + Number(length);
    return true;
  }

  #finish(reply: RawReply | undefined, error: Error | undefined): void {
    const done = this.#done;
    this.#done = undefined;
    done?.(reply, error);
  }
}
