// Mounts the OpenAPI documents of the query API, and the page that shows them and lets one try a request.
import { createRequire } from "node:module";
import type { Express, Request, Response } from "express";
import { NotImplementedError, RouteNotFoundError } from "../../errors.ts";
import type { Router } from "../../query/router.ts";
import { applicationDocument, queryDocument } from "./query-document.ts";
import type { QueryOptions } from "./query-operations.ts";

export interface DocsParts extends QueryOptions {
  readonly router: Router;
}

const PACKAGE = "swagger-ui-dist";
const STYLE = "swagger-ui.css";
const SCRIPTS = ["swagger-ui-bundle.js", "swagger-ui-standalone-preset.js"] as const;
const FILES: ReadonlySet<string> = new Set([STYLE, ...SCRIPTS]);

/** Most applications that the page lets one choose from. */
const MAX_LISTED = 1000;

/** Nothing from elsewhere runs or is fetched; styles of elements are how the page hides and shows things. */
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; " +
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** To be mounted before anything that takes paths of two parts. */
export function mountDocs(app: Express, parts: DocsParts): void {
  const { router } = parts;
  app.get("/openapi.json", (_request, response) => {
    response.json(queryDocument(parts));
  });
  app.get("/:application/openapi.json", (request, response) => {
    response.json(applicationDocument(router.resolve(request.params.application), parts));
  });
  app.get("/docs", (_request, response) => {
    findFile(STYLE);
    secure(response).type("html").send(page());
  });
  app.get("/docs/start.js", (_request, response) => {
    secure(response)
      .type("js")
      .send(startScript(router.applications().map(({ name }) => name)));
  });
  app.get("/docs/:file", (request: Request<{ file: string }>, response, next) => {
    const { file } = request.params;
    if (!FILES.has(file)) throw new RouteNotFoundError(`no such path: /docs/${file.slice(0, 200)}`);
    secure(response).set("Cache-Control", "public, max-age=3600");
    response.sendFile(findFile(file), { cacheControl: false, dotfiles: "allow" }, (error?: Error) => {
      if (error !== undefined && !response.headersSent) next(error);
    });
  });
}

function secure(response: Response): Response {
  return response.set({
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
  });
}

/** @throws NotImplementedError without the package, which is optional */
function findFile(name: string): string {
  try {
    return createRequire(import.meta.url).resolve(`${PACKAGE}/${name}`);
  } catch (error) {
    throw new NotImplementedError(
      `/docs needs the package ${PACKAGE}: npm install ${PACKAGE}; the document itself is at /openapi.json`,
      { cause: error, details: { package: PACKAGE } },
    );
  }
}

function page(): string {
  const scripts = [...SCRIPTS, "start.js"].map((file) => `<script src="/docs/${file}"></script>`);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Windjammer</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/${STYLE}">
</head>
<body>
<div id="docs"></div>
${scripts.join("\n")}
</body>
</html>
`;
}

/** Tells the page which documents there are: the applications' first, since they are what one comes for. */
function startScript(applications: readonly string[]): string {
  const urls = [
    ...applications.slice(0, MAX_LISTED).map((name) => ({ name, url: `/${name}/openapi.json` })),
    { name: "query API", url: "/openapi.json" },
  ];
  return `SwaggerUIBundle({
  dom_id: "#docs",
  urls: ${JSON.stringify(urls)},
  layout: "StandaloneLayout",
  presets: [SwaggerUIBundle.presets.apis, SwaggerUIStandalonePreset],
  deepLinking: true,
  tryItOutEnabled: true,
  validatorUrl: null,
});
`;
}
