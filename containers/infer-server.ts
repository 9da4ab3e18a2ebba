// Takes infer calls on the model's own thread, from a frontend on the same machine: a socket that understands nothing else
// costs a call a third of what node:http does.
import { chmodSync, lstatSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import type { Prediction, Predicting } from "./call-queue.ts";
import { bodyMemory } from "./http-body.ts";
import { type MessageHead, MessageReader } from "./infer-message.ts";
import { STATUS_CODES } from "./node-http.ts";
import { ReplyWriter } from "./infer-reply.ts";
import { RequestReader } from "./infer-request.ts";
import { HEADERS, type Manifest, PATHS } from "./protocol.ts";
import { RequestError } from "./request-error.ts";
import { giveBack } from "./spent-memory.ts";

/** Up to here one copy costs less than several writes. */
const MAX_JOINED_BYTES = 64 * 1024;
/** Larger calls get memory of their own. */
const MAX_SPARE_BYTES = 16 * 2 ** 20;

export interface InferServerParts {
  readonly model: { readonly name: string; readonly version: string };
  readonly manifest: Manifest;
  readonly calls: Predicting;
  /** The memory of a call serves the next one: the model keeps nothing of its inputs. */
  readonly reusesBodies: boolean;
}

export class InferServer {
  readonly #server: Server;
  readonly #connections = new Set<InferConnection>();
  #isDraining = false;

  constructor(parts: InferServerParts) {
    const shared = new Shared(parts);
    this.#server = createServer((socket) => {
      const connection = new InferConnection(socket, shared, () => this.#closeIfIdle(connection));
      this.#connections.add(connection);
      socket.on("close", () => this.#connections.delete(connection));
    });
  }

  /** Rejects where the path cannot be listened on. */
  async listen(path: string): Promise<void> {
    // A killed container leaves its socket behind; anything else of that name is not ours to remove.
    if (lstatSync(path, { throwIfNoEntry: false })?.isSocket()) rmSync(path);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#server.once("error", reject);
    // A worker cannot set the mask; the usual one keeps others from connecting in the meantime.
    this.#server.listen(path, () => {
      chmodSync(path, 0o660);
      resolve();
    });
    await promise;
  }

  /** Takes no new connections, answers what has arrived, and resolves when all connections are closed. */
  async drain(): Promise<void> {
    this.#isDraining = true;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.close(() => resolve());
    for (const connection of this.#connections) this.#closeIfIdle(connection);
    await promise;
  }

  /** What has arrived by now, and is not read, is a call that gets its answer. */
  #closeIfIdle(connection: InferConnection): void {
    if (!this.#isDraining || !connection.isIdle) return;
    setImmediate(() => {
      if (connection.isIdle) connection.close();
    });
  }
}

/** What the connections of one server have in common. */
class Shared {
  readonly parts: InferServerParts;
  readonly reader: RequestReader;
  readonly writer: ReplyWriter;
  /** First lines of the calls that are answered. */
  readonly #starts: ReadonlySet<string>;
  /** Memory of a call that is over. */
  #spare: Uint8Array | undefined;

  constructor(parts: InferServerParts) {
    const { model, manifest } = parts;
    this.parts = parts;
    this.reader = new RequestReader(manifest.contract);
    this.writer = new ReplyWriter(model, manifest.contract);
    const paths = [PATHS.infer(model.name), PATHS.infer(model.name, model.version)];
    this.#starts = new Set(paths.map((path) => `POST ${path} HTTP/1.1`));
  }

  /** @throws RequestError */
  check({ start, headerLength = 0, contentLength }: MessageHead): void {
    if (!this.#starts.has(start)) throw new RequestError(404, `this socket takes infer calls, not ${start}`);
    if (headerLength > contentLength)
      throw new RequestError(
        400,
        `${HEADERS.inferenceHeaderLength} is ${headerLength}, the body has ${contentLength} bytes`,
      );
  }

  /** New memory for each batch costs more than the rest of the call: it is cleared, counted and collected. @throws RequestError */
  memory(size: number): Uint8Array {
    const spare = this.#spare;
    if (spare !== undefined && size <= spare.byteLength) {
      this.#spare = undefined;
      return spare.subarray(0, size);
    }
    return bodyMemory(size);
  }

  release({ buffer }: Uint8Array): void {
    if (this.parts.reusesBodies && buffer.byteLength <= MAX_SPARE_BYTES) this.#spare = new Uint8Array(buffer);
  }
}

/**
 * One connection, one call at a time. Half a call has no time limit of its own: the frontend is on this machine, and when
 * it dies the system closes its connections. A drain waits for the other half no longer than the container's own limit.
 */
class InferConnection {
  readonly #socket: Socket;
  readonly #shared: Shared;
  readonly #onIdle: () => void;
  readonly #reader: MessageReader;
  /** Of the call that is not answered yet. */
  #cancel: (() => void) | undefined;

  constructor(socket: Socket, shared: Shared, onIdle: () => void) {
    this.#socket = socket;
    this.#shared = shared;
    this.#onIdle = onIdle;
    this.#reader = new MessageReader({
      memory: (size) => shared.memory(size),
      onMessage: (head, body) => void this.#call(head, body),
    });
    socket.on("data", (chunk: Buffer) => this.#received(chunk));
    // What went wrong with a connection is told by its close.
    socket.on("error", () => undefined);
    socket.on("close", () => this.#cancel?.());
  }

  get isIdle(): boolean {
    return this.#cancel === undefined && !this.#reader.isInMessage;
  }

  /** Ends it, behind what is on its way to the frontend. */
  close(): void {
    this.#socket.destroySoon();
  }

  #received(chunk: Buffer): void {
    // Behind what was refused.
    if (this.#socket.writableEnded) return;
    try {
      if (this.#cancel !== undefined) throw new RequestError(400, "one call at a time");
      this.#reader.take(chunk);
      giveBack(chunk);
    } catch (error) {
      // Where the next call would begin is unknown.
      this.#refuse(
        error instanceof RequestError ? error : new RequestError(400, `the call ${(error as Error).message}`),
      );
      this.close();
    }
  }

  async #call(head: MessageHead, body: Uint8Array): Promise<void> {
    const { reader, parts } = this.#shared;
    try {
      this.#shared.check(head);
      const { count, inputs, reply } = reader.read(body, head.headerLength);
      const deadlineAt = performance.now() + (head.deadlineMs ?? Number.POSITIVE_INFINITY);
      const { prediction, cancel } = parts.calls.predict({ count, inputs, deadlineAt });
      this.#cancel = cancel;
      const { result, computeUs } = await prediction;
      this.#answer(this.#shared.writer.write(reply, result), computeUs);
      // An output may be a part of an input, so that it has to be on its way.
      if (this.#socket.writableLength === 0) this.#shared.release(body);
    } catch (error) {
      this.#refuse(error);
    }
    this.#cancel = undefined;
    this.#onIdle();
  }

  #answer(
    { headerLength, chunks }: ReturnType<ReplyWriter["write"]>,
    computeUs: Prediction["computeUs"],
  ): void {
    const binary = headerLength === undefined ? "" : `${HEADERS.inferenceHeaderLength}: ${headerLength}\r\n`;
    this.#write(200, `${binary}${HEADERS.computeUs}: ${computeUs}\r\n`, chunks);
  }

  #refuse(error: unknown): void {
    if (!(error instanceof RequestError)) console.error("cannot answer a call:", error);
    const { message } = error as Error;
    this.#write(error instanceof RequestError ? error.statusCode : 500, "", [
      Buffer.from(JSON.stringify({ error: message })),
    ]);
  }

  #write(status: number, headers: string, chunks: readonly Uint8Array[]): void {
    const socket = this.#socket;
    if (socket.destroyed) return;
    let size = 0;
    for (const chunk of chunks) size += chunk.byteLength;
    const head = Buffer.from(
      `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}\r\ncontent-length: ${size}\r\n${headers}\r\n`,
      "latin1",
    );
    if (size <= MAX_JOINED_BYTES) {
      socket.write(Buffer.concat([head, ...chunks]));
      return;
    }
    socket.cork();
    socket.write(head);
    for (const chunk of chunks) socket.write(chunk);
    socket.uncork();
  }
}
