// Every path of the query server that is no prediction: health, metrics, what is served, and errors for the rest.
import type { IncomingMessage, ServerResponse } from "node:http";
import express, {
  type ErrorRequestHandler,
  type Express,
  type Request,
  type RequestHandler,
  type Response,
} from "express";
import { madeUpInput } from "../deploy/made-up-input.ts";
import { errorBody } from "../error-replies.ts";
import {
  InvalidRequestError,
  MethodNotAllowedError,
  RouteNotFoundError,
  type WindjammerError,
} from "../errors.ts";
import type { Metrics } from "../metrics.ts";
import type { Router, Target } from "../query/router.ts";
import { ClipperMetrics } from "./clipper/metrics.ts";
import type { Catalog } from "./dialects/oip/catalog.ts";
import { mountOip } from "./oip-routes.ts";
import { allowedMethods } from "./openapi/allowed-methods.ts";
import { mountDocs } from "./openapi/docs-routes.ts";
import { queryOperations } from "./openapi/query-operations.ts";
import { querySchemas } from "./openapi/query-schemas.ts";

export type QueryRoutes = (request: IncomingMessage, response: ServerResponse) => void;

export interface QueryRouteParts {
  readonly router: Router;
  readonly metrics: Metrics;
  /** When the server began to count, `performance.now()` ms. */
  readonly startedAt: number;
  readonly speaksClipper: boolean;
  readonly adminUrl: () => string | undefined;
  readonly isReady: () => boolean;
  readonly catalog: Catalog;
  /** Vertex AI's paths. */
  readonly vertex: { readonly predictRoute: string; readonly healthRoute: string } | undefined;
  /** Of the management API: models are loaded and unloaded with it only. */
  readonly token: string | undefined;
  readonly onError: (error: unknown) => WindjammerError;
}

const MAX_LISTED = 100;

export function queryRoutes(parts: QueryRouteParts): QueryRoutes {
  const app = express();
  app.disable("x-powered-by");
  app.disable("etag");
  mountHealth(app, parts);
  mountDocs(app, parts);
  const refuse = refusal(parts);
  mountOip(app, { ...parts, refuse });
  mountHosts(app, parts);
  mountMetrics(app, parts);
  app.get("/", (_request, response) => {
    response.json(index(parts));
  });
  app.get("/:application", (request, response) => {
    response.json(describe(parts.router.resolve(request.params.application)));
  });
  app.use((request: Request, response: Response) => {
    throw refuse(request, response);
  });
  // Express tells error handlers by their four parameters.
  // oxlint-disable-next-line max-params
  const onError: ErrorRequestHandler = (error, _request, response, next) => {
    const known = isBadPath(error)
      ? new InvalidRequestError("the path holds a % that is no percent-encoding")
      : parts.onError(error);
    if (response.headersSent) next(error);
    else response.status(known.statusCode).json(errorBody(known));
  };
  app.use(onError);
  return app;
}

function mountHealth(app: Express, parts: QueryRouteParts): void {
  const { isReady } = parts;
  app.get("/health/live", (_request, response) => {
    response.json({ live: true });
  });
  app.get("/health/ready", (_request, response) => {
    const ready = isReady();
    response.status(ready ? 200 : 503).json({ ready });
  });
}

/** Prometheus text, or Clipper's JSON for who asks for it, or takes anything from a server that speaks Clipper. */
function mountMetrics(app: Express, parts: QueryRouteParts): void {
  const { metrics, router, startedAt, speaksClipper } = parts;
  const clipper = new ClipperMetrics(metrics, startedAt);
  const send = async (request: Request, response: Response): Promise<void> => {
    if (wantsClipper(request, speaksClipper)) {
      await metrics.gather();
      const applications = router.applications().map(({ name }) => name);
      response.type("application/json").send(clipper.text(applications, performance.now()));
    } else {
      response.type(metrics.contentType).send(await metrics.text());
    }
  };
  app.get("/metrics", (request, response) => send(request, response));
  // Clipper's Python library calls it at the address of its Prometheus, which our labels say is this one.
  if (speaksClipper) app.post("/-/reload", (_request, response) => void response.status(200).end());
}

function wantsClipper(request: Request, isDefault: boolean): boolean {
  const { format } = request.query;
  if (format !== undefined) return format === "clipper";
  const text = ["text/plain", "application/openmetrics-text"];
  const order = isDefault ? ["application/json", ...text] : [...text, "application/json"];
  return request.accepts(order) === "application/json";
}

/** What KServe V1, SageMaker and Vertex AI ask besides predictions. */
function mountHosts(app: Express, { catalog, vertex }: QueryRouteParts): void {
  const ping: RequestHandler = (_request, response) => {
    const ready = catalog.isReady();
    response.status(ready ? 200 : 503).json({ ready });
  };
  app.get("/ping", ping);
  app.use((request, response, next) => {
    if (request.path === vertex?.healthRoute && request.method === "GET") void ping(request, response, next);
    else next();
  });
  app.get("/v1/models", (_request, response) => {
    response.json({ models: catalog.names() });
  });
  app.get("/v1/models/:model", (request, response) => {
    const { model: name } = request.params;
    response.json({ name, ready: catalog.isModelReady(name) });
  });
}

function isBadPath(error: unknown): boolean {
  return (
    error instanceof URIError || (error instanceof Error && (error as { status?: unknown }).status === 400)
  );
}

/** A path that is there takes another method; any other is not there. */
function refusal(parts: QueryRouteParts): (request: Request, response: Response) => WindjammerError {
  let allowedOf: ReturnType<typeof allowedMethods> | undefined;
  return ({ method, baseUrl, path: rest }, response) => {
    const path = baseUrl + rest;
    const shown = path.slice(0, 200);
    allowedOf ??= allowedMethods(queryOperations(querySchemas({ hasDefault: true, ...parts }), parts));
    const allowed = allowedOf(path);
    if (allowed === undefined) {
      return new RouteNotFoundError(
        `no such path: ${shown}; predictions go to POST /<application>/predict, GET / lists what is served`,
      );
    }
    response.set("Allow", allowed);
    return new MethodNotAllowedError(`${shown} takes ${allowed}, not ${method}`, { details: { allowed } });
  };
}

function index({ router, adminUrl }: QueryRouteParts): object {
  const applications = router.applications().map(({ name }) => name);
  return {
    name: "windjammer",
    applications: applications.slice(0, MAX_LISTED),
    applicationCount: applications.length,
    predict: "POST /<application>/predict",
    describe: "GET /<application>",
    health: ["/health/live", "/health/ready"],
    metrics: "/metrics",
    openapi: ["/openapi.json", "/<application>/openapi.json"],
    docs: "/docs",
    managementApi: adminUrl() ?? null,
  };
}

function schemasOf(manifest: Target["manifest"]): object {
  return manifest?.schemas === undefined ? {} : { schemas: manifest.schemas };
}

/** What an application takes and gives, with a request to copy. */
function describe({ application, version, manifest, served }: Target): object {
  const { name, inputType, latencyObjectiveMs, defaultOutput } = application;
  const input = manifest === undefined ? null : madeUpInput(manifest).value;
  return {
    application: name,
    inputType,
    latencyObjectiveMs: latencyObjectiveMs ?? null,
    ...(defaultOutput === undefined ? {} : { defaultOutput }),
    model: version?.model ?? null,
    version: version?.version ?? null,
    readyReplicas: served?.readyCount ?? 0,
    contract: manifest?.contract ?? null,
    ...schemasOf(manifest),
    example: { method: "POST", path: `/${name}/predict`, body: { input } },
  };
}
