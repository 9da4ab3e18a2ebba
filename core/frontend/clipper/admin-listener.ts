// Clipper's management API on its own port: paths, status codes and plain texts as Clipper has them.
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { createServer } from "../../../containers/node-http.ts";
import { isLoopbackName } from "../../config.ts";
import { errorBody } from "../../error-replies.ts";
import {
  MethodNotAllowedError,
  RouteNotFoundError,
  toWindjammerError,
  WindjammerError,
} from "../../errors.ts";
import type { Log } from "../../log.ts";
import { createGuard, type Guard, refuseOtherPages } from "../admin-guard.ts";
import { checkHeaders, readBody } from "../body.ts";
import { KEEP_ALIVE_MS } from "../connections.ts";
import { closeServer, listen } from "../listening.ts";
import { CLIPPER_CALLS, type ClipperCall, type ClipperCallParts } from "./calls.ts";
import { ClipperJsonError, ClipperRefusal, Fields } from "./fields.ts";
import { jsonErrorText } from "./schemas.ts";

export interface ClipperAdminParts extends ClipperCallParts {
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
  readonly requestTimeoutMs: number;
  readonly log: Log;
}

/** Largest body, bytes: a default output may be an image. */
const MAX_BODY_BYTES = 32 * 2 ** 20;

/** What is answered without a body. */
const PLAIN: ReadonlyMap<string, { readonly method: string; readonly text: string }> = new Map([
  ["/admin/ping", { method: "GET", text: "PONG" }],
  // Clipper's Python library tells its Prometheus of new containers, at the address that our labels give it.
  ["/-/reload", { method: "POST", text: "" }],
]);

export class ClipperAdminListener {
  readonly #parts: ClipperAdminParts;
  readonly #server: Server;
  readonly #guard: Guard;
  /** The last of the calls that take turns. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(parts: ClipperAdminParts) {
    this.#parts = parts;
    // It has no token, as Clipper's clients know none: what a web page could send is refused.
    this.#guard = isLoopbackName(parts.host) ? createGuard(undefined) : refuseOtherPages;
    this.#server = createServer(
      {
        requestTimeout: parts.requestTimeoutMs,
        headersTimeout: parts.requestTimeoutMs,
        keepAliveTimeout: KEEP_ALIVE_MS,
      },
      (request, response) => void this.#answer(request, response),
    );
  }

  /** Resolves with the base URL. @throws PortInUseError, InvalidOptionsError */
  async listen(): Promise<string> {
    const { host, port, log } = this.#parts;
    return await listen(
      this.#server,
      {
        host,
        port,
        name: "Clipper's management API",
        options: { host: "clipper.host", port: "clipper.adminPort", flag: "--clipper-admin-port" },
      },
      log,
    );
  }

  /** Running calls get `graceMs`. Idempotent. */
  close(graceMs: number): Promise<void> {
    return closeServer(this.#server, graceMs);
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      this.#guard(request);
      respond(response, 200, await this.#reply(request, response));
    } catch (error) {
      this.#refuse(response, error);
    }
  }

  async #reply(request: IncomingMessage, response: ServerResponse): Promise<string> {
    const [path = ""] = (request.url ?? "").split("?");
    const plain = PLAIN.get(path);
    if (plain !== undefined) {
      checkMethod(request, response, plain.method);
      return plain.text;
    }
    const call = path.startsWith("/admin/") ? CLIPPER_CALLS.get(path.slice("/admin/".length)) : undefined;
    if (call === undefined)
      throw new RouteNotFoundError(
        `no such path: ${path.slice(0, 200)}; this port speaks Clipper's management API`,
      );
    checkMethod(request, response, "POST");
    const body = await bodyOf(request);
    if (call.isInTurn !== true) return this.#run(call, body);
    const run = this.#last.then(() => this.#run(call, body));
    this.#last = run.catch(() => undefined);
    return run;
  }

  async #run(call: ClipperCall, body: Buffer): Promise<string> {
    try {
      return await call.handle(this.#parts, new Fields(body));
    } catch (error) {
      if (!(error instanceof ClipperJsonError)) throw error;
      throw new ClipperRefusal(jsonErrorText(error.message, call.schema), { cause: error });
    }
  }

  #refuse(response: ServerResponse, error: unknown): void {
    if (error instanceof ClipperRefusal) {
      respond(response, 400, error.message);
      return;
    }
    const known = toWindjammerError(error);
    if (known.code === WindjammerError.kind.code)
      this.#parts.log.error({ err: error }, "a call of Clipper's management API failed");
    const isOurs = known instanceof RouteNotFoundError || known instanceof MethodNotAllowedError;
    // Clipper knows 400 alone; what is not the caller's fault keeps its status.
    const isCallers = known.statusCode < 500 && known.statusCode !== 413 && !isOurs;
    respond(
      response,
      isCallers ? 400 : known.statusCode,
      isOurs ? JSON.stringify(errorBody(known)) : known.message,
    );
  }
}

/** @throws MethodNotAllowedError */
function checkMethod(request: IncomingMessage, response: ServerResponse, allowed: string): void {
  if (request.method === allowed) return;
  response.setHeader("allow", allowed);
  throw new MethodNotAllowedError(`this path takes ${allowed}, not ${request.method}`, {
    details: { allowed },
  });
}

function bodyOf(request: IncomingMessage): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const refused = checkHeaders(request, MAX_BODY_BYTES);
    if (refused !== undefined) throw refused;
    readBody(request, MAX_BODY_BYTES, (error, body) => {
      if (error === undefined) resolve(body);
      else reject(error);
    });
  });
}

/** Clipper calls everything JSON. What is left of a body that was refused is not read. */
function respond(response: ServerResponse, status: number, text: string): void {
  if (response.destroyed || response.headersSent) return;
  if (!response.req.complete) response.setHeader("connection", "close");
  response.writeHead(status, {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(text),
  });
  response.end(text);
}
