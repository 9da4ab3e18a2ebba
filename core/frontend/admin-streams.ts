// The routes of the management API that stream: events of a deployment, logs of a replica, bundles.
import { PassThrough } from "node:stream";
import type { IncomingMessage } from "node:http";
import { z } from "zod";
import {
  BodyTooLargeError,
  InvalidBundleError,
  RequestTimeoutError,
  UnsupportedEncodingError,
} from "../errors.ts";
import type { AdminParts } from "./admin-routes.ts";
import { API } from "./admin-routes.ts";
import { type Call, route, type Route } from "./route.ts";
import {
  bundleDetailSchema,
  bundleSchema,
  eventSchema,
  hashParams,
  idParams,
  logLineSchema,
  logsQuery,
  type LogsQuery,
} from "./schemas.ts";
import { EventStream, lastEventId, wantsJson } from "./sse.ts";

const TAR = "application/x-tar";

export function eventRoutes(parts: AdminParts): Route[] {
  const { registry } = parts;
  return [
    route({
      method: "GET",
      path: `${API}/deployments/{id}/events`,
      tag: "deployments",
      params: idParams,
      summary:
        "Events of a deployment, past and live, as server-sent events named `event`, ended by one named `end` with the deployment; resumes after Last-Event-ID. With Accept: application/json, the past ones as a list",
      status: 200,
      response: z.array(eventSchema).readonly(),
      events: eventSchema,
      handle: async (call) => {
        const { id } = registry.deployment(call.params.id);
        if (wantsJson(call.request)) return registry.events(id);
        await streamEvents(parts, id, call);
        return undefined;
      },
    }),
  ];
}

async function streamEvents({ deployments }: AdminParts, id: string, call: Call): Promise<void> {
  const { request, response, signal } = call;
  const after = lastEventId(request);
  const stream = new EventStream(response);
  try {
    for await (const event of deployments.follow(id, signal)) {
      if (event.sequence > after) await stream.send({ id: event.sequence, event: "event", data: event });
    }
    // Without its `end` a caller knows that the stream broke off, and resumes.
    if (!signal.aborted) await stream.send({ event: "end", data: await deployments.wait(id) });
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    stream.end();
  }
}

export function logRoutes({ serving }: AdminParts): Route[] {
  return [
    route({
      method: "GET",
      path: `${API}/replicas/{id}/logs`,
      tag: "replicas",
      params: idParams,
      query: logsQuery,
      summary:
        "Last log lines of a replica: `tail` of them (100), and only those from the time `since` on (ISO 8601); with follow=true server-sent events named `line`, ended by one named `end` when the replica has gone",
      status: 200,
      response: z.array(logLineSchema).readonly(),
      events: logLineSchema,
      handle: async ({ params, query, ...call }) => {
        if (query.follow) {
          await streamLogs(serving, { ...call, params, query });
          return undefined;
        }
        return Array.fromAsync(serving.logs(params.id, { ...query, signal: call.signal }));
      },
    }),
  ];
}

async function streamLogs(
  serving: AdminParts["serving"],
  call: Call<{ readonly id: string }, LogsQuery>,
): Promise<void> {
  const { params, query, response, signal } = call;
  // Before the head of the reply, so that an unknown replica is still a 404.
  const lines = serving.logs(params.id, { ...query, signal });
  const stream = new EventStream(response);
  try {
    for await (const line of lines) await stream.send({ event: "line", data: line });
    if (!signal.aborted) await stream.send({ event: "end", data: {} });
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    stream.end();
  }
}

export function bundleRoutes({ bundles, config }: AdminParts): Route[] {
  const tag = "bundles";
  return [
    route({
      method: "POST",
      path: `${API}/bundles`,
      tag,
      upload: TAR,
      summary: "Stores a bundle: a tar stream with manifest.json at its root",
      status: 201,
      response: bundleSchema,
      location: ({ bundle }) => `${API}/bundles/${bundle}`,
      handle: async ({ request }) => {
        checkUpload(request, config.maxBundleBytes);
        const upload = new Upload(request, config.requestTimeoutMs);
        try {
          const { hash } = await bundles.receive(upload.body);
          return { bundle: hash };
        } catch (error) {
          throw upload.failure ?? error;
        } finally {
          upload.finish();
        }
      },
    }),
    route({
      method: "GET",
      path: `${API}/bundles/{hash}`,
      tag,
      params: hashParams,
      summary: "Whether a bundle is stored, and its manifest",
      status: 200,
      response: bundleDetailSchema,
      handle: async ({ params }) => {
        const { hash, manifest } = await bundles.get(params.hash);
        return { bundle: hash, manifest };
      },
    }),
  ];
}

function checkUpload(request: IncomingMessage, maxBytes: number): void {
  const type = request.headers["content-type"] ?? "no Content-Type";
  if (type.split(";")[0]?.trim().toLowerCase() !== TAR)
    throw new UnsupportedEncodingError(`a bundle is sent as ${TAR}, got ${type}`);
  const length = Number(request.headers["content-length"] ?? 0);
  // The tar form of a bundle is larger than its files, by its headers and padding.
  if (length > 2 * maxBytes + 2 ** 20) {
    throw new BodyTooLargeError(
      `the bundle has ${length} bytes, the limit is ${maxBytes}; start the server with a larger maxBundleBytes (--max-bundle-bytes)`,
      { details: { limit: maxBytes } },
    );
  }
}

/**
 * The body of an upload, cut off from its connection: a reader that destroys it does not take away the connection on
 * which the reply is to go out, and a caller who stops sending ends it.
 */
class Upload {
  readonly body: PassThrough = new PassThrough();
  /** Why the body ended too early. */
  failure: Error | undefined;
  readonly #request: IncomingMessage;
  readonly #idleMs: number;
  // Not the socket's timeout: that one also runs while the server reads, syncs and hashes what has come.
  readonly #timer: NodeJS.Timeout;
  #isFinished = false;
  readonly #onGone = (): void => {
    if (!this.#request.complete)
      this.#fail(new InvalidBundleError("the upload broke off before its end; nothing was stored"));
  };

  constructor(request: IncomingMessage, idleMs: number) {
    this.#request = request;
    this.#idleMs = idleMs;
    this.#timer = setTimeout(() => this.#onIdle(), idleMs);
    const restart = (): void => {
      // A timer that was cleared would run again.
      if (!request.readableEnded && !request.destroyed) this.#timer.refresh();
    };
    const stop = (): void => clearTimeout(this.#timer);
    request.on("data", restart).once("end", stop).once("close", stop);
    request.once("close", this.#onGone).once("error", this.#onGone);
    // Its reader meets an error; without this listener so would the process, where the reader has gone already.
    this.body.on("drain", restart).on("error", () => {});
    request.pipe(this.body);
  }

  finish(): void {
    this.#isFinished = true;
    this.#request.off("close", this.#onGone);
    if (this.#request.complete) return;
    // What is still on its way is read and dropped: a connection closed under a sender takes the reply with it.
    this.#request.unpipe(this.body);
    this.#request.resume();
  }

  #onIdle(): void {
    // It is the server that is slow.
    if (this.body.writableNeedDrain && !this.#isFinished) {
      this.#timer.refresh();
      return;
    }
    if (this.#isFinished) this.#request.destroy();
    this.#fail(
      new RequestTimeoutError(`nothing of the bundle came for ${this.#idleMs} ms; nothing was stored`),
    );
  }

  #fail(error: Error): void {
    this.failure ??= error;
    this.body.destroy(error);
  }
}
