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

export class Connection implements Caller {
  readonly #socket: Socket;
  #done: ReplyDone | undefined;
  #text = "";
  #bodyAt = -1;
  #end = 0;

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
    if (this.#text.length < this.#end) return;
    const status = Number(this.#text.slice(9, 12));
    const body = this.#text.slice(this.#bodyAt, this.#end);
    this.#text = "";
    this.#bodyAt = -1;
    this.#finish({ status, body }, undefined);
  }

  #readHead(): boolean {
    const end = this.#text.indexOf("\r\n\r\n");
    if (end === -1) return false;
    const head = this.#text.slice(0, end);
    const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1];
    if (length === undefined) {
      this.#finish(undefined, new Error(`a reply without a length: ${head.slice(0, 200)}`));
      this.#socket.destroy();
      return false;
    }
    this.#bodyAt = end + 4;
    this.#end = this.#bodyAt + Number(length);
    return true;
  }

  #finish(reply: RawReply | undefined, error: Error | undefined): void {
    const done = this.#done;
    this.#done = undefined;
    done?.(reply, error);
  }
}
