// The TypeScript client: Windjammer's interface over the management API and the query API.
import type { InputType, JsonValue } from "../../containers/protocol.ts";
import type { Deployer } from "../deploy/deployer.ts";
import { isLoopbackName } from "../config.ts";
import { InvalidOptionsError, ServerUnreachableError, UnauthorizedError } from "../errors.ts";
import type { ServerReply, StopReply, VersionDetail } from "../frontend/schemas.ts";
import type {
  Application,
  Deployment,
  DeploymentEvent,
  Link,
  LogLine,
  Model,
  ReplicaStatus,
  Version,
} from "../types.ts";
import { Connection, type HttpMethod, type HttpReply, parseErrorBody, tryParse } from "./connection.ts";
import { checkDeployOptions } from "./deploy-options.ts";
import { beginDeployment, followDeployment } from "./deploy.ts";
import { ApplicationClient, NoApplication } from "./handle.ts";
import type {
  ApplicationHandle,
  ConnectOptions,
  DeployedApplication,
  DeployOptions,
  ReplicaLogOptions,
  ReplicaStats,
  ServerInfo,
  Windjammer,
} from "./interface.ts";

export interface ClientOptions extends ConnectOptions {
  /** Runs on close, before the connections end: an embedded server stops here. */
  readonly onClose?: () => Promise<void>;
}

const CONNECT_TIMEOUT_MS = 10_000;
const DEFAULT_ADMIN_PORT = 1338;
const EXAMPLE_URL = `http://127.0.0.1:${DEFAULT_ADMIN_PORT}`;

export class Client implements Windjammer {
  readonly url: string;
  readonly adminUrl: string;
  readonly #connection: Connection;
  readonly #limits: ServerReply["limits"];
  readonly #onClose: (() => Promise<void>) | undefined;
  #closed: Promise<void> | undefined;

  private constructor(
    adminUrl: string,
    server: ServerReply,
    parts: {
      readonly connection: Connection;
      readonly queryUrl: string;
      readonly onClose: ClientOptions["onClose"];
    },
  ) {
    this.adminUrl = adminUrl;
    this.url = parts.queryUrl;
    this.#limits = server.limits;
    this.#connection = parts.connection;
    this.#onClose = parts.onClose;
  }

  /**
   * Connects to the management API at `adminUrl`, such as http://127.0.0.1:1338.
   * @throws ServerUnreachableError, UnauthorizedError when it wants a token, InvalidOptionsError for a bad URL or token
   */
  static async connect(adminUrl: string, options: ClientOptions = {}): Promise<Client> {
    const { token, onClose } = options;
    const base = baseUrl(adminUrl, "url", `the management API's address, such as ${EXAMPLE_URL}`);
    const given =
      options.queryUrl === undefined
        ? undefined
        : baseUrl(options.queryUrl, "queryUrl", "the query API's address, such as https://models.example");
    if (token !== undefined && !/^[\x21-\x7e]+$/.test(token)) {
      throw new InvalidOptionsError(
        "token: expected printable ASCII characters without spaces or line breaks, as the server's token has",
        { details: { option: "token" } },
      );
    }
    const connection = new Connection(token);
    try {
      const server = await identify(connection, base, token);
      const queryUrl = given ?? reachable(server.queryUrl, base);
      return new Client(base, server, { connection, queryUrl, onClose });
    } catch (error) {
      await connection.close();
      throw error;
    }
  }

  async deploy<Options extends object, Input = JsonValue, Output = JsonValue>(
    deployer: Deployer<Options>,
    options: DeployOptions & Options,
  ): Promise<DeployedApplication<Input, Output>> {
    const checked = checkDeployOptions(deployer, options);
    const target = { connection: this.#connection, api: this.#api("") };
    const { deployment: begun, manifest } = await beginDeployment(target, deployer, checked);
    const deployment = await followDeployment(target, begun, checked);
    const { application, model } = deployment;
    const pinned = checked.request.switch === false ? deployment.version : undefined;
    const handle =
      application === ""
        ? new NoApplication(model)
        : this.#handle<Input, Output>(application, manifest.inputType, pinned);
    return Object.assign(handle, { deployment });
  }

  async application<Input = JsonValue, Output = JsonValue>(
    name: string,
  ): Promise<ApplicationHandle<Input, Output>> {
    const { inputType } = await this.#get<Application>(`/applications/${encodeURIComponent(name)}`);
    return this.#handle(name, inputType);
  }

  async info(): Promise<ServerInfo> {
    const { limits: _, ...info } = await this.#get<ServerReply>("/server");
    return info;
  }

  stopServer(): Promise<StopReply> {
    return this.#call("POST", "/server/stop");
  }

  applications(): Promise<readonly Application[]> {
    return this.#get("/applications");
  }

  async putApplication({ name, inputType, ...settings }: Application): Promise<void> {
    const { latencyObjectiveMs, defaultOutput, cache } = settings;
    const body = { inputType, latencyObjectiveMs, defaultOutput, cache };
    await this.#call("PUT", `/applications/${encodeURIComponent(name)}`, body);
  }

  async deleteApplication(name: string): Promise<void> {
    await this.#call("DELETE", `/applications/${encodeURIComponent(name)}`);
  }

  async link(application: string, model: string): Promise<void> {
    await this.#call("PUT", linkPath(application, model));
  }

  async unlink(application: string, model: string): Promise<void> {
    await this.#call("DELETE", linkPath(application, model));
  }

  links(): Promise<readonly Link[]> {
    return this.#get("/links");
  }

  models(): Promise<readonly Model[]> {
    return this.#get("/models");
  }

  versions(model: string): Promise<readonly Version[]> {
    return this.#get(`${modelPath(model)}/versions`);
  }

  version(model: string, version: string): Promise<VersionDetail> {
    return this.#get(versionPath(model, version));
  }

  async setVersion(
    model: string,
    version: string,
    options: { readonly onEvent?: (event: DeploymentEvent) => void } = {},
  ): Promise<Deployment> {
    const begun = await this.#call<Deployment>("PUT", `${modelPath(model)}/current`, { version });
    const target = { connection: this.#connection, api: this.#api("") };
    return followDeployment(target, begun, { onEvent: options.onEvent, signal: undefined });
  }

  async scale(model: string, replicas: number, version?: string): Promise<void> {
    const chosen = version ?? (await this.#get<Model>(modelPath(model))).currentVersion;
    await this.#call<VersionDetail>("PUT", `${versionPath(model, chosen)}/replicas`, { replicas });
  }

  async deleteVersion(model: string, version: string): Promise<void> {
    await this.#call("DELETE", versionPath(model, version));
  }

  async deleteModel(model: string): Promise<void> {
    await this.#call("DELETE", modelPath(model));
  }

  replicas(): Promise<readonly ReplicaStatus[]> {
    return this.#get("/replicas");
  }

  async *logs(
    replica: string,
    { tail, since, follow = false, signal }: ReplicaLogOptions = {},
  ): AsyncGenerator<LogLine, void> {
    const query = new URLSearchParams({
      ...(tail === undefined ? {} : { tail: String(tail) }),
      ...(since === undefined ? {} : { since: typeof since === "string" ? since : since.toISOString() }),
      follow: String(follow),
    });
    const path = `/replicas/${encodeURIComponent(replica)}/logs?${query.toString()}`;
    if (!follow) {
      yield* await this.#get<LogLine[]>(path, signal);
      return;
    }
    // Not resumed: the same lines would come again.
    for await (const { event, data } of this.#events(path, { signal, canResume: false })) {
      if (event === "line") yield JSON.parse(data) as LogLine;
    }
  }

  stats(replica: string): Promise<ReplicaStats> {
    return this.#get(`/replicas/${encodeURIComponent(replica)}/stats`);
  }

  deployments(): Promise<readonly Deployment[]> {
    return this.#get("/deployments");
  }

  deployment(id: string): Promise<Deployment> {
    return this.#get(`/deployments/${encodeURIComponent(id)}`);
  }

  cancelDeployment(id: string): Promise<Deployment> {
    return this.#call("DELETE", `/deployments/${encodeURIComponent(id)}`);
  }

  pastEvents(deployment: string): Promise<readonly DeploymentEvent[]> {
    return this.#get(`/deployments/${encodeURIComponent(deployment)}/events`);
  }

  async *events(deployment: string, signal?: AbortSignal): AsyncGenerator<DeploymentEvent, void> {
    const path = `/deployments/${encodeURIComponent(deployment)}/events`;
    for await (const { event, data } of this.#events(path, { signal, canResume: true })) {
      if (event === "event") yield JSON.parse(data) as DeploymentEvent;
    }
  }

  metrics(): Promise<string> {
    return this.#connection.call("GET", `${this.adminUrl}/metrics`, { headers: { accept: "text/plain" } });
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    try {
      // First, so that predictions on their way still get their answers while the server drains.
      await this.#onClose?.();
    } finally {
      await this.#connection.close();
    }
  }

  #handle<Input, Output>(
    name: string,
    inputType: InputType,
    version?: string,
  ): ApplicationClient<Input, Output> {
    return new ApplicationClient<Input, Output>({
      connection: this.#connection,
      queryUrl: this.url,
      name,
      inputType,
      version,
      limits: this.#limits,
    });
  }

  #api(path: string): string {
    return `${this.adminUrl}/api/v1${path}`;
  }

  async #get<T>(path: string, signal?: AbortSignal): Promise<T> {
    return JSON.parse(await this.#connection.call("GET", this.#api(path), { signal })) as T;
  }

  async #call<T>(method: HttpMethod, path: string, body?: object): Promise<T> {
    const text = await this.#connection.call(method, this.#api(path), {
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    return (text === "" ? undefined : JSON.parse(text)) as T;
  }

  #events(path: string, options: Parameters<Connection["events"]>[1]): ReturnType<Connection["events"]> {
    return this.#connection.events(this.#api(path), options);
  }
}

function modelPath(model: string): string {
  return `/models/${encodeURIComponent(model)}`;
}

function versionPath(model: string, version: string): string {
  return `${modelPath(model)}/versions/${encodeURIComponent(version)}`;
}

function linkPath(application: string, model: string): string {
  return `/applications/${encodeURIComponent(application)}/links/${encodeURIComponent(model)}`;
}

/** @throws InvalidOptionsError */
function baseUrl(text: string, option: string, expected: string): string {
  const url = URL.parse(text);
  if (url === null || !["http:", "https:"].includes(url.protocol)) {
    throw new InvalidOptionsError(`${option}: expected ${expected}, got ${JSON.stringify(text)}`, {
      details: { option },
    });
  }
  return url.origin + url.pathname.replace(/\/+$/, "");
}

/** Makes sure that a Windjammer's management API listens, and that it lets this client in. */
async function identify(
  connection: Connection,
  base: string,
  token: string | undefined,
): Promise<ServerReply> {
  const headers = { accept: "application/json", ...connection.authorization };
  const { statusCode, text } = await exchangeInTime(connection, `${base}/api/v1/server`, headers);
  const reply = tryParse(text);
  if (statusCode === 200 && isServerReply(reply)) return reply;
  const error = parseErrorBody(text);
  if (statusCode === 401 && error !== undefined) {
    const hint = token === undefined ? "pass it as `token`" : "the given one is not it";
    throw new UnauthorizedError(`${base} needs the token its server was started with; ${hint}`);
  }
  const details = { url: base, statusCode, ...(error === undefined ? {} : { error: error.error }) };
  const managementApi = await managementApiOf(connection, base);
  const advice =
    managementApi === undefined
      ? `is not a Windjammer management API: GET /api/v1/server answered ${statusCode}${error === undefined ? "" : ` ${error.error}: ${error.message}`}`
      : `is the query API of a Windjammer; connect to its management API, ${managementApi}`;
  throw new ServerUnreachableError(`${base} ${advice}`, {
    details: { ...details, ...(managementApi === undefined ? {} : { managementApi }) },
  });
}

/** The index page of a query API tells where the management API is. */
async function managementApiOf(connection: Connection, base: string): Promise<string | undefined> {
  const { text } = await exchangeInTime(connection, `${base}/`, {});
  const index = tryParse(text) as { readonly name?: unknown; readonly managementApi?: unknown } | undefined;
  if (index?.name !== "windjammer") return undefined;
  const { managementApi } = index;
  return typeof managementApi === "string" ? managementApi : `by default port ${DEFAULT_ADMIN_PORT}`;
}

async function exchangeInTime(
  connection: Connection,
  url: string,
  headers: Readonly<Record<string, string>>,
): Promise<HttpReply> {
  const signal = AbortSignal.timeout(CONNECT_TIMEOUT_MS);
  try {
    return await connection.exchange("GET", url, { headers, signal });
  } catch (error) {
    if (!signal.aborted) throw error;
    throw new ServerUnreachableError(
      `${url} did not answer within ${CONNECT_TIMEOUT_MS / 1000} s; check the address, and whether the server is well`,
      { cause: error, details: { url } },
    );
  }
}

function isServerReply(value: unknown): value is ServerReply {
  return typeof value === "object" && value !== null && "queryUrl" in value && "limits" in value;
}

const ANY_ADDRESS = new Set(["0.0.0.0", "[::]"]);

/** The query API as this client reaches it: the server may know itself by an address of its own machine only. */
function reachable(announced: string, adminUrl: string): string {
  const url = new URL(announced);
  const { hostname } = new URL(adminUrl);
  if (!isLoopbackName(hostname) || ANY_ADDRESS.has(url.hostname)) url.hostname = hostname;
  return url.origin;
}
