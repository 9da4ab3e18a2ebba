// The query server: takes predictions before node:http or straight from it, and leaves every other path to express, which
// would cost a prediction 4 to 8 times its CPU.
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { Server as NetServer, type Socket } from "node:net";
import { createServer } from "../../containers/node-http.ts";
import { giveBack } from "../../containers/spent-memory.ts";
import type { ServerConfig } from "../config.ts";
import { ShuttingDownError, toWindjammerError, WindjammerError } from "../errors.ts";
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
import { listen, queryPort } from "./listening.ts";
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
  /** Takes every request that is no prediction. Default: this server answers them itself. */
  readonly elsewhere?: (request: IncomingMessage, response: ServerResponse) => void;
  /** What /health/ready says; default true as long as the server is not closing. */
  readonly isReady?: () => boolean;
}

/** Node counts the request line in. */
const MAX_HEADER_BYTES = 16 * 1024;

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
  async listen(): Promise<string> {
    const { config, log } = this.#parts;
    const url = await listen(this.#server, queryPort(config), log);
    this.#watches = [this.#connections.watch(config.requestTimeoutMs), this.#plain.watch()];
    return url;
  }

  /** Serves a connection that another process accepted. */
  take(socket: Socket): void {
    this.#server.emit("connection", socket);
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
    // Of those that another process accepted the listener knows nothing.
    await this.#connections.whenGone();
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
    dropHost(request);
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
    dropHost(request);
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
    const release = (): void => giveBack(body);
    const arrivedAt = performance.now();
    try {
      incoming.call = dialect.answer({ target, body, header, arrivedAt, reply, release });
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
    const { elsewhere } = this.#parts;
    if (elsewhere !== undefined) {
      elsewhere(request, response);
      return;
    }
    try {
      this.#routes ??= this.#loadRoutes();
      const routes = await this.#routes;
      routes(request, response);
    } catch (error) {
      // What could not be loaded, for want of a file descriptor, can be for the next request.
      this.#routes = undefined;
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

function pathOf({ url = "/" }: IncomingMessage): string {
  const query = url.indexOf("?");
  return query === -1 ? url : url.slice(0, query);
}

/** A client may send a whole URL, as to a proxy, and a server has to understand it (RFC 9112, section 3.2.2). */
function dropHost(request: IncomingMessage): void {
  if (request.url?.startsWith("/") === false) request.url = request.url.replace(SCHEME_AND_HOST, "") || "/";
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
