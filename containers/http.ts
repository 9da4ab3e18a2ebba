// The HTTP side of a model container: paths of the Open Inference Protocol, status codes, drain.
import { chmodSync, lstatSync, rmSync } from "node:fs";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { createServer } from "./node-http.ts";
import type { Predicting } from "./call-queue.ts";
import type { Environment } from "./environment.ts";
import { readBody } from "./http-body.ts";
import { type ReplyBody, ReplyWriter } from "./infer-reply.ts";
import { RequestReader } from "./infer-request.ts";
import { modelMetadata, serverMetadata } from "./metadata.ts";
import { HEADERS, type Manifest, PATHS } from "./protocol.ts";
import { badRequest, quoted, RequestError } from "./request-error.ts";

/** A frontend keeps its connections to a replica; only one that is long forgotten is closed. */
const KEEP_ALIVE_MS = 600_000;
const HEADERS_TIMEOUT_MS = 30_000;
const REQUEST_TIMEOUT_MS = 300_000;

/** Up to here one copy costs less than several writes. */
const MAX_JOINED_BYTES = 64 * 1024;

interface Route {
  readonly method: "GET" | "POST";
  readonly handle: (request: IncomingMessage, response: ServerResponse) => void | Promise<void>;
}

export interface ContainerServerParts {
  readonly model: { readonly name: string; readonly version: string };
  readonly manifest: Manifest;
  readonly thread: Predicting;
  /** Of the socket on which the model's own thread takes infer calls, once there is one. */
  readonly inferSocket?: () => string | undefined;
}

export class ContainerServer {
  readonly #parts: ContainerServerParts;
  readonly #server: Server;
  readonly #routes: ReadonlyMap<string, Route>;
  readonly #reader: RequestReader;
  readonly #writer: ReplyWriter;
  #isDraining = false;
  /** Requests that are not answered to the last byte. */
  #active = 0;

  constructor(parts: ContainerServerParts) {
    this.#parts = parts;
    this.#routes = this.#makeRoutes();
    this.#reader = new RequestReader(parts.manifest.contract);
    this.#writer = new ReplyWriter(parts.model, parts.manifest.contract);
    this.#server = createServer(
      {
        keepAliveTimeout: KEEP_ALIVE_MS,
        headersTimeout: HEADERS_TIMEOUT_MS,
        requestTimeout: REQUEST_TIMEOUT_MS,
      },
      (request, response) => void this.#handle(request, response),
    );
  }

  /**
   * Listens, and resolves to the address for people.
   * @throws Error naming the address
   */
  async listen(address: Environment["address"]): Promise<string> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#server.once("error", reject);
    this.#server.once("listening", resolve);
    const shown = "socketPath" in address ? address.socketPath : `${address.host}:${address.port}`;
    try {
      if ("socketPath" in address) this.#listenOnSocket(address.socketPath);
      else this.#server.listen(address.port, address.host);
      await promise;
    } catch (error) {
      throw new Error(`cannot listen on ${shown}: ${(error as Error).message}`, { cause: error });
    }
    const bound = this.#server.address();
    return typeof bound === "object" && bound !== null ? `${bound.address}:${bound.port}` : shown;
  }

  /** Takes no new connections, answers what has arrived, and resolves when all connections are closed. */
  async drain(): Promise<void> {
    this.#isDraining = true;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.close(() => resolve());
    this.#closeWhenDone();
    await promise;
  }

  /** Also removes the socket's file. Idempotent. */
  stopListening(): void {
    this.#server.close();
  }

  // Node does not count a connection as idle before its first request: those would be waited for.
  #closeWhenDone(): void {
    if (!this.#isDraining || this.#active > 0) return;
    setImmediate(() => {
      if (this.#active === 0) this.#server.closeAllConnections();
    });
  }

  #listenOnSocket(path: string): void {
    // A killed container leaves its socket behind; anything else of that name is not ours to remove.
    if (lstatSync(path, { throwIfNoEntry: false })?.isSocket()) rmSync(path);
    // Binding happens inside listen(), so that nobody else can connect at any moment.
    const umask = process.umask(0o117);
    try {
      this.#server.listen(path, () => chmodSync(path, 0o660));
    } finally {
      process.umask(umask);
    }
  }

  #makeRoutes(): ReadonlyMap<string, Route> {
    const { model, manifest } = this.#parts;
    const routes = new Map<string, Route>();
    const get = (path: string, answer: () => readonly [number, object]): void => {
      routes.set(path, { method: "GET", handle: (_request, response) => this.#send(response, ...answer()) });
    };
    get(PATHS.server, () => [200, serverMetadata()]);
    get(`${PATHS.server}/`, () => [200, serverMetadata()]);
    get(PATHS.live, () => [200, { live: true }]);
    get(PATHS.ready, () =>
      this.#isReady ? [200, { ready: true }] : [503, { ready: false, ...this.#notReady() }],
    );
    const versioned = `${PATHS.model(model.name)}/versions/${encodeURIComponent(model.version)}`;
    for (const path of [PATHS.model(model.name), versioned]) {
      get(path, () => [200, modelMetadata(model, manifest, this.#parts.inferSocket?.())]);
      get(`${path}/ready`, () => [
        this.#isReady ? 200 : 503,
        { name: model.name, ready: this.#isReady, ...(this.#isReady ? {} : this.#notReady()) },
      ]);
      routes.set(`${path}/infer`, {
        method: "POST",
        handle: (request, response) => this.#infer(request, response),
      });
    }
    return routes;
  }

  get #isReady(): boolean {
    return this.#parts.thread.isReady && !this.#isDraining;
  }

  #notReady(): { readonly error: string } {
    const { name } = this.#parts.model;
    return { error: this.#isDraining ? `model ${name} is shutting down` : `model ${name} is still loading` };
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.#active += 1;
    response.once("close", () => {
      this.#active -= 1;
      this.#closeWhenDone();
    });
    try {
      const [path = ""] = (request.url ?? "").split("?", 1);
      const route = this.#routes.get(path);
      if (route === undefined) throw this.#notFound(path);
      if (route.method !== request.method)
        throw new RequestError(405, `${path} takes ${route.method}, got ${request.method}`);
      await route.handle(request, response);
    } catch (error) {
      this.#fail(response, error);
    }
  }

  #notFound(path: string): RequestError {
    const [, name = "", version] = /^\/v2\/models\/([^/]+)(?:\/versions\/([^/]+))?/.exec(path) ?? [];
    const { model } = this.#parts;
    const isKnown = name === encodeURIComponent(model.name);
    if (name === "" || (isKnown && (version === undefined || version === encodeURIComponent(model.version))))
      return new RequestError(404, `unknown path ${quoted(path)}`);
    const asked = version === undefined ? quoted(name) : `${quoted(name)} version ${quoted(version)}`;
    return new RequestError(
      404,
      `Request for unknown model: ${asked} is not served here; this is ${model.name} version ${model.version}`,
    );
  }

  async #infer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { thread } = this.#parts;
    const deadlineAt =
      performance.now() + headerNumber(request, HEADERS.deadlineMs, Number.POSITIVE_INFINITY);
    // Calls that arrive while draining are still answered: their sender cannot know yet.
    if (!thread.isReady) throw new RequestError(503, this.#notReady().error);
    const body = await readBody(request);
    const { count, inputs, reply } = this.#reader.read(body, headerLength(request, body));
    const { prediction, cancel } = thread.predict({ count, inputs, deadlineAt });
    response.once("close", () => {
      if (!response.writableFinished) cancel();
    });
    const { result, computeUs } = await prediction;
    this.#sendReply(response, this.#writer.write(reply, result), computeUs);
  }

  #sendReply(response: ServerResponse, body: ReplyBody, computeUs: number): void {
    const { headerLength: length, chunks } = body;
    const size = chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0);
    if (this.#isDraining) response.shouldKeepAlive = false;
    response.writeHead(200, [
      "content-type",
      length === undefined ? "application/json" : "application/octet-stream",
      "content-length",
      `${size}`,
      HEADERS.computeUs,
      `${computeUs}`,
      ...(length === undefined ? [] : [HEADERS.inferenceHeaderLength, `${length}`]),
    ]);
    if (size <= MAX_JOINED_BYTES) {
      response.end(Buffer.concat(chunks, size));
      return;
    }
    for (const chunk of chunks) response.write(chunk);
    response.end();
  }

  #fail(response: ServerResponse, error: unknown): void {
    const statusCode = error instanceof RequestError ? error.statusCode : 500;
    if (!(error instanceof RequestError)) console.error("cannot answer a request:", error);
    if (response.destroyed || response.headersSent) return;
    // The rest of a body that was refused must not be taken for the next request.
    if (!response.req.complete) response.shouldKeepAlive = false;
    this.#send(response, statusCode, { error: error instanceof Error ? error.message : String(error) });
  }

  #send(response: ServerResponse, statusCode: number, body: object): void {
    const text = JSON.stringify(body);
    if (this.#isDraining) response.shouldKeepAlive = false;
    response.writeHead(statusCode, {
      "content-type": "application/json",
      "content-length": Buffer.byteLength(text),
    });
    response.end(text);
  }
}

function headerLength(request: IncomingMessage, body: Uint8Array): number | undefined {
  const length = headerNumber(request, HEADERS.inferenceHeaderLength, -1);
  if (length === -1) return undefined;
  if (Number.isInteger(length) && length > 0 && length <= body.byteLength) return length;
  throw badRequest(
    `${HEADERS.inferenceHeaderLength} is ${length}, the body has ${body.byteLength} bytes; raw requests are not supported`,
  );
}

function headerNumber(request: IncomingMessage, name: string, fallback: number): number {
  const text = request.headers[name];
  if (text === undefined) return fallback;
  const value = typeof text === "string" && /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isFinite(value)) return value;
  throw badRequest(`header ${name} is ${quoted(text)}, not a number`);
}
