// The query server: takes predictions before node:http or straight from it, and leaves every other path to express, which
// would cost a prediction 4 to 8 times its CPU.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { type AddressInfo, Server as NetServer } from "node:net";
import type { ServerConfig } from "../config.ts";
import {
  InvalidOptionsError,
  isNodeError,
  PortInUseError,
  ShuttingDownError,
  toWindjammerError,
  WindjammerError,
} from "../errors.ts";
import type { Log } from "../log.ts";
import type { Metrics } from "../metrics.ts";
import type { PredictCall, Predictor } from "../query/predict.ts";
import type { Router } from "../query/router.ts";
import { checkHeaders, readBody } from "./body.ts";
import { Connections, KEEP_ALIVE_MS, LINGER_MS } from "./connections.ts";
import { clipperDialect } from "./dialects/clipper.ts";
import { clipperUpdateDialect } from "./dialects/clipper-update.ts";
import { generateDialect } from "./dialects/oip/generate.ts";
import { oipDialect } from "./dialects/oip/oip.ts";
import { kserveV1Dialect } from "./dialects/kserve-v1.ts";
import { sagemakerDialect } from "./dialects/sagemaker.ts";
import { vertexDialect } from "./dialects/vertex.ts";
import type { Dialect, Reply } from "./dialects/dialect.ts";
import { Catalog, type Repository } from "./dialects/oip/catalog.ts";
import { PlainRequests } from "./plain-requests.ts";
import type { QueryRoutes } from "./query-routes.ts";
import { send, writeBody, writeHead } from "./reply.ts";

export interface QueryServerParts {
  readonly predictor: Predictor;
  readonly router: Router;
  readonly metrics: Metrics;
  readonly config: Pick<
    ServerConfig,
    "host" | "port" | "maxBodyBytes" | "maxInputs" | "requestTimeoutMs" | "clipper"
  > &
    Partial<Pick<ServerConfig, "serverName" | "token" | "vertex">>;
  readonly log: Log;
  /** Base URL of the management API, for the index page. */
  readonly adminUrl?: () => string | undefined;
  /** Loads and unloads models for clients of the Open Inference Protocol. */
  readonly repository?: Repository;
  /** What /health/ready says; default true as long as the server is not closing. */
  readonly isReady?: () => boolean;
}

/** Node counts the request line in. */
const MAX_HEADER_BYTES = 16 * 1024;
/** Bursts of new connections wait in the kernel, not in retries; it caps this itself. */
const BACKLOG = 4096;

/** One prediction request on its way through the server. */
interface Incoming {
  readonly dialect: Dialect;
  readonly target: string;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Its queries, once they are on their way. */
  call: PredictCall | undefined;
}

export class QueryServer {
  readonly #parts: QueryServerParts;
  readonly #server: Server;
  readonly #dialects: readonly [Dialect, ...Dialect[]];
  readonly #connections = new Connections();
  readonly #startedAt = performance.now();
  #routes: Promise<QueryRoutes> | undefined;
  #isClosing = false;
  #closed: Promise<void> | undefined;
  readonly #plain: PlainRequests;
  #watches: readonly NodeJS.Timeout[] = [];

  constructor(parts: QueryServerParts) {
    const { predictor, config } = parts;
    this.#parts = parts;
    this.#dialects = dialectsOf(predictor, config);
    this.#server = createServer({
      maxHeaderSize: MAX_HEADER_BYTES,
      requestTimeout: config.requestTimeoutMs,
      headersTimeout: config.requestTimeoutMs,
      keepAliveTimeout: KEEP_ALIVE_MS,
      connectionsCheckingInterval: Math.min(5000, Math.ceil(config.requestTimeoutMs / 4)),
      // Node would refuse a request without Host in a shape that is not ours, and nothing here reads it.
      requireHostHeader: false,
    });
    this.#plain = this.#readPlain();
    this.#server.on("request", (request, response) => this.#handle(request, response));
    this.#server.on("checkContinue", (request, response) => this.#handleExpecting(request, response));
    this.#server.on("clientError", (error, socket) => this.#connections.failed(error, socket));
    this.#server.on("timeout", (socket) => this.#connections.stalled(socket));
  }

  /** Starts to listen; resolves with the base URL. @throws PortInUseError, InvalidOptionsError */
  listen(): Promise<string> {
    const { config } = this.#parts;
    const { host, port } = config;
    return new Promise((resolve, reject) => {
      const refuse = (error: Error): void => reject(listenError(error, host, port));
      this.#server.once("error", refuse);
      this.#server.listen({ host, port, backlog: BACKLOG }, () => {
        this.#server.off("error", refuse);
        this.#server.on("error", (error) => this.#parts.log.error({ err: error }, "query server failed"));
        this.#watches = [this.#connections.watch(config.requestTimeoutMs), this.#plain.watch()];
        resolve(urlOf(host, this.#server.address() as AddressInfo));
      });
    });
  }

  /**
   * Takes no more requests; those here get `graceMs` to finish, then their connections are cut. A second call waits for
   * the first.
   */
  async close(graceMs: number): Promise<void> {
    this.#isClosing = true;
    if (this.#server.listening) this.#closed ??= this.#close(graceMs);
    await this.#closed;
  }

  async #close(graceMs: number): Promise<void> {
    const cut = setTimeout(() => this.#connections.cut(), graceMs);
    await new Promise<void>((resolve) => {
      // Not http's own close(): it takes a connection for idle, and cuts it, while its client still reads a reply.
      NetServer.prototype.close.call(this.#server, () => resolve());
      this.#connections.close();
    });
    clearTimeout(cut);
    for (const watch of this.#watches) clearInterval(watch);
    // Stops Node's timer that looks for late requests.
    this.#server.close();
  }

  /** Plain requests are read before node:http sees them; what is anything else goes on to its own listeners. */
  #readPlain(): PlainRequests {
    const server = this.#server;
    const ofNode = server.listeners("connection");
    server.removeAllListeners("connection");
    const { maxBodyBytes, requestTimeoutMs } = this.#parts.config;
    const plain = new PlainRequests({
      dialects: this.#dialects,
      connections: this.#connections,
      maxBodyBytes,
      requestTimeoutMs,
      keepAliveMs: KEEP_ALIVE_MS,
      isClosing: () => this.#isClosing,
      onError: (error) => this.#known(error),
      refuse: (dialect, error) => this.#refusal(dialect, error),
      handOver: (socket) => {
        for (const listener of ofNode) listener.call(server, socket);
      },
    });
    server.on("connection", (socket) => {
      this.#connections.opened(socket);
      plain.take(socket);
    });
    return plain;
  }

  #handle(request: IncomingMessage, response: ServerResponse): void {
    const incoming = request.method === "POST" ? this.#match(request, response) : undefined;
    this.#connections.begin(response);
    response.on("close", () => {
      this.#connections.end(response);
      if (!response.writableFinished) incoming?.call?.abandon();
    });
    if (incoming === undefined) {
      void this.#handleElsewhere(request, response);
      return;
    }
    const { maxBodyBytes } = this.#parts.config;
    const refused = this.#isClosing ? closingError() : checkHeaders(request, maxBodyBytes);
    if (refused !== undefined) {
      this.#refuse(incoming, refused);
      return;
    }
    readBody(request, maxBodyBytes, (error, body) => {
      if (error === undefined) this.#answer(incoming, body);
      else this.#refuse(incoming, error);
    });
  }

  #match(request: IncomingMessage, response: ServerResponse): Incoming | undefined {
    const path = pathOf(request);
    for (const dialect of this.#dialects) {
      const target = dialect.match(path);
      if (target !== undefined) return { dialect, target, request, response, call: undefined };
    }
    return undefined;
  }

  /** A client that asks first is told what is wrong before it sends its body. */
  #handleExpecting(request: IncomingMessage, response: ServerResponse): void {
    const incoming = this.#match(request, response);
    const refused = checkHeaders(request, this.#parts.config.maxBodyBytes);
    if (incoming === undefined || refused === undefined) {
      response.writeContinue();
      this.#handle(request, response);
      return;
    }
    send(response, this.#refusal(incoming.dialect, refused), true);
  }

  #answer(incoming: Incoming, body: Buffer): void {
    const { dialect, target, request, response } = incoming;
    if (response.destroyed) return;
    const reply = (build: () => Reply): void => this.#reply(incoming, build);
    const header = (name: string): string | undefined => request.headers[name]?.toString();
    try {
      incoming.call = dialect.answer({ target, body, header, arrivedAt: performance.now(), reply });
    } catch (error) {
      reply(() => this.#refusal(dialect, this.#known(error)));
    }
  }

  /** Never throws: the queue calls it. */
  #reply({ dialect, response }: Pick<Incoming, "dialect" | "response">, build: () => Reply): void {
    if (response.destroyed) return;
    let reply: Reply;
    try {
      reply = build();
    } catch (error) {
      reply = dialect.refusal(this.#known(error));
    }
    send(response, reply, this.#isClosing);
  }

  /**
   * Answers while the body still comes. Closing at once would reset the connection, and the client might never see why:
   * what it goes on sending is thrown away until it stops, for a while at most.
   */
  #refuse({ dialect, request, response }: Incoming, error: WindjammerError): void {
    if (response.destroyed) return;
    const reply = this.#refusal(dialect, error);
    writeHead(response, reply, true);
    writeBody(response, reply);
    if (request.complete) {
      response.end();
      return;
    }
    const linger = setTimeout(() => response.end(), LINGER_MS);
    request.once("end", () => response.end());
    response.once("close", () => clearTimeout(linger));
    request.resume();
  }

  /** Of a request no query of which is on its way. */
  #refusal(dialect: Dialect, error: WindjammerError): Reply {
    this.#parts.metrics.refused(dialect.name, error.code);
    return dialect.refusal(error);
  }

  async #handleElsewhere(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      this.#routes ??= this.#loadRoutes();
      const routes = await this.#routes;
      routes(request, response);
    } catch (error) {
      const [dialect] = this.#dialects;
      this.#reply({ dialect, response }, () => dialect.refusal(this.#known(error)));
    }
  }

  /** Loaded by the first request that is no prediction. */
  async #loadRoutes(): Promise<QueryRoutes> {
    const { router, metrics, adminUrl, isReady, config, repository } = this.#parts;
    const { queryRoutes } = await import("./query-routes.ts");
    const isUp = (): boolean => !this.#isClosing && (isReady?.() ?? true);
    return queryRoutes({
      router,
      metrics,
      startedAt: this.#startedAt,
      speaksClipper: config.clipper !== undefined,
      adminUrl: () => adminUrl?.(),
      isReady: isUp,
      token: config.token,
      vertex: config.vertex,
      catalog: new Catalog({
        router,
        metrics,
        serverName: config.serverName ?? "windjammer",
        isReady: isUp,
        repository,
      }),
      onError: (error) => this.#known(error),
    });
  }

  /** What is not one of our errors is a defect: the log gets its stack, the caller its code. */
  #known(error: unknown): WindjammerError {
    if (!(error instanceof WindjammerError)) this.#parts.log.error({ err: error }, "unexpected error");
    return toWindjammerError(error);
  }
}

/** The first that matches a path answers it. */
function dialectsOf(
  predictor: Predictor,
  { maxInputs, clipper, vertex }: QueryServerParts["config"],
): readonly [Dialect, ...Dialect[]] {
  const parts = { predictor, maxInputs };
  const all: readonly [Dialect, ...Dialect[]] = [
    clipperDialect({ ...parts, form: clipper === undefined ? "windjammer" : "clipper" }),
    clipperUpdateDialect({ predictor }),
    oipDialect(parts),
    generateDialect(parts),
    kserveV1Dialect(parts),
    sagemakerDialect(parts),
  ];
  // Its path is whatever Vertex AI says, "/model/predict" too, which is an application's otherwise.
  return vertex === undefined ? all : [vertexDialect(parts, vertex.predictRoute), ...all];
}

function pathOf(request: IncomingMessage): string {
  let url = request.url ?? "/";
  // A client may send a whole URL, as to a proxy, and a server has to understand it (RFC 9112, section 3.2.2).
  if (!url.startsWith("/")) url = url.replace(SCHEME_AND_HOST, "");
  const query = url.indexOf("?");
  return query === -1 ? url : url.slice(0, query);
}

const SCHEME_AND_HOST = /^https?:\/\/[^/?]*/i;

function closingError(): ShuttingDownError {
  return new ShuttingDownError(
    "the server is closing; send the request to another one, or again in a moment",
    {
      retryAfterS: 1,
    },
  );
}

function urlOf(host: string, { address, port, family }: AddressInfo): string {
  if (address === "0.0.0.0" || address === "::") return `http://127.0.0.1:${port}`;
  return `http://${family === "IPv6" ? `[${address}]` : host}:${port}`;
}

function listenError(error: Error, host: string, port: number): WindjammerError {
  const code = isNodeError(error) ? error.code : undefined;
  const details = { host, port };
  if (code === "EADDRINUSE") {
    return new PortInUseError(
      `port ${port} on ${host} is in use by another process; stop it, or choose another port (0 picks a free one)`,
      { cause: error, details },
    );
  }
  return new InvalidOptionsError(
    `cannot listen on ${host} port ${port}: ${error.message}; choose another host or port`,
    { cause: error, details },
  );
}
