// Composition root: builds the parts of a server in order and stops them in reverse; connects to one that runs elsewhere.
import { randomBytes } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { ConnectOptions, ServerInfo, Windjammer } from "./client/interface.ts";
import {
  answeringCount,
  isLoopbackName,
  serverOptionsSchema,
  type ServerConfig,
  type ServerOptions,
} from "./config.ts";
import { BundleStore } from "./deploy/bundle-store.ts";
import { Deployments, type DeploymentListener } from "./deploy/deployments.ts";
import { describeIssues, knownKeys, REPORT_INPUT } from "./deploy/issues.ts";
import { InvalidOptionsError, isNodeError, StateDirError, toWindjammerError } from "./errors.ts";
import { AdminServer } from "./frontend/admin-server.ts";
import type { ClipperAddresses, ClipperCompat, ClipperCompatParts } from "./frontend/clipper/compat.ts";
import type { StopReply } from "./frontend/schemas.ts";
import { createLog, type Log } from "./log.ts";
import type { VersionGauges } from "./metric-text.ts";
import { Metrics } from "./metrics.ts";
import { type QueryFront, queryFront, workersOf } from "./query-front.ts";
import { Router } from "./query/router.ts";
import { Serving } from "./query/serving.ts";
import { Registry } from "./registry/registry.ts";
import { SqliteStore } from "./registry/sqlite-store.ts";
import { makeTemporaryStateDir } from "./registry/temporary-state-dir.ts";
import type { Runtime } from "./runtimes/runtime.ts";
import { packageVersion } from "./version.ts";

/** Most files and folders in one bundle. */
const MAX_BUNDLE_ENTRIES = 100_000;
/** Management calls that still run get so long when the server closes. */
const ADMIN_GRACE_MS = 1_000;

export interface StartOptions extends ServerOptions {
  /** What runs the model containers. Default: `processRuntime()`. */
  readonly runtime?: Runtime | undefined;
  /**
   * Called when the management API is told to stop the server; whoever started it then closes it. Default: none, and
   * such a call is refused.
   */
  readonly onStop?: (() => void) | undefined;
  /** Called synchronously with each event of each deployment, once it is durable. Must not throw. */
  readonly onEvent?: DeploymentListener | undefined;
}

export interface WindjammerOptions extends StartOptions {
  /** Management API of a server that runs elsewhere; of the other options only `token` goes with it. */
  readonly url?: string | undefined;
}

/** A server that runs in this process. */
export interface RunningServer extends AsyncDisposable {
  /** Base URL of the query API. */
  readonly queryUrl: string;
  /** Base URL of the management API. */
  readonly adminUrl: string;
  /** Address of gRPC, host:port; undefined: off. */
  readonly grpcAddress: string | undefined;
  /** Where it speaks Clipper; undefined: it does not. */
  readonly clipper: ClipperAddresses | undefined;
  readonly stateDir: string;
  /** Processes that take predictions. */
  readonly workerCount: number;
  readonly deployments: Deployments;
  /** Takes nothing new, lets running queries finish for `drainTimeoutMs`, then stops everything. Idempotent. */
  close(): Promise<void>;
}

/**
 * A Windjammer: a server embedded in this process, or with `url` a connection to one that runs elsewhere.
 *
 * @throws InvalidOptionsError, PortInUseError, StateDirInUseError, StateDirError; ServerUnreachableError and
 * UnauthorizedError with `url`
 * @example
 * await using wj = await windjammer();
 */
export async function windjammer(options: WindjammerOptions = {}): Promise<Windjammer> {
  const { url, ...rest } = options;
  const { token } = rest;
  if (url !== undefined) {
    refuseServerOptions(rest);
    return connect(url, token === undefined ? {} : { token });
  }
  const server = await startServer(rest);
  try {
    const { Client } = await import("./client/client.ts");
    return await Client.connect(server.adminUrl, {
      ...(token === undefined ? {} : { token }),
      onClose: () => server.close(),
    });
  } catch (error) {
    await server.close();
    throw error;
  }
}

/**
 * Connects to the management API of a server, such as http://127.0.0.1:1338.
 * @throws ServerUnreachableError, UnauthorizedError when it wants a token, InvalidOptionsError for a bad URL
 */
export async function connect(url: string, options: ConnectOptions = {}): Promise<Windjammer> {
  // Late, here and above: a server that nobody's script embeds has no use for its client.
  const { Client } = await import("./client/client.ts");
  return Client.connect(url, options);
}

/**
 * Starts a server in this process. What serves already when it was stopped, or killed, serves again; replicas start in
 * the background. When it cannot start, nothing of it is left.
 * @throws InvalidOptionsError, PortInUseError, StateDirInUseError, StateDirError, DiskFullError
 */
export async function startServer(options: StartOptions = {}): Promise<RunningServer> {
  const { runtime, onEvent, onStop, ...rest } = options;
  const config = readConfig(rest);
  const log = createLog(config.logLevel, config.logFormat);
  await using started = new AsyncDisposableStack();
  const stateDir = config.stateDir === undefined ? temporaryFolder(started) : resolve(config.stateDir);
  const state = await openState(stateDir, config, started);
  const used = runtime ?? (await import("./runtimes/process/index.ts")).processRuntime();
  await used.open({
    runDir: join(stateDir, "run"),
    cacheDir: resolve(config.cacheDir),
    keepDir: join(stateDir, "kept"),
    owner: state.owner,
    log,
  });
  // Not before: what could not be opened may be another server's.
  started.defer(() => used.close());
  const stop = stopperOf(onStop, stateDir);
  const { deployments, front, admin, compat, urls } = await compose(
    { ...state, config, log, runtime: used, stop },
    started,
  );
  if (onEvent !== undefined) deployments.onEvent(onEvent);
  await deployments.recover();
  urls.query = await front.listen();
  urls.admin = await admin.listen();
  const clipper = await compat?.listen();
  const grpcAddress = await front.listenGrpc();
  const { query: queryUrl, admin: adminUrl } = urls;
  log.info({ queryUrl, adminUrl, ...(clipper === undefined ? {} : { clipper }), stateDir }, "server started");
  const running = started.move();
  let closed: Promise<void> | undefined;
  const close = (): Promise<void> => (closed ??= running.disposeAsync());
  const addresses = { queryUrl, adminUrl, grpcAddress, clipper };
  const { workers: workerCount } = config;
  return { ...addresses, stateDir, workerCount, deployments, close, [Symbol.asyncDispose]: close };
}

function stopperOf(onStop: StartOptions["onStop"], stateDir: string): (() => StopReply) | undefined {
  if (onStop === undefined) return undefined;
  return () => {
    // The reply goes out first.
    setImmediate(onStop);
    return { status: "closing", pid: process.pid, stateDir };
  };
}

interface OpenState {
  readonly registry: Registry;
  readonly bundles: BundleStore;
  /** Names this server's replicas, over restarts. */
  readonly owner: string;
}

/** The registry comes first: it holds the folder, so that nothing of another server's is touched. */
async function openState(
  stateDir: string,
  config: ServerConfig,
  started: AsyncDisposableStack,
): Promise<OpenState> {
  const registry = await Registry.open(new SqliteStore(stateDir));
  started.defer(() => registry.close());
  try {
    const bundles = new BundleStore(join(stateDir, "bundles"), {
      maxBytes: config.maxBundleBytes,
      maxEntries: MAX_BUNDLE_ENTRIES,
    });
    await bundles.open();
    return { registry, bundles, owner: await ownerOf(stateDir) };
  } catch (error) {
    throw unusable(error, stateDir);
  }
}

interface Composition extends OpenState {
  readonly config: ServerConfig;
  readonly log: Log;
  readonly runtime: Runtime;
  readonly stop: (() => StopReply) | undefined;
}

interface Composed {
  readonly deployments: Deployments;
  readonly front: QueryFront;
  readonly admin: AdminServer;
  readonly compat: ClipperCompat | undefined;
  /** Filled in when the ports are known. */
  readonly urls: { query: string; admin: string };
}

/** What is deferred last is closed first: queries drain and deployments end while the management API still answers. */
async function compose(parts: Composition, started: AsyncDisposableStack): Promise<Composed> {
  const { registry, bundles, config, log, runtime, stop } = parts;
  const metrics = new Metrics();
  const serving = new Serving({ runtime, metrics, log, maxQueueLength: config.maxQueueLength });
  started.defer(() => serving.closeAll(config.drainTimeoutMs));
  metrics.setGauges(() => gauges(serving));
  const deployments = new Deployments({ registry, bundles, runtime, serving, log });
  const router = new Router({
    registry,
    serving,
    metrics,
    opening: deployments,
    cacheParts: answeringCount(config),
  });
  started.defer(() => router.close());
  const urls = { query: "", admin: "" };
  const startedAt = new Date().toISOString();
  const version = packageVersion();
  const group = workersOf({ config, registry, serving, metrics, deployments, log });
  const info = (): ServerInfo => ({
    version,
    queryUrl: urls.query,
    runtime: runtime.name,
    startedAt,
    workers: group?.statuses() ?? [],
  });
  const admin = new AdminServer({
    registry,
    bundles,
    deployments,
    serving,
    metrics,
    config,
    info,
    log,
    stop,
  });
  started.defer(() => admin.close(ADMIN_GRACE_MS));
  const compat = await clipperOf({ registry, bundles, deployments, serving, config, log });
  started.defer(() => compat?.close(ADMIN_GRACE_MS));
  const front = queryFront({ deployments, config, log, metrics, router, group, urls });
  started.defer(async () => {
    await Promise.all([front.close(config.drainTimeoutMs), deployments.close()]);
  });
  return { deployments, front, admin, compat, urls };
}

/** Loaded only where it is asked for. */
async function clipperOf({
  config,
  ...parts
}: Omit<ClipperCompatParts, "config" | "requestTimeoutMs"> & {
  readonly config: ServerConfig;
}): Promise<ClipperCompat | undefined> {
  const { clipper, requestTimeoutMs } = config;
  if (clipper === undefined) return undefined;
  const { ClipperCompat: Compat } = await import("./frontend/clipper/compat.ts");
  return new Compat({ ...parts, config: clipper, requestTimeoutMs });
}

function* gauges(serving: Serving): Iterable<VersionGauges> {
  for (const served of serving.all()) {
    const { model, version } = served.version;
    const { readyCount: ready, startingCount: starting } = served;
    const { queueLength, inFlight, policy } = served.describe();
    yield { model, version, ready, starting, queueLength, inFlight, curve: policy.curve };
  }
}

/** @throws InvalidOptionsError naming the option */
function readConfig(options: ServerOptions): ServerConfig {
  const parsed = serverOptionsSchema.safeParse(options, REPORT_INPUT);
  if (!parsed.success) {
    const { text, details } = describeIssues(parsed.error, "option", knownKeys(serverOptionsSchema) ?? []);
    throw new InvalidOptionsError(`cannot start a server: ${text}`, { details });
  }
  const { host, token } = parsed.data;
  if (token === undefined && !isLoopbackName(host)) {
    throw new InvalidOptionsError(
      `host ${host} can be reached from other machines, and the management API there needs a token; give one (token, at least 16 characters), or listen on 127.0.0.1`,
      { details: { option: "token", host } },
    );
  }
  refuseOpenClipper(parsed.data);
  refuseWorkersWithClipper(parsed.data);
  return parsed.data;
}

/** @throws InvalidOptionsError */
function refuseWorkersWithClipper({ clipper, workers }: ServerConfig): void {
  if (clipper === undefined || workers === 1) return;
  throw new InvalidOptionsError(
    `workers is ${workers}, and Clipper's model containers connect to one process, which has to take the predictions itself; leave out workers, or clipper`,
    { details: { option: "workers" } },
  );
}

/** @throws InvalidOptionsError */
function refuseOpenClipper({ clipper }: ServerConfig): void {
  if (clipper === undefined || clipper.allowUnauthenticated || isLoopbackName(clipper.host)) return;
  const { host } = clipper;
  throw new InvalidOptionsError(
    `clipper.host ${host} can be reached from other machines, and Clipper's ports know no token: whoever reaches them may change models. Where the network keeps others out, say so (clipper.allowUnauthenticated, --clipper-allow-unauthenticated); else listen on 127.0.0.1`,
    { details: { option: "clipper.allowUnauthenticated", host } },
  );
}

function refuseServerOptions(options: StartOptions): void {
  const first = Object.entries(options).find(([key, value]) => key !== "token" && value !== undefined);
  if (first === undefined) return;
  throw new InvalidOptionsError(
    `${first[0]} is an option of a server that is started here, and url connects to one that runs already; leave out one of the two`,
    { details: { option: first[0] } },
  );
}

function temporaryFolder(started: AsyncDisposableStack): string {
  try {
    const temporary = makeTemporaryStateDir();
    started.defer(() => temporary.remove());
    return temporary.folder;
  } catch (error) {
    throw unusable(error, tmpdir());
  }
}

async function ownerOf(stateDir: string): Promise<string> {
  const file = join(stateDir, "owner");
  const known = await readFile(file, "utf8").catch(() => "");
  if (/^[0-9a-f]{16}$/.test(known)) return known;
  const owner = randomBytes(8).toString("hex");
  await writeFile(file, owner);
  return owner;
}

function unusable(error: unknown, folder: string): Error {
  const ours = toWindjammerError(error);
  const code = isNodeError(error) ? error.code : undefined;
  if (code === undefined || code === "ENOSPC" || code === "EDQUOT") return ours;
  return new StateDirError(
    `state folder ${folder} cannot be used: ${ours.message}; give a folder that can be written (stateDir, --state-dir)`,
    { cause: error, details: { stateDir: folder } },
  );
}
