// The management API's HTTP server: listens, and loads what answers with the first request.
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { createServer } from "../../containers/node-http.ts";
import { isLoopbackName } from "../config.ts";
import { errorBody } from "../error-replies.ts";
import { InvalidOptionsError, toWindjammerError } from "../errors.ts";
import type { AdminAnswer, AdminServerParts } from "./admin-app.ts";
import { KEEP_ALIVE_MS } from "./connections.ts";
import { closeServer, listen } from "./listening.ts";

const HEADERS_TIMEOUT_MS = 30_000;

/** Serves the management API on `config.host` and `config.adminPort`. */
export class AdminServer {
  readonly #parts: AdminServerParts;
  readonly #server: Server;
  readonly #closing = new AbortController();
  #answer: Promise<AdminAnswer> | undefined;

  constructor(parts: AdminServerParts) {
    this.#parts = parts;
    // Bodies have their own time limits: a large bundle may take as long as it keeps coming.
    this.#server = createServer(
      { requestTimeout: 0, headersTimeout: HEADERS_TIMEOUT_MS, keepAliveTimeout: KEEP_ALIVE_MS },
      (request, response) => void this.#handle(request, response),
    );
  }

  /**
   * Starts to listen and gives the base URL.
   * @throws PortInUseError, InvalidOptionsError when the host cannot be bound, or needs a token and has none
   */
  async listen(): Promise<string> {
    const { config, log } = this.#parts;
    const { host, adminPort, token } = config;
    if (token === undefined && !isLoopbackName(host)) {
      throw new InvalidOptionsError(
        `host ${host}: the management API can be reached from other machines there and needs a token; give one (at least 16 characters), or listen on 127.0.0.1`,
        { details: { option: "token" } },
      );
    }
    return await listen(
      this.#server,
      {
        host,
        port: adminPort,
        name: "the management API",
        options: { host: "host", port: "adminPort", flag: "--admin-port" },
      },
      log,
    );
  }

  /** Ends streams, lets running requests finish for `graceMs`, then closes their connections. Idempotent. */
  async close(graceMs: number): Promise<void> {
    this.#closing.abort();
    await closeServer(this.#server, graceMs);
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const answer = await this.#loaded(response);
    if (!response.destroyed) answer?.(request, response);
  }

  /** A server that only predicts does without express and the routes. Undefined: it is answered. */
  async #loaded(response: ServerResponse): Promise<AdminAnswer | undefined> {
    try {
      this.#answer ??= this.#load();
      return await this.#answer;
    } catch (error) {
      // What could not be loaded, for want of a file descriptor, can be for the next request.
      this.#answer = undefined;
      this.#parts.log.error({ err: error }, "the management API could not be loaded");
      const known = toWindjammerError(error);
      response.statusCode = known.statusCode;
      response.setHeader("content-type", "application/json; charset=utf-8");
      response.end(JSON.stringify(errorBody(known)));
      return undefined;
    }
  }

  async #load(): Promise<AdminAnswer> {
    const { loading = (load) => load() } = this.#parts;
    return loading(async () => {
      const { adminApp } = await import("./admin-app.ts");
      return adminApp(this.#parts, this.#closing.signal);
    });
  }
}
