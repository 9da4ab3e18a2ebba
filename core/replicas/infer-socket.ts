// The short way to one of our own model containers: infer calls straight to the model's own thread, on a socket that the
// container's metadata names. Same protocol; a client for this one server costs a quarter of a general one.
import { connect, type Socket } from "node:net";
import { dirname, join } from "node:path";
import { END_OF_HEAD, type MessageHead, MessageReader } from "../../containers/infer-message.ts";
import { HEADERS, INFER_SOCKET, isForeign, type Manifest } from "../../containers/protocol.ts";
import type { ReplicaAddress } from "../types.ts";
import { type InferCall, type InferDone, MAX_REPLY_BYTES, type ReplicaTransport } from "./transport.ts";

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

/** Of a head and a small reply; larger ones come in parts of it. */
const READ_BYTES = 64 * 1024;
const STATUS = /^HTTP\/1\.1 (\d{3}) /;

/** One kept connection, one call at a time. */
class InferConnection {
  readonly #socket: Socket;
  readonly #onGone: (connection: InferConnection) => void;
  readonly #reader = new MessageReader({
    memory: placeOf,
    onMessage: (head, body) => this.#answered(head, body),
  });
  #done: InferDone | undefined;

  constructor(path: string, onGone: (connection: InferConnection) => void) {
    this.#onGone = onGone;
    // All that comes is read into the same memory: the reader keeps none of it.
    const buffer = Buffer.allocUnsafeSlow(READ_BYTES);
    const callback = (length: number): boolean => this.#received(buffer.subarray(0, length));
    this.#socket = connect({ path, onread: { buffer, callback } });
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

  /** True: reading goes on. */
  #received(chunk: Buffer): boolean {
    try {
      if (this.#done === undefined) throw new Error("came unasked");
      this.#reader.take(chunk);
      return true;
    } catch (error) {
      this.#fail(new Error(`the replica's reply ${(error as Error).message}`, { cause: error }));
      return false;
    }
  }

  #answered({ start, headerLength, computeUs }: MessageHead, body: Uint8Array): void {
    const status = STATUS.exec(start)?.[1];
    if (status === undefined) throw new Error("is not one of ours");
    const computeMs = computeUs === undefined ? undefined : computeUs / 1000;
    const done = this.#done;
    this.#done = undefined;
    done?.(undefined, { statusCode: Number(status), body, headerLength, computeMs });
  }

  #fail(error: Error): void {
    const done = this.#done;
    this.#done = undefined;
    this.#onGone(this);
    this.#socket.destroy();
    done?.(error, undefined);
  }
}

/** @throws Error where no reply of ours has so many bytes */
function placeOf(size: number): Uint8Array {
  if (size <= MAX_REPLY_BYTES) return new Uint8Array(size);
  throw new Error("is not one of ours");
}
