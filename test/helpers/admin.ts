// A management API over real parts (registry, bundle store, deployments, serving), with scripted replicas.
import { mkdtemp, rm } from "node:fs/promises";
import { type IncomingHttpHeaders, request, type RequestOptions } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text as readText } from "node:stream/consumers";
import { type ServerConfig, type ServerOptions, serverOptionsSchema } from "../../core/config.ts";
import { BundleStore } from "../../core/deploy/bundle-store.ts";
import { packFolder } from "../../core/deploy/bundle.ts";
import { Deployments } from "../../core/deploy/deployments.ts";
import { adminRoutes } from "../../core/frontend/admin-app.ts";
import { AdminServer } from "../../core/frontend/admin-server.ts";
import type { Route } from "../../core/frontend/route.ts";
import { createLog } from "../../core/log.ts";
import { Metrics } from "../../core/metrics.ts";
import { Serving } from "../../core/query/serving.ts";
import { MemoryStore } from "../../core/registry/memory-store.ts";
import { Registry } from "../../core/registry/registry.ts";
import type { Deployment } from "../../core/types.ts";
import { answering, writeBundle } from "./bundles.ts";
import { ScriptedRuntime } from "./scripted-runtime.ts";

export interface Reply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  readonly json: unknown;
}

interface SendOptions {
  readonly headers?: Readonly<Record<string, string>>;
  /** An object is sent as JSON with its content type; text and bytes as they are. */
  readonly body?: unknown;
}

export interface TestAdmin extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  readonly config: ServerConfig;
  readonly routes: readonly Route[];
  readonly server: AdminServer;
  readonly registry: Registry;
  readonly bundles: BundleStore;
  readonly deployments: Deployments;
  readonly serving: Serving;
  readonly runtime: ScriptedRuntime;
  readonly folder: string;
  send(method: string, path: string, options?: SendOptions): Promise<Reply>;
  /** Stores a bundle of a function and gives its hash. */
  upload(output?: string): Promise<string>;
  /** Stores a bundle and deploys it; resolves when it has ended. */
  deploy(request: {
    readonly name: string;
    readonly version: string;
    readonly output?: string;
  }): Promise<Deployment>;
  close(): Promise<void>;
}

export interface TestAdminOptions {
  readonly config?: Partial<ServerOptions>;
  /** What `GET /server` announces. */
  readonly queryUrl?: string;
  /** Listen on this port again. */
  readonly adminPort?: number;
}

/** Starts one; replicas answer each input with itself. */
export async function startAdmin(options: TestAdminOptions = {}): Promise<TestAdmin> {
  const folder = await mkdtemp(join(tmpdir(), "wj-admin-"));
  const config = serverOptionsSchema.parse({ ...options.config, adminPort: options.adminPort ?? 0 });
  const log = createLog("silent");
  const metrics = new Metrics();
  const registry = await Registry.open(new MemoryStore());
  const bundles = new BundleStore(join(folder, "bundles"), {
    maxBytes: config.maxBundleBytes,
    maxEntries: 1000,
  });
  await bundles.open();
  const runtime = new ScriptedRuntime(({ inputs }) => ({ outputs: inputs }));
  const serving = new Serving({ runtime, metrics, log, maxQueueLength: 100 });
  const deployments = new Deployments({ registry, bundles, runtime, serving, log });
  const info = () => ({
    version: "0.0.0",
    queryUrl: options.queryUrl ?? "http://127.0.0.1:1337",
    runtime: runtime.name,
    startedAt: new Date().toISOString(),
    workers: [],
  });
  const parts = { registry, bundles, deployments, serving, metrics, config, log, info };
  const server = new AdminServer(parts);
  const routes = adminRoutes(parts, () => false);
  let count = 0;
  const upload = async (output = "input"): Promise<string> => {
    const source = join(folder, `source-${++count}`);
    await writeBundle(source, { source: answering(output) });
    return (await bundles.receive(packFolder(source))).hash;
  };
  let closed: Promise<void> | undefined;
  const close = (): Promise<void> =>
    (closed ??= (async () => {
      await deployments.close();
      await server.close(1000);
      await serving.closeAll(0);
      await runtime.close();
      await registry.close();
      await rm(folder, { recursive: true, force: true });
    })());
  // A server that cannot listen leaves nothing behind either.
  const url = await server.listen().catch(async (error: unknown) => {
    await close();
    throw error;
  });
  const port = Number(new URL(url).port);
  return {
    url,
    port,
    config,
    routes,
    server,
    registry,
    bundles,
    deployments,
    serving,
    runtime,
    folder,
    send: (method, path, sendOptions) => send(port, { method, path }, sendOptions),
    upload,
    deploy: async ({ name, version, output }) => {
      const { id } = await deployments.begin({ name, version, bundle: await upload(output) });
      return deployments.wait(id);
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** One request, byte for byte as a test wants it. */
function send(port: number, options: RequestOptions, { headers, body }: SendOptions = {}): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const isRaw = typeof body === "string" || body instanceof Uint8Array || body === undefined;
    const type = isRaw ? {} : { "content-type": "application/json" };
    const outgoing = request(
      { host: "127.0.0.1", port, agent: false, ...options, headers: { ...type, ...headers } },
      (response) => {
        readText(response).then((text) => {
          resolve({ status: response.statusCode ?? 0, headers: response.headers, text, json: parse(text) });
          return undefined;
        }, reject);
      },
    );
    outgoing.on("error", reject);
    outgoing.end(isRaw ? body : JSON.stringify(body));
  });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
