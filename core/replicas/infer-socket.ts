// The short way to one of our own model containers: infer calls straight to the model's own thread, on a socket that the
// container's metadata names. Same protocol; a client for this one server costs a quarter of a general one.
import { connect, type Socket } from "node:net";
import { dirname, join } from "node:path";
import { HEADERS, INFER_SOCKET, isForeign, type Manifest } from "../../containers/protocol.ts";
import type { ReplicaAddress } from "../types.ts";
import {
  type InferCall,
  type InferDone,
  type InferReply,
  MAX_REPLY_BYTES,
  type ReplicaTransport,
} from "./transport.ts";

/** A file name and nothing else: a container must not lead the frontend elsewhere. */
const FILE_NAME = /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}$/;

/** Path of the infer socket that a container's metadata names; undefined: it has none. */
export function inferSocketOf(
  address: ReplicaAddress,
  { container }: Pick<Manifest, "container">,
  metadata: string,
): string | undefined {
  if (!("socketPath" in address) || isForeign(container)) return undefined;
  const { parameters } = JSON.parse(metadata) as { readonly parameters?: Readonly<Record<string, unknown>> };
  const name = parameters?.[INFER_SOCKET];
  if (typeof name !== "string" || !FILE_NAME.test(name)) return undefined;
  return join(dirname(address.socketPath), name);
}

/** `transport`, with infer calls over the socket at `path`. */
export function overInferSocket(transport: ReplicaTransport, path: string): ReplicaTransport {
  const connections = new Set<InferConnection>();
  return {
    infer(call, done) {
      let free: InferConnection | undefined;
      for (const connection of connections) if (connection.isFree) free = connection;
      if (free === undefined) {
        free = new InferConnection(path, (gone) => connections.delete(gone));
        connections.add(free);
      }
      free.send(call, done);
    },
    get: (target, timeoutMs) => transport.get(target, timeoutMs),
    async close() {
      for (const connection of connections) connection.destroy();
      await transport.close();
    },
  };
}

const END_OF_HEAD = "\r\n\r\n";
const LENGTH = /^\d{1,15}$/;
/** A longer head is none of ours. */
const MAX_HEAD_BYTES = 16 * 1024;

/** A reply whose body is still coming. */
interface Arriving {
  readonly reply: InferReply;
  readonly body: Uint8Array;
  filled: number;
}

/** One kept connection, one call at a time. */
class InferConnection {
  readonly #socket: Socket;
  readonly #onGone: (connection: InferConnection) => void;
  #done: InferDone | undefined;
  /** A head that came in parts. */
  #head: Buffer | undefined;
  #arriving: Arriving | undefined;

  constructor(path: string, onGone: (connection: InferConnection) => void) {
    this.#onGone = onGone;
    this.#socket = connect({ path });
    this.#socket.on("data", (chunk: Buffer) => this.#received(chunk));
    this.#socket.on("error", (error) => this.#fail(error));
    this.#socket.on("close", () => this.#fail(new Error("the replica closed the connection")));
  }

  get isFree(): boolean {
    return this.#done === undefined && !this.#socket.destroyed;
  }

  send(call: InferCall, done: InferDone): void {
    this.#done = done;
    const { path, body, headerLength, deadlineMs } = call;
    const binary = headerLength === undefined ? "" : `${HEADERS.inferenceHeaderLength}: ${headerLength}\r\n`;
    const head =
      `POST ${path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${body.byteLength}\r\n${binary}` +
      `${HEADERS.deadlineMs}: ${Math.max(1, Math.ceil(deadlineMs))}${END_OF_HEAD}`;
    // Both in one system call.
    this.#socket.cork();
    this.#socket.write(head, "latin1");
    this.#socket.write(body);
    this.#socket.uncork();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #received(chunk: Buffer): void {
    if (this.#done === undefined) {
      this.#fail(new Error("the replica said something unasked"));
      return;
    }
    const rest = this.#arriving === undefined ? this.#readHead(chunk) : chunk;
    const arriving = this.#arriving;
    if (rest === undefined || arriving === undefined) return;
    const missing = arriving.body.byteLength - arriving.filled;
    if (rest.byteLength > missing) {
      this.#fail(new Error("the replica's reply is longer than it says"));
      return;
    }
    arriving.body.set(rest, arriving.filled);
    arriving.filled += rest.byteLength;
    if (rest.byteLength === missing) this.#finish(arriving.reply);
  }

  /** Returns what came behind the head; undefined while it is not whole, or none. */
  #readHead(chunk: Buffer): Buffer | undefined {
    const bytes = this.#head === undefined ? chunk : Buffer.concat([this.#head, chunk]);
    const end = bytes.indexOf(END_OF_HEAD, 0, "latin1");
    if (end === -1 && bytes.byteLength < MAX_HEAD_BYTES) {
      this.#head = bytes;
      return undefined;
    }
    this.#head = undefined;
    const reply = end === -1 ? undefined : readHead(bytes.toString("latin1", 0, end));
    if (reply === undefined) {
      this.#fail(new Error("the replica's reply is not one of ours"));
      return undefined;
    }
    this.#arriving = { reply, body: reply.body, filled: 0 };
    return bytes.subarray(end + END_OF_HEAD.length);
  }

  #finish(reply: InferReply): void {
    const done = this.#done;
    this.#done = undefined;
    this.#arriving = undefined;
    done?.(undefined, reply);
  }

  #fail(error: Error): void {
    const done = this.#done;
    this.#done = undefined;
    this.#onGone(this);
    this.#socket.destroy();
    done?.(error, undefined);
  }
}

/** Status, lengths and compute time; the body has its place, and is aligned for typed-array views. */
function readHead(head: string): InferReply | undefined {
  const status = /^HTTP\/1\.1 (\d{3}) /.exec(head)?.[1];
  let length: number | undefined;
  let headerLength: number | undefined;
  let computeMs: number | undefined;
  for (let at = head.indexOf("\r\n"); at !== -1;) {
    const colon = head.indexOf(":", at);
    if (colon === -1) break;
    const end = head.indexOf("\r\n", colon);
    const key = head.slice(at + 2, colon).toLowerCase();
    const value = head.slice(colon + 1, end === -1 ? undefined : end).trim();
    if (LENGTH.test(value)) {
      if (key === "content-length") length = Number(value);
      else if (key === HEADERS.inferenceHeaderLength) headerLength = Number(value);
      else if (key === HEADERS.computeUs) computeMs = Number(value) / 1000;
    }
    at = end;
  }
  if (status === undefined || length === undefined || length > MAX_REPLY_BYTES) return undefined;
  return { statusCode: Number(status), body: new Uint8Array(length), headerLength, computeMs };
}
