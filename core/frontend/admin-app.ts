// What answers requests of the management API: express over the table of routes, one place that turns errors into replies.
import type { ServerResponse } from "node:http";
import express, { type ErrorRequestHandler, type Express, type Request, type Response } from "express";
import { errorBody } from "../error-replies.ts";
import {
  BodyTooLargeError,
  InvalidJsonError,
  InvalidRequestError,
  MethodNotAllowedError,
  RequestTimeoutError,
  RouteNotFoundError,
  ShuttingDownError,
  toWindjammerError,
  UnauthorizedError,
  UnsupportedEncodingError,
  WindjammerError,
} from "../errors.ts";
import type { Log } from "../log.ts";
import { createGuard } from "./admin-guard.ts";
import {
  type AdminParts,
  API,
  applicationRoutes,
  deploymentRoutes,
  linkRoutes,
  modelRoutes,
  replicaRoutes,
  versionRoutes,
} from "./admin-routes.ts";
import { bundleRoutes, eventRoutes, logRoutes } from "./admin-streams.ts";
import { parseJson } from "./json-text.ts";
import { openApiDocument, type OpenApiDocument } from "./openapi/document.ts";
import { type Call, route, type Route } from "./route.ts";
import { healthRoutes, serverRoutes } from "./server-routes.ts";
import { NAMED_SCHEMAS } from "./schemas.ts";
import { z } from "zod";

/** Largest JSON body, bytes: the examples of a deployment can be images. */
const MAX_JSON_BYTES = 32 * 2 ** 20;
const JSON_TYPE = "application/json";

export interface AdminServerParts extends AdminParts {
  readonly log: Log;
}

const DESCRIPTION =
  "Deploys models and manages what serves. Every error is `{ error, message, details }`; test `error`, a stable code.";

const openApiSchema: z.ZodType<object> = z.looseObject({ openapi: z.string() });

/** @param closing aborted when the server closes: streams end, and only what is open to everybody is answered */
export function adminApp(parts: AdminServerParts, closing: AbortSignal): Express {
  return new AdminApp(parts, closing).create();
}

class AdminApp {
  readonly #parts: AdminServerParts;
  readonly #closing: AbortSignal;

  constructor(parts: AdminServerParts, closing: AbortSignal) {
    this.#parts = parts;
    this.#closing = closing;
  }

  create(): Express {
    const app = express();
    app.disable("x-powered-by").disable("etag").enable("case sensitive routing");
    const guard = createGuard(this.#parts.config.token);
    const all = adminRoutes(this.#parts, () => this.#closing.aborted);
    const open = new Set(all.filter((each) => each.isOpen === true).map((each) => each.path));
    app.use((request, _, next) => {
      if (!open.has(request.path)) guard(request);
      if (this.#closing.aborted && !open.has(request.path))
        throw new ShuttingDownError("the server is closing; try again when it is back");
      next();
    });
    for (const [path, routes] of Map.groupBy(all, (each) => each.path)) this.#mount(app, path, routes);
    app.use((request) => {
      throw new RouteNotFoundError(
        `no route ${request.method} ${request.path}; GET ${API}/openapi.json lists all`,
      );
    });
    app.use(this.#errorHandler());
    return app;
  }

  #mount(app: Express, path: string, routes: readonly Route[]): void {
    const pattern = path.replaceAll(/\{(\w+)\}/g, ":$1");
    for (const each of routes) {
      const method = each.method.toLowerCase() as "get" | "put" | "post" | "delete";
      app[method](pattern, async (request, response) => this.#answer(each, request, response));
    }
    const allow = routes.flatMap(({ method }) => (method === "GET" ? ["GET", "HEAD"] : [method])).join(", ");
    app.all(pattern, (request, response) => {
      response.setHeader("allow", allow);
      throw new MethodNotAllowedError(`${request.path} takes ${allow}, not ${request.method}`, {
        details: { allow: allow.split(", ") },
      });
    });
  }

  async #answer(spec: Route, request: Request, response: Response): Promise<void> {
    const gone = new AbortController();
    response.once("close", () => gone.abort());
    const call: Call = {
      params: request.params,
      query: request.query,
      body: spec.body === undefined ? undefined : await this.#readJson(request, response),
      signal: AbortSignal.any([gone.signal, this.#closing]),
      request,
      response,
    };
    const { reply, location } = await spec.run(call);
    if (response.headersSent) return;
    if (location !== undefined) response.setHeader("location", location);
    // A handler may have set another status, as health does.
    if (response.statusCode === 200) response.statusCode = spec.status;
    if (spec.response === undefined) response.end();
    else response.json(reply);
  }

  async #readJson(request: Request, response: Response): Promise<unknown> {
    const type = request.headers["content-type"];
    if (type?.split(";")[0]?.trim().toLowerCase() !== JSON_TYPE) {
      throw new UnsupportedEncodingError(
        `the body must be sent with Content-Type: ${JSON_TYPE}, got ${type ?? "none"}`,
      );
    }
    const body = await readBody(request, response, this.#parts.config.requestTimeoutMs);
    return parseJson(body, { expected: "an object; see the OpenAPI document", keepsIntegers: false });
  }

  #errorHandler(): ErrorRequestHandler {
    // Express knows an error handler by its four parameters.
    // oxlint-disable-next-line max-params
    return (cause: unknown, request, response, _next) => {
      const error = toReplyError(cause);
      if (error.code === WindjammerError.kind.code)
        this.#parts.log.error({ err: cause, method: request.method, path: request.path }, "request failed");
      if (response.headersSent) response.destroy();
      else sendError(response, error);
    };
  }
}

/** Every route that is mounted. */
export function adminRoutes(parts: AdminParts, isClosing: () => boolean): readonly Route[] {
  const routes = [
    ...healthRoutes(parts, isClosing),
    ...serverRoutes(parts),
    ...applicationRoutes(parts),
    ...linkRoutes(parts),
    ...modelRoutes(parts),
    ...versionRoutes(parts),
    ...replicaRoutes(parts),
    ...logRoutes(parts),
    ...deploymentRoutes(parts),
    ...eventRoutes(parts),
    ...bundleRoutes(parts),
  ];
  let document: OpenApiDocument | undefined;
  const describe = (path: string, operationId: string): Route =>
    route({
      method: "GET",
      path,
      operationId,
      tag: "server",
      summary: "This document",
      status: 200,
      response: openApiSchema,
      handle: async () =>
        (document ??= openApiDocument({
          title: "Windjammer management API",
          description: DESCRIPTION,
          version: parts.info().version,
          operations: routes,
          named: NAMED_SCHEMAS,
        })),
    });
  // Where tools look for it, too.
  routes.push(
    describe(`${API}/openapi.json`, "getOpenapiJson"),
    describe("/openapi.json", "getRootOpenapiJson"),
  );
  return routes;
}

const bodyReader = express.raw({ type: () => true, limit: MAX_JSON_BYTES });

function readBody(request: Request, response: Response, timeoutMs: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    // The reader says so, too, but reads it all before, and a slow sender would be told of the time.
    if (Number(request.headers["content-length"]) > MAX_JSON_BYTES) throw bodyTooLarge();
    const timer = setTimeout(() => {
      reject(new RequestTimeoutError(`the body did not arrive within ${timeoutMs} ms`));
    }, timeoutMs);
    bodyReader(request, response, (error?: unknown) => {
      clearTimeout(timer);
      if (error !== undefined) reject(error);
      else resolve(Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0));
    });
  });
}

function bodyTooLarge(): BodyTooLargeError {
  return new BodyTooLargeError(
    `the body is larger than ${MAX_JSON_BYTES} bytes; send fewer or smaller examples, or a smaller default output`,
    { details: { limit: MAX_JSON_BYTES } },
  );
}

function sendError(response: ServerResponse, error: WindjammerError): void {
  response.statusCode = error.statusCode;
  if (error.retryAfterS !== undefined) response.setHeader("retry-after", Math.ceil(error.retryAfterS));
  if (error instanceof UnauthorizedError) response.setHeader("www-authenticate", 'Bearer realm="windjammer"');
  if (error instanceof ShuttingDownError || error instanceof RequestTimeoutError)
    response.setHeader("connection", "close");
  response.setHeader("content-type", "application/json; charset=utf-8");
  response.end(JSON.stringify(errorBody(error)));
}

/** Errors of express and its body parser say what they mean by `type` and `status`. */
function toReplyError(cause: unknown): WindjammerError {
  if (cause instanceof WindjammerError || !(cause instanceof Error)) return toWindjammerError(cause);
  if (cause instanceof URIError)
    return new InvalidRequestError(`the path is not well-formed: ${cause.message}`);
  const { type } = cause as Error & { readonly type?: unknown };
  if (type === "entity.too.large") return bodyTooLarge();
  if (type === "encoding.unsupported" || type === "charset.unsupported")
    return new UnsupportedEncodingError(`${cause.message}; send JSON as UTF-8, plain or gzip`);
  if (typeof type === "string") return new InvalidJsonError(`the body could not be read: ${cause.message}`);
  return toWindjammerError(cause);
}
