// Where the container engine is, as users of Docker say it: DOCKER_HOST, contexts, TLS folders, rootless sockets.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { connect } from "node:net";
import { homedir } from "node:os";
import { join } from "node:path";
import { processEnvironment } from "../environment.ts";
import { InvalidOptionsError } from "../errors.ts";

/** Keys and certificates of an engine that is reached over TLS. */
interface EngineTls {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

export type EngineAddress = (
  | { readonly kind: "socket"; readonly path: string }
  | { readonly kind: "tcp"; readonly host: string; readonly port: number; readonly tls?: EngineTls }
  | {
      readonly kind: "ssh";
      readonly host: string;
      /** undefined: as the user's ssh has it for this host; so is the user. */
      readonly port?: number;
      readonly user?: string;
      /** Its socket there; undefined: as docker finds it there. */
      readonly path?: string;
    }
) & {
  /** As the user knows it: "unix:///var/run/docker.sock (DOCKER_HOST)". */
  readonly shown: string;
};

const VARIABLES = [
  "DOCKER_HOST",
  "DOCKER_CONTEXT",
  "DOCKER_CONFIG",
  "DOCKER_CERT_PATH",
  "DOCKER_TLS_VERIFY",
  "XDG_RUNTIME_DIR",
];
type Variables = Readonly<Record<string, string>>;

/**
 * Finds the engine in the order of the docker command: `host`, DOCKER_HOST, DOCKER_CONTEXT, the current context, then
 * the first socket that takes calls: the system's, a rootless one, Docker Desktop's, Podman's.
 * @throws InvalidOptionsError for an address that is not understood
 */
export async function findEngine(
  host: string | undefined,
  variables: Variables = processEnvironment(VARIABLES),
): Promise<EngineAddress> {
  if (host !== undefined) return parseAddress(host, "option host", await environmentTls(variables));
  const fromEnvironment = variables["DOCKER_HOST"];
  if (fromEnvironment) return parseAddress(fromEnvironment, "DOCKER_HOST", await environmentTls(variables));
  const config = variables["DOCKER_CONFIG"] || join(homedir(), ".docker");
  const context = variables["DOCKER_CONTEXT"] || (await currentContext(config));
  if (context !== undefined && context !== "default") return contextAddress(config, context);
  const path = await firstSocket(variables);
  return { kind: "socket", path, shown: `unix://${path}` };
}

function parseAddress(text: string, source: string, tls: EngineTls | undefined): EngineAddress {
  const shown = `${text} (${source})`;
  const path = /^(?:unix:\/\/)?(\/.*)$/.exec(text)?.[1];
  if (path !== undefined) return { kind: "socket", path, shown };
  const url = URL.canParse(text) ? new URL(text.replace(/^tcp:/, "http:")) : undefined;
  if (url?.protocol === "ssh:" && /^[\w./-]*$/.test(url.pathname)) return sshAddress(url, shown);
  if (url !== undefined && /^https?:$/.test(url.protocol)) return tcpAddress(url, shown, tls);
  throw new InvalidOptionsError(
    `the container engine's address ${shown} is not understood; write unix:///path, tcp://host:port or ssh://user@host`,
    { details: { option: "host" } },
  );
}

function sshAddress({ hostname: host, port, username, pathname }: URL, shown: string): EngineAddress {
  return {
    kind: "ssh",
    host,
    ...(port === "" ? {} : { port: Number(port) }),
    ...(username === "" ? {} : { user: decodeURIComponent(username) }),
    ...(pathname === "" || pathname === "/" ? {} : { path: pathname }),
    shown,
  };
}

function tcpAddress(url: URL, shown: string, tls: EngineTls | undefined): EngineAddress {
  const host = url.hostname.replaceAll(/[[\]]/g, "");
  const secured = tls ?? (url.protocol === "https:" ? {} : undefined);
  const port = Number(url.port || (secured === undefined ? 2375 : 2376));
  return { kind: "tcp", host, port, ...(secured === undefined ? {} : { tls: secured }), shown };
}

async function environmentTls(variables: Variables): Promise<EngineTls | undefined> {
  const folder = variables["DOCKER_CERT_PATH"];
  if (!variables["DOCKER_TLS_VERIFY"] && !folder) return undefined;
  return readTls(folder || join(homedir(), ".docker"));
}

async function readTls(folder: string): Promise<EngineTls> {
  const read = (name: string): Promise<string | undefined> =>
    readFile(join(folder, name), "utf8").catch(() => undefined);
  const [ca, cert, key] = await Promise.all([read("ca.pem"), read("cert.pem"), read("key.pem")]);
  return {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
  };
}

async function currentContext(config: string): Promise<string | undefined> {
  const file = await readJson(join(config, "config.json"));
  const name = (file as { currentContext?: unknown } | undefined)?.currentContext;
  return typeof name === "string" && name !== "" ? name : undefined;
}

async function contextAddress(config: string, name: string): Promise<EngineAddress> {
  const id = createHash("sha256").update(name).digest("hex");
  const meta = await readJson(join(config, "contexts/meta", id, "meta.json"));
  const endpoint = (meta as { Endpoints?: { docker?: { Host?: unknown } } } | undefined)?.Endpoints?.docker;
  if (typeof endpoint?.Host !== "string") {
    throw new InvalidOptionsError(
      `Docker context ${JSON.stringify(name)} is not to be found in ${config}; docker context ls lists those there are`,
      { details: { context: name } },
    );
  }
  const tls = await readTls(join(config, "contexts/tls", id, "docker"));
  const hasTls = Object.keys(tls).length > 0;
  return parseAddress(endpoint.Host, `context ${name}`, hasTls ? tls : undefined);
}

/** The first that takes calls: one of an engine that does not run, or that this user may not use, hides no other one. */
async function firstSocket(variables: Variables): Promise<string> {
  const runtimeDir = variables["XDG_RUNTIME_DIR"];
  const own = runtimeDir ? [join(runtimeDir, "docker.sock"), join(runtimeDir, "podman/podman.sock")] : [];
  const desktop = join(homedir(), ".docker/run/docker.sock");
  const system = "/var/run/docker.sock";
  const paths = [system, ...own.slice(0, 1), desktop, ...own.slice(1), "/run/podman/podman.sock"];
  let first: string | undefined;
  for (const path of paths) {
    const why = await refusal(path);
    if (why === undefined) return path;
    if (why !== "ENOENT") first ??= path;
  }
  // What is wrong with it is said by whoever calls it.
  return first ?? system;
}

/** Why a socket takes no calls; undefined when it does. */
function refusal(path: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(undefined);
    });
    socket.once("error", ({ code = "" }: NodeJS.ErrnoException) => resolve(code));
  });
}

async function readJson(path: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path, "utf8"));
  } catch {
    return undefined;
  }
}
