// The Open Inference Protocol's paths besides infer: health, metadata, repository, statistics, configuration.
import type { IncomingMessage } from "node:http";
import type { ErrorRequestHandler, Express, Request, RequestHandler, Response } from "express";
import {
  BodyTooLargeError,
  InvalidRequestError,
  NotImplementedError,
  type WindjammerError,
} from "../errors.ts";
import { createGuard } from "./admin-guard.ts";
import type { Catalog } from "./dialects/oip/catalog.ts";
import { oipRefusal } from "./dialects/oip/oip.ts";
import { parseJson } from "./json-text.ts";

export interface OipRouteParts {
  readonly catalog: Catalog;
  /** Loading and unloading wants it, as the management API does; undefined: it does not. */
  readonly token: string | undefined;
  /** What to say of a path or method that is not here. */
  readonly refuse: (request: Request, response: Response) => WindjammerError;
  readonly onError: (error: unknown) => WindjammerError;
}

/** Bodies of these calls are a few names. */
const MAX_BODY_BYTES = 64 * 1024;

/** Mounts them; what is left of "/v2" afterwards is answered in the protocol's form too. */
export function mountOip(app: Express, parts: OipRouteParts): void {
  const { catalog } = parts;
  app.get("/v2", (_request, response) => {
    response.json(catalog.server());
  });
  app.get("/v2/health/live", (_request, response) => {
    response.json({ live: true });
  });
  app.get("/v2/health/ready", (_request, response) => {
    const ready = catalog.isReady();
    response.status(ready ? 200 : 503).json({ ready });
  });
  app.get("/v2/models", (_request, response) => {
    response.json({ models: catalog.names() });
  });
  app.get("/v2/models/stats", async (_request, response) => {
    response.json({ model_stats: await catalog.statistics() });
  });
  mountModels(app, catalog);
  mountRepository(app, parts);
  app.use("/v2", (request, response) => {
    throw parts.refuse(request, response);
  });
  // Express tells error handlers by their four parameters.
  // oxlint-disable-next-line max-params
  const onError: ErrorRequestHandler = (error, _request, response, next) => {
    const { status, body, retryAfterS } = oipRefusal(parts.onError(readable(error)));
    if (response.headersSent) {
      next(error);
      return;
    }
    if (retryAfterS !== undefined) response.set("Retry-After", String(Math.ceil(retryAfterS)));
    response.status(status).type("json").send(body);
  };
  app.use("/v2", onError);
}

/** A model as its path names it, with or without a version. */
type ModelParams = { readonly model: string; readonly version?: string };

function mountModels(app: Express, catalog: Catalog): void {
  const get = (
    suffix: string,
    answer: (params: ModelParams, response: Response) => object | Promise<object>,
  ): void => {
    const handle: RequestHandler<ModelParams> = async (request, response) => {
      response.json(await answer(request.params, response));
    };
    app.get(`/v2/models/:model${suffix}`, handle);
    app.get(`/v2/models/:model/versions/:version${suffix}`, handle);
  };
  get("", ({ model, version }) => catalog.model(model, version));
  get("/config", ({ model, version }) => catalog.config(model, version));
  get("/stats", async ({ model, version }) => ({ model_stats: await catalog.statistics(model, version) }));
  get("/ready", ({ model, version }, response) => {
    const ready = catalog.isModelReady(model, version);
    // What clients of every implementation take for "not ready".
    if (!ready) response.status(400);
    return { name: model, ready };
  });
}

function mountRepository(app: Express, { catalog, token }: OipRouteParts): void {
  const guard = createGuard(token);
  const post = <Params>(path: string, answer: (request: Request<Params>) => Promise<object>): void => {
    const handle: RequestHandler<Params> = (request, response, next) => {
      answer(request).then((reply) => response.json(reply), next);
    };
    app.post(path, handle);
  };
  post("/v2/repository/index", async (request) => {
    const { ready } = await readFields(request);
    if (ready !== undefined && typeof ready !== "boolean")
      throw new InvalidRequestError("ready: expected true or false");
    return catalog.index(ready === true);
  });
  post<ModelParams>("/v2/repository/models/:model/load", async (request) => {
    guard(request);
    const { parameters = {} } = await readFields(request);
    await catalog.load(request.params.model, asFields(parameters, "parameters"));
    return {};
  });
  post<ModelParams>("/v2/repository/models/:model/unload", async (request) => {
    guard(request);
    await readFields(request);
    await catalog.unload(request.params.model);
    return {};
  });
  app.post(/^\/v2\/repository\/[^/]+\/(?:index|models\/.+)$/, () => {
    throw new NotImplementedError("'repository_name' specification is not supported");
  });
}

type Fields = { readonly [key: string]: unknown };

/** A body is optional, and so is its content type: clients of the protocol send neither. */
async function readFields(request: IncomingMessage): Promise<Fields> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request) {
    chunks.push(chunk as Buffer);
    length += (chunk as Buffer).byteLength;
    if (length > MAX_BODY_BYTES)
      throw new BodyTooLargeError(`the body is larger than the ${MAX_BODY_BYTES} bytes that this call takes`);
  }
  if (length === 0) return {};
  return asFields(
    parseJson(Buffer.concat(chunks), { expected: "an object", keepsIntegers: false }),
    "the body",
  );
}

function asFields(value: unknown, what: string): Fields {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Fields;
  throw new InvalidRequestError(`${what}: expected an object`);
}

/** Express's own complaint about a path. */
function readable(error: unknown): unknown {
  return error instanceof URIError
    ? new InvalidRequestError("the path holds a % that is no percent-encoding")
    : error;
}
