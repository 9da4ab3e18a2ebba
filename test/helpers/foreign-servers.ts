// Model servers that answer as Triton, MLServer, KServe and TorchServe do, as far as their documents and code say.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { onTestFinished } from "vitest";

/** What a server does with a request; undefined: the answer of the plain one. */
type Answer = { readonly status: number; readonly body?: string; readonly headers?: Record<string, string> };

export interface ServerScript {
  /** Its name for the model. Default "m". */
  readonly model?: string;
  /** By method and path: "GET /v2". */
  readonly answers?: Readonly<Record<string, Answer | (() => Answer)>>;
  /** What an inference gives; default the echo of the inputs, as `y` beside `x`. */
  infer?(request: InferRequest): Answer | Promise<Answer>;
}

/** An inference as it came in. */
interface InferRequest {
  readonly path: string;
  readonly contentType: string | undefined;
  readonly headerLength: number | undefined;
  readonly text: string;
}

export interface ForeignServer {
  readonly url: string;
  readonly requests: InferRequest[];
  /** Every path that was asked for, with its method. */
  readonly asked: string[];
  readonly server: Server;
  /** Lets nobody in any more, and comes back on the same port. */
  stop(): Promise<void>;
  restart(): Promise<void>;
}

const JSON_TYPE = { "content-type": "application/json" };

export function json(body: unknown, status = 200): Answer {
  return { status, body: JSON.stringify(body), headers: JSON_TYPE };
}

/** A tensor as a server declares it. */
interface Declared {
  readonly name: string;
  readonly datatype: string;
  readonly shape: readonly number[];
}

/** FP32 vectors of two, batched, in and out. */
export const VECTORS: { readonly inputs: readonly Declared[]; readonly outputs: readonly Declared[] } = {
  inputs: [{ name: "x", datatype: "FP32", shape: [-1, 2] }],
  outputs: [{ name: "y", datatype: "FP32", shape: [-1, 2] }],
};

export async function foreignServer(script: ServerScript = {}): Promise<ForeignServer> {
  const model = script.model ?? "m";
  const requests: InferRequest[] = [];
  const asked: string[] = [];
  const plain: Record<string, Answer> = {
    "GET /v2": json({ name: "plain", version: "1", extensions: [] }),
    "GET /v2/health/live": json({ live: true }),
    "GET /v2/health/ready": json({ ready: true }),
    [`GET /v2/models/${model}`]: json({ name: model, versions: ["1"], platform: "test", ...VECTORS }),
    [`GET /v2/models/${model}/ready`]: json({ name: model, ready: true }),
  };
  async function answerTo(request: IncomingMessage, body: Buffer): Promise<Answer> {
    const key = `${request.method ?? ""} ${request.url ?? ""}`;
    asked.push(key);
    const scripted = script.answers?.[key];
    if (scripted !== undefined) return typeof scripted === "function" ? scripted() : scripted;
    const known = plain[key];
    if (known !== undefined) return known;
    if (key !== `POST /v2/models/${model}/infer`) return json({ error: `no ${key} here` }, 404);
    const call = inferOf(request, body);
    requests.push(call);
    try {
      return (await script.infer?.(call)) ?? echo(call);
    } catch (error) {
      return json({ error: String(error) }, 400);
    }
  }
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", async () => write(response, await answerTo(request, Buffer.concat(chunks))));
  });
  await listen(server, 0);
  const { port } = server.address() as AddressInfo;
  const stop = async (): Promise<void> => {
    server.closeAllConnections();
    if (server.listening) await new Promise((resolve) => server.close(resolve));
  };
  onTestFinished(stop);
  return {
    url: `http://127.0.0.1:${port}`,
    requests,
    asked,
    server,
    stop,
    restart: () => listen(server, port),
  };
}

function inferOf(request: IncomingMessage, body: Buffer): InferRequest {
  const length = request.headers["inference-header-content-length"];
  return {
    path: request.url ?? "",
    contentType: request.headers["content-type"],
    headerLength: length === undefined ? undefined : Number(length),
    text: body.toString("utf8"),
  };
}

/** The first input as output `y`, digits as they came. */
function echo({ text }: InferRequest): Answer {
  const body = text.replace('"inputs"', '"outputs"').replace('"name":"x"', '"name":"y"');
  return { status: 200, body: `{"model_name":"m","model_version":"1",${body.slice(1)}`, headers: JSON_TYPE };
}

function write(response: ServerResponse, { status, body = "", headers = {} }: Answer): void {
  response.writeHead(status, { ...headers, "content-length": Buffer.byteLength(body) }).end(body);
}

async function listen(server: Server, port: number): Promise<void> {
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
}
