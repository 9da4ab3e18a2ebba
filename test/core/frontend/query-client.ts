// Starts a query server over fakes and talks to it, politely and otherwise.
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import type { ClipperConfig } from "../../../core/config.ts";
import { createLog } from "../../../core/log.ts";
import type { Repository } from "../../../core/frontend/dialects/oip/catalog.ts";
import { QueryServer } from "../../../core/frontend/server.ts";
import type { Fakes } from "../query/fakes.ts";

export interface TestServer extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  readonly server: QueryServer;
  post(body: string | Buffer | object, init?: PostOptions): Promise<TestReply>;
  get(path: string): Promise<TestReply>;
  /** A raw connection. */
  dial(): Promise<Socket>;
}

interface PostOptions {
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

export interface TestReply {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  // oxlint-disable-next-line typescript/no-explicit-any -- tests look into replies of every shape
  readonly json: any;
}

export interface TestServerOptions {
  readonly maxBodyBytes?: number;
  readonly maxInputs?: number;
  readonly requestTimeoutMs?: number;
  readonly clipper?: ClipperConfig;
  readonly vertex?: { readonly predictRoute: string; readonly healthRoute: string };
  readonly repository?: Repository;
  readonly isReady?: () => boolean;
}

export async function startTestServer(
  parts: Fakes,
  { repository, isReady, ...options }: TestServerOptions = {},
): Promise<TestServer> {
  const server = new QueryServer({
    predictor: parts.predictor,
    router: parts.router,
    metrics: parts.metrics,
    log: createLog("silent"),
    config: {
      host: "127.0.0.1",
      port: 0,
      maxBodyBytes: 2 ** 20,
      maxInputs: 1000,
      requestTimeoutMs: 5000,
      ...options,
    },
    adminUrl: () => "http://127.0.0.1:1338",
    ...(repository === undefined ? {} : { repository }),
    ...(isReady === undefined ? {} : { isReady }),
  });
  const url = await server.listen();
  const port = Number(new URL(url).port);
  const send = async (path: string, init: RequestInit): Promise<TestReply> => {
    const response = await fetch(url + path, init);
    const text = await response.text();
    return { status: response.status, headers: response.headers, text, json: parse(text) };
  };
  return {
    url,
    port,
    server,
    post: (body, { path = "/digits/predict", headers, signal } = {}) =>
      send(path, {
        method: "POST",
        body:
          typeof body === "string"
            ? body
            : Buffer.isBuffer(body)
              ? new Uint8Array(body)
              : JSON.stringify(body),
        ...(headers === undefined ? {} : { headers }),
        ...(signal === undefined ? {} : { signal }),
      }),
    get: (path) => send(path, {}),
    dial: async () => {
      const socket = connect(port, "127.0.0.1");
      await once(socket, "connect");
      return socket;
    },
    [Symbol.asyncDispose]: () => server.close(0),
  };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** All that comes until the other side closes. */
export async function readAll(socket: Socket): Promise<string> {
  let text = "";
  for await (const chunk of socket) text += String(chunk);
  return text;
}

/** Polls a condition that no event tells, within a bound. */
export async function until(condition: () => boolean): Promise<void> {
  const end = performance.now() + 60_000;
  while (!condition()) {
    if (performance.now() > end) throw new Error("the condition did not come true within 60 s");
    await new Promise((resolve) => {
      setTimeout(resolve, 5);
    });
  }
}

/** A prediction of the application digits, as it goes over a socket. */
export function rawPost(body: string, headers = ""): string {
  return `POST /digits/predict HTTP/1.1\r\nHost: x\r\n${headers}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
}
