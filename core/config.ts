// Options of a server: defaults and bounds.
import { availableParallelism } from "node:os";
import { z } from "zod";
import { defaultCacheDir, processEnvironment } from "./environment.ts";
import { InvalidOptionsError } from "./errors.ts";
import type { LogFormat, LogLevel } from "./log.ts";

/** What `windjammer()` and `windjammer start` take, besides the runtime. */
export interface ServerOptions {
  /** Address both listeners bind to. Anything but a loopback address needs `token`. Default 127.0.0.1. */
  readonly host?: string | undefined;
  /** Port of the query API; 0 picks a free one. Default 1337. */
  readonly port?: number | undefined;
  /** Port of the management API; 0 picks a free one. Default 1338. */
  readonly adminPort?: number | undefined;
  /**
   * Folder of the registry and the bundles. Default: a private temporary folder that is removed on close, so that an
   * embedded server starts empty; `windjammer start` keeps its state in `defaultStateDir()`.
   */
  readonly stateDir?: string | undefined;
  /** Folder of installed packages, shared by servers. Default `$XDG_CACHE_HOME/windjammer` (~/.cache/windjammer). */
  readonly cacheDir?: string | undefined;
  /** Bearer token of the management API: at least 16 printable ASCII characters, no spaces. Default: none. */
  readonly token?: string | undefined;
  /** Largest body of a prediction, bytes. Default 64 MiB. */
  readonly maxBodyBytes?: number | undefined;
  /** Largest bundle that may be uploaded, bytes unpacked. Default 16 GiB. */
  readonly maxBundleBytes?: number | undefined;
  /** Most inputs in one prediction. Default 10,000. */
  readonly maxInputs?: number | undefined;
  /** Most queries that wait for one version; more are shed. Default 10,000. */
  readonly maxQueueLength?: number | undefined;
  /** A request must have arrived whole this many ms after its first byte. Default 30,000. */
  readonly requestTimeoutMs?: number | undefined;
  /** On close, running queries get this many ms to finish. Default 5,000. */
  readonly drainTimeoutMs?: number | undefined;
  /**
   * Processes that take predictions, each with queues of its own; they share the replicas. "auto": three quarters of the
   * cores, since one replica of a small model keeps up with about three. Default 1: the server's own process.
   */
  readonly workers?: number | "auto" | undefined;
  /** Port of the Open Inference Protocol over gRPC, on `host`; 0 picks a free one. Others use 8001. Default: off. */
  readonly grpcPort?: number | undefined;
  /** Lets gRPC clients ask for the services. Default false. */
  readonly grpcReflection?: boolean | undefined;
  /** Vertex AI's paths of predictions and health. Default: none. */
  readonly vertex?: { readonly predictRoute: string; readonly healthRoute: string } | undefined;
  /** How the server calls itself to clients of the Open Inference Protocol. Default "windjammer"; some ask for "triton". */
  readonly serverName?: string | undefined;
  /**
   * Speaks Clipper beside our own API: its management API and its model containers, both without a token, and errors of
   * predictions in Clipper's shape. Default: off. `true`: on, with defaults.
   */
  readonly clipper?: boolean | ClipperOptions | undefined;
  /** Default "silent" when embedded; `windjammer start` sets "info". */
  readonly logLevel?: LogLevel | undefined;
  /** Lines for people or for programs, on standard error. Default "json". */
  readonly logFormat?: LogFormat | undefined;
}

/** Where a server speaks Clipper. */
export interface ClipperOptions {
  /**
   * Address of both ports. Neither asks for a token, as Clipper's clients know none: anything but a loopback address
   * needs `allowUnauthenticated`. Default 127.0.0.1.
   */
  readonly host?: string | undefined;
  /** Whoever reaches `host` may change models and serve in their place: the network has to keep others out. Default false. */
  readonly allowUnauthenticated?: boolean | undefined;
  /** Port of Clipper's management API; 0 picks a free one. Default 1339, since 1338 is our own. */
  readonly adminPort?: number | undefined;
  /** Port that Clipper's model containers connect to (ZeroMQ; needs the package zeromq); null: none. Default 7000. */
  readonly rpcPort?: number | null | undefined;
}

/** `ClipperOptions` with its defaults filled in. */
export type ClipperConfig = {
  readonly [K in keyof ClipperOptions]-?: Exclude<ClipperOptions[K], undefined>;
};

type Optional = "stateDir" | "token" | "clipper" | "grpcPort" | "vertex" | "workers";

/** `ServerOptions` with its defaults filled in. */
export type ServerConfig = {
  readonly [K in Exclude<keyof ServerOptions, Optional>]-?: Exclude<ServerOptions[K], undefined>;
} & Pick<ServerOptions, "stateDir" | "token" | "grpcPort" | "vertex"> & {
    readonly clipper?: ClipperConfig | undefined;
    readonly workers: number;
  };

const MAX_WORKERS = 256;
const port = z.int().min(0).max(65_535);
/** A path without a query, since a request is matched without its own. */
const ROUTE_PATTERN = /^\/[\x21-\x7e]*$/;
const EXPECTED_ROUTE = "a path that begins with /, without ? and #";
const route = z.string().refine(isRoute, `expected ${EXPECTED_ROUTE}`);
/** What can be sent as a bearer token, in one header. */
const TOKEN_PATTERN = /^[\x21-\x7e]{16,}$/;

const clipperOptions = z.strictObject({
  host: z.string().min(1).default("127.0.0.1"),
  allowUnauthenticated: z.boolean().default(false),
  adminPort: port.default(1339),
  rpcPort: port.nullable().default(7000),
});

export const serverOptionsSchema: z.ZodType<ServerConfig, ServerOptions> = z.strictObject({
  host: z.string().min(1).default("127.0.0.1"),
  port: port.default(1337),
  adminPort: port.default(1338),
  stateDir: z.string().min(1).optional(),
  cacheDir: z.string().min(1).default(defaultCacheDir),
  token: z
    .string()
    .check(({ value, issues }) => {
      if (TOKEN_PATTERN.test(value)) return;
      const message = "expected at least 16 printable ASCII characters without spaces";
      // In place of the token itself, which errors would print.
      issues.push({ code: "custom", message, input: "***" });
    })
    .optional(),
  maxBodyBytes: z
    .int()
    .min(1024)
    .max(2 ** 31)
    .default(64 * 2 ** 20),
  maxBundleBytes: z
    .int()
    .min(1024)
    .default(16 * 2 ** 30),
  maxInputs: z.int().min(1).max(1_000_000).default(10_000),
  maxQueueLength: z.int().min(1).max(1_000_000).default(10_000),
  requestTimeoutMs: z.int().min(100).max(3_600_000).default(30_000),
  drainTimeoutMs: z.int().min(0).max(600_000).default(5_000),
  workers: z
    .union([z.int().min(1).max(MAX_WORKERS), z.literal("auto").transform(workersForCores)], {
      error: `expected "auto", or a whole number from 1 to ${MAX_WORKERS}`,
    })
    .default(1),
  grpcPort: port.optional(),
  grpcReflection: z.boolean().default(false),
  vertex: z.object({ predictRoute: route, healthRoute: route }).optional(),
  serverName: z.string().min(1).max(100).default("windjammer"),
  clipper: z
    .union([z.boolean().transform((isOn) => (isOn ? {} : undefined)), clipperOptions])
    .optional()
    .transform((options) => (options === undefined ? undefined : clipperOptions.parse(options))),
  logLevel: z.enum(["debug", "info", "warn", "error", "silent"]).default("silent"),
  logFormat: z.enum(["text", "json"]).default("json"),
});

/** Deepest nesting of arrays and objects accepted in JSON from outside. */
export const MAX_JSON_DEPTH = 64;

function workersForCores(): number {
  return Math.max(1, Math.floor((availableParallelism() * 3) / 4));
}

/** Names of applications and models, and of versions. */
export const NAME_PATTERN: RegExp = /^[a-z0-9](?:[-_a-z0-9]{0,98}[a-z0-9])?$/;
export const VERSION_PATTERN: RegExp = /^[A-Za-z0-9][-._A-Za-z0-9]{0,63}$/;

/** Whether only this machine is reached by the name or address. */
export function isLoopbackName(hostname: string): boolean {
  return (
    hostname === "localhost" ||
    hostname.endsWith(".localhost") ||
    hostname === "::1" ||
    hostname === "[::1]" ||
    /^127(?:\.\d{1,3}){3}$/.test(hostname)
  );
}

/**
 * What Vertex AI tells a server that it runs: `AIP_HTTP_PORT`, `AIP_PREDICT_ROUTE`, `AIP_HEALTH_ROUTE` (default
 * /health/ready). Empty is unset.
 * @throws InvalidOptionsError naming the variable
 */
export function vertexFromEnvironment(): Pick<ServerOptions, "port" | "vertex"> {
  const given = variable("AIP_HTTP_PORT", isPort, "a port, 0 to 65535");
  const predictRoute = variable("AIP_PREDICT_ROUTE", isRoute, EXPECTED_ROUTE);
  const healthRoute = variable("AIP_HEALTH_ROUTE", isRoute, EXPECTED_ROUTE);
  if (predictRoute === undefined && healthRoute !== undefined) {
    throw new InvalidOptionsError(
      `AIP_HEALTH_ROUTE is ${JSON.stringify(healthRoute)} and AIP_PREDICT_ROUTE is not set; set both, or neither`,
      { details: { variable: "AIP_PREDICT_ROUTE" } },
    );
  }
  return {
    ...(given === undefined ? {} : { port: Number(given) }),
    ...(predictRoute === undefined
      ? {}
      : { vertex: { predictRoute, healthRoute: healthRoute ?? "/health/ready" } }),
  };
}

function variable(name: string, isRight: (value: string) => boolean, expected: string): string | undefined {
  const value = processEnvironment([name])[name] || undefined;
  if (value === undefined || isRight(value)) return value;
  throw new InvalidOptionsError(
    `the variable ${name} is ${JSON.stringify(value)}: expected ${expected}; correct it, or unset it`,
    { details: { variable: name } },
  );
}

function isPort(text: string): boolean {
  return /^\d{1,5}$/.test(text) && Number(text) <= 65_535;
}

function isRoute(text: string): boolean {
  return ROUTE_PATTERN.test(text) && !/[?#]/.test(text);
}

/** Processes that answer predictions: the workers, and beside them the server's own process where gRPC comes to it. */
export function answeringCount({ workers, grpcPort }: Pick<ServerConfig, "workers" | "grpcPort">): number {
  return workers > 1 && grpcPort !== undefined ? workers + 1 : workers;
}
