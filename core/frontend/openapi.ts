// The OpenAPI 3.1 document of the management API, made from the routes that are mounted and their schemas.
import { z } from "zod";
import type { Route } from "./route.ts";
import { errorSchema, NAMED_SCHEMAS } from "./schemas.ts";

type Json = { readonly [key: string]: unknown };

/** An OpenAPI 3.1 document. */
export interface OpenApiDocument {
  readonly openapi: "3.1.0";
  readonly info: Json;
  readonly paths: Readonly<Record<string, Record<string, Json>>>;
  readonly components: { readonly schemas: Json; readonly securitySchemes: Json };
}

const DESCRIPTION =
  "Deploys models and manages what serves. Every error is `{ error, message, details }`; test `error`, a stable code.";

/** @param version of the server */
export function openApiDocument(routes: readonly Route[], version: string): OpenApiDocument {
  const schemas = new SchemaTable();
  const paths: Record<string, Record<string, Json>> = {};
  for (const route of routes) {
    const operations = (paths[route.path] ??= {});
    operations[route.method.toLowerCase()] = operation(route, schemas);
  }
  return {
    openapi: "3.1.0",
    info: { title: "Windjammer management API", version, description: DESCRIPTION },
    paths,
    components: {
      schemas: schemas.components,
      securitySchemes: { token: { type: "http", scheme: "bearer" } },
    },
  };
}

function operation(route: Route, schemas: SchemaTable): Json {
  const failure = {
    description: "What went wrong",
    content: { "application/json": { schema: schemas.reference(errorSchema, "output") } },
  };
  return {
    operationId: operationId(route),
    tags: [route.tag],
    summary: route.summary,
    ...(route.isOpen === true ? {} : { security: [{}, { token: [] }] }),
    parameters: [...parameters(route.params, "path", schemas), ...parameters(route.query, "query", schemas)],
    ...requestBody(route, schemas),
    responses: {
      [route.status]: { description: route.summary, ...content(route, schemas) },
      ...otherResponses(route, schemas),
      default: failure,
    },
  };
}

function otherResponses(route: Route, schemas: SchemaTable): Json {
  return Object.fromEntries(
    Object.entries(route.otherStatuses ?? {}).map(([status, description]) => [
      status,
      { description, ...content(route, schemas) },
    ]),
  );
}

/** "put /api/v1/applications/{name}/links/{model}" → "putApplicationsNameLinksModel" */
function operationId(route: Route): string {
  const words = route.path.replace("/api/v1", "").split(/[^A-Za-z0-9]+/);
  return (
    route.method.toLowerCase() + words.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join("")
  );
}

function requestBody(route: Route, schemas: SchemaTable): Json {
  if (route.upload !== undefined)
    return {
      requestBody: {
        required: true,
        content: { [route.upload]: { schema: { type: "string", format: "binary" } } },
      },
    };
  if (route.body === undefined) return {};
  const schema = schemas.reference(route.body, "input");
  return { requestBody: { required: true, content: { "application/json": { schema } } } };
}

function content(route: Route, schemas: SchemaTable): Json {
  const types: Record<string, Json> = {};
  if (route.text !== undefined) types[route.text] = { schema: { type: "string" } };
  if (route.response !== undefined)
    types["application/json"] = { schema: schemas.reference(route.response, "output") };
  if (route.events !== undefined) {
    types["text/event-stream"] = {
      schema: { type: "string", contentMediaType: "text/event-stream" },
      "x-event-data": schemas.reference(route.events, "output"),
    };
  }
  return Object.keys(types).length === 0 ? {} : { content: types };
}

interface ObjectSchema {
  readonly properties?: { readonly [key: string]: Json };
  readonly required?: readonly string[];
}

function parameters(schema: z.ZodType | undefined, where: "path" | "query", schemas: SchemaTable): Json[] {
  if (schema === undefined) return [];
  const { properties = {}, required = [] } = schemas.inline(schema) as ObjectSchema;
  return Object.entries(properties).map(([name, property]) => ({
    name,
    in: where,
    required: required.includes(name),
    schema: property,
  }));
}

/** Renders zod schemas; the named ones go to `components` and are referred to. */
class SchemaTable {
  readonly components: Record<string, unknown> = {};
  readonly #names: z.core.$ZodRegistry<{ id: string }> = z.registry<{ id: string }>();

  constructor() {
    for (const [id, schema] of Object.entries(NAMED_SCHEMAS)) this.#names.add(schema, { id });
  }

  inline(schema: z.ZodType): Json {
    return this.#render(schema, "input");
  }

  reference(schema: z.ZodType, io: "input" | "output"): Json {
    return this.#render(schema, io);
  }

  #render(schema: z.ZodType, io: "input" | "output"): Json {
    const rendered = z.toJSONSchema(schema, { metadata: this.#names, io, unrepresentable: "any" });
    const text = JSON.stringify(rendered).replaceAll('"#/$defs/', '"#/components/schemas/');
    const { $schema: _, $defs, id: __, ...rest } = JSON.parse(text) as Json & { readonly $defs?: Json };
    for (const [name, definition] of Object.entries($defs ?? {}))
      this.components[name] = withoutId(definition);
    return rest;
  }
}

function withoutId(definition: unknown): unknown {
  const { id: _, ...rest } = definition as Json;
  return rest;
}
