// Shape of a route of the management API: one declaration, from which express mounts it and OpenAPI documents it.
import type { IncomingMessage, ServerResponse } from "node:http";
import { z } from "zod";
import { describeIssues, knownKeys, REPORT_INPUT } from "../deploy/issues.ts";
import { InvalidRequestError } from "../errors.ts";

type Method = "GET" | "PUT" | "POST" | "DELETE";

/** One request, checked. */
export interface Call<Params = unknown, Query = unknown, Body = unknown> {
  readonly params: Params;
  readonly query: Query;
  readonly body: Body;
  /** Aborted when the caller has gone or the server closes; only streams need it. */
  readonly signal: AbortSignal;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

/** What is said of a route. */
export interface RouteText {
  readonly method: Method;
  /** OpenAPI form: /api/v1/applications/{name} */
  readonly path: string;
  /** In the OpenAPI document. Default: made from method and path. */
  readonly operationId?: string;
  readonly tag: string;
  readonly summary: string;
  /** Status of success. */
  readonly status: number;
  /** Other statuses a handler may set on a reply of the same shape, and what they mean. */
  readonly otherStatuses?: Readonly<Record<number, string>>;
  /** Media type of a body that is streamed, not JSON. */
  readonly upload?: string;
  /** Data of each event, where the reply can be a stream of server-sent events. */
  readonly events?: z.ZodType;
  /** Media type of a reply that is text. */
  readonly text?: string;
  /** Health: answers without a token, to any Host. */
  readonly isOpen?: boolean;
}

export interface RouteSpec<Params, Query, Body, Reply> extends RouteText {
  readonly params?: z.ZodType<Params>;
  readonly query?: z.ZodType<Query>;
  readonly body?: z.ZodType<Body>;
  /** Left out: no content. */
  readonly response?: z.ZodType<Reply>;
  /** Location header of the reply. */
  readonly location?: (reply: Reply) => string;
  /** A handler that answers by itself (streams, text) returns undefined. */
  readonly handle: (call: Call<Params, Query, Body>) => Promise<Reply | undefined>;
}

export interface Route extends RouteText {
  readonly params: z.ZodType | undefined;
  readonly query: z.ZodType | undefined;
  readonly body: z.ZodType | undefined;
  readonly response: z.ZodType | undefined;
  /** Checks what came, runs the handler. @throws InvalidRequestError */
  readonly run: (call: Call) => Promise<{ readonly reply: unknown; readonly location: string | undefined }>;
}

/** Declares a route; inside, everything is typed by its schemas. */
export function route<Params, Query, Body, Reply>(spec: RouteSpec<Params, Query, Body, Reply>): Route {
  const { handle, location, ...rest } = spec;
  return {
    ...rest,
    params: spec.params,
    query: spec.query,
    body: spec.body,
    response: spec.response,
    run: async (call) => {
      const reply = await handle({
        ...call,
        params: check(spec.params, call.params, "parameter"),
        query: check(spec.query, call.query, "query parameter"),
        body: check(spec.body, call.body, "field"),
      });
      return { reply, location: reply === undefined ? undefined : location?.(reply) };
    },
  };
}

function check<T>(schema: z.ZodType<T> | undefined, value: unknown, noun: string): T {
  // Without a schema the handler's type for it is unknown, and it gets nothing.
  if (schema === undefined) return undefined as T;
  const result = schema.safeParse(value, REPORT_INPUT);
  if (result.success) return result.data;
  const { text, details } = describeIssues(result.error, noun, knownKeys(schema) ?? []);
  throw new InvalidRequestError(text, { details });
}
