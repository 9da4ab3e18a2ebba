// The management API's HTTP server: where it listens, and how it closes.
import type { Server } from "node:http";
import { createServer } from "../../containers/node-http.ts";
import { isLoopbackName } from "../config.ts";
import { InvalidOptionsError } from "../errors.ts";
import { adminApp, type AdminServerParts } from "./admin-app.ts";
import { KEEP_ALIVE_MS } from "./connections.ts";
import { closeServer, listen } from "./listening.ts";

const HEADERS_TIMEOUT_MS = 30_000;

/** Serves the management API on `config.host` and `config.adminPort`. */
export class AdminServer {
  readonly #parts: AdminServerParts;
  readonly #server: Server;
  readonly #closing = new AbortController();

  constructor(parts: AdminServerParts) {
    this.#parts = parts;
    // Bodies have their own time limits: a large bundle may take as long as it keeps coming.
    this.#server = createServer(
      { requestTimeout: 0, headersTimeout: HEADERS_TIMEOUT_MS, keepAliveTimeout: KEEP_ALIVE_MS },
      adminApp(parts, this.#closing.signal),
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
}
