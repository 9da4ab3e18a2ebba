// An OpenAPI 3.1 document, made from declarations of operations and the zod schemas of what they take and give.
import { z } from "zod";
import type { RouteText } from "../route.ts";
import { errorSchema } from "../schemas.ts";

type Json = { readonly [key: string]: unknown };

/** An OpenAPI 3.1 document. */
export interface OpenApiDocument {
  readonly openapi: "3.1.0";
  readonly info: Json;
  readonly paths: Readonly<Record<string, Record<string, Json>>>;
  readonly components: { readonly schemas: Json; readonly securitySchemes: Json };
}

/** One operation. Without `response` it has no content. */
export interface Operation extends RouteText {
  readonly params?: z.ZodType | undefined;
  readonly query?: z.ZodType | undefined;
  readonly headers?: z.ZodType | undefined;
  readonly body?: z.ZodType | undefined;
  readonly response?: z.ZodType | undefined;
  /** The body may be left out. */
  readonly isBodyOptional?: boolean;
  /** Headers of a reply. */
  readonly responseHeaders?: z.ZodType;
  /** Of an error's reply. Default: `{error, message, details}`. */
  readonly failure?: z.ZodType;
  /** Another media type that it takes. */
  readonly otherBody?: string;
  /** Another media type that it may give. */
  readonly otherResponse?: string;
  /** A body to try. */
  readonly example?: unknown;
}

export interface DocumentParts {
  readonly title: string;
  readonly description: string;
  /** Of the server. */
  readonly version: string;
  readonly operations: readonly Operation[];
  /** Schemas that get a name of their own in the document. */
  readonly named: Readonly<Record<string, z.ZodType>>;
}

export function openApiDocument(parts: DocumentParts): OpenApiDocument {
  const { title, description, version } = parts;
  const schemas = new SchemaTable(parts.named);
  const paths: Record<string, Record<string, Json>> = {};
  for (const each of parts.operations) {
    const operations = (paths[each.path] ??= {});
    operations[each.method.toLowerCase()] = operation(each, schemas);
  }
  return {
    openapi: "3.1.0",
    info: { title, version, description },
    paths,
    components: {
      schemas: schemas.components,
      securitySchemes: { token: { type: "http", scheme: "bearer" } },
    },
  };
}

function operation(route: Operation, schemas: SchemaTable): Json {
  const failure = {
    description: "What went wrong",
    content: { "application/json": { schema: schemas.reference(route.failure ?? errorSchema, "output") } },
  };
  return {
    operationId: route.operationId ?? operationId(route),
    tags: [route.tag],
    summary: route.summary,
    ...(route.isOpen === true ? {} : { security: [{}, { token: [] }] }),
    parameters: [
      ...parameters(route.params, "path", schemas),
      ...parameters(route.query, "query", schemas),
      ...parameters(route.headers, "header", schemas),
    ],
    ...requestBody(route, schemas),
    responses: {
      [route.status]: {
        description: route.summary,
        ...responseHeaders(route, schemas),
        ...content(route, schemas),
      },
      ...otherResponses(route, schemas),
      default: failure,
    },
  };
}

function otherResponses(route: Operation, schemas: SchemaTable): Json {
  return Object.fromEntries(
    Object.entries(route.otherStatuses ?? {}).map(([status, description]) => [
      status,
      { description, ...content(route, schemas) },
    ]),
  );
}

/** "put /api/v1/applications/{name}/links/{model}" → "putApplicationsNameLinksModel" */
function operationId(route: Operation): string {
  const words = route.path.replace("/api/v1", "").split(/[^A-Za-z0-9]+/);
  return (
    route.method.toLowerCase() + words.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join("")
  );
}

function requestBody(route: Operation, schemas: SchemaTable): Json {
  if (route.upload !== undefined)
    return {
      requestBody: {
        required: true,
        content: { [route.upload]: { schema: { type: "string", format: "binary" } } },
      },
    };
  if (route.body === undefined) return {};
  const schema = schemas.reference(route.body, "input");
  const example = route.example === undefined ? {} : { example: route.example };
  const types = { "application/json": { schema, ...example }, ...bytes(route.otherBody) };
  return { requestBody: { required: route.isBodyOptional !== true, content: types } };
}

function responseHeaders({ responseHeaders: schema }: Operation, schemas: SchemaTable): Json {
  if (schema === undefined) return {};
  const { properties = {}, required = [] } = schemas.inline(schema) as ObjectSchema;
  const headers = Object.entries(properties).map(([name, property]) => [
    name,
    { required: required.includes(name), schema: property },
  ]);
  return { headers: Object.fromEntries(headers) };
}

function content(route: Operation, schemas: SchemaTable): Json {
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
  Object.assign(types, bytes(route.otherResponse));
  return Object.keys(types).length === 0 ? {} : { content: types };
}

/** A media type that has no schema here. */
function bytes(type: string | undefined): Readonly<Record<string, Json>> {
  return type === undefined ? {} : { [type]: { schema: { type: "string", format: "binary" } } };
}

interface ObjectSchema {
  readonly properties?: { readonly [key: string]: Json };
  readonly required?: readonly string[];
}

function parameters(
  schema: z.ZodType | undefined,
  where: "path" | "query" | "header",
  schemas: SchemaTable,
): Json[] {
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

  constructor(named: DocumentParts["named"]) {
    for (const [id, schema] of Object.entries(named)) this.#names.add(schema, { id });
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
