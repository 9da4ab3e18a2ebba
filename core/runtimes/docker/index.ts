// The Docker runtime as users pass it: every version an image, every replica a locked-down container.
import { InvalidOptionsError } from "../../errors.ts";
import type { RegistryLogin } from "../engine.ts";
import type { Runtime } from "../runtime.ts";
import { DockerRuntime } from "./docker-runtime.ts";

/** How containers run, beside the limits that a version has itself. */
export interface ContainerOptions {
  /** Variables of every replica, over those of the bundle. Seen by `docker inspect`: not for secrets. Default: none. */
  readonly environment?: Readonly<Record<string, string>> | undefined;
  /** Secrets by name: each is a file `/run/secrets/<name>` in the container, never in its environment or image. Default: none. */
  readonly secrets?: Readonly<Record<string, string>> | undefined;
  /** Folders or files of the engine's host, by their path in the container; read-only unless said otherwise. Default: none. */
  readonly mounts?:
    | Readonly<Record<string, string | { readonly source: string; readonly isWritable: boolean }>>
    | undefined;
  /** GPUs given to every replica: all, a number of them, or these by id. Default: none. */
  readonly gpus?: "all" | number | readonly string[] | undefined;
  /**
   * A network for the model: true for the engine's own, or one by name. Queries then reach it through a port of
   * `publishOn`. Default false.
   */
  readonly network?: boolean | string | undefined;
  /**
   * Lets the engine run the image's health check, and replaces a replica that fails it `retries` times in a row (3).
   * Every `intervalMs` (10,000) that costs a process in the container, which has `timeoutMs` (5,000) to answer; failures
   * in the first `startPeriodMs` (60,000) do not count, while the model may still be loading. Default
   * false: the frontend sees by itself that a replica ends, or does not answer a batch.
   */
  readonly healthCheck?: boolean | HealthCheckOptions | undefined;
  /** Memory limit in MiB where the version has none. Default 4096. */
  readonly memoryMb?: number | undefined;
  /** Most processes and threads. Default 512. */
  readonly pids?: number | undefined;
  /** Size of /tmp, the only place the model may write to, MiB. Default 64. */
  readonly tmpMb?: number | undefined;
}

export interface HealthCheckOptions {
  readonly intervalMs?: number | undefined;
  readonly timeoutMs?: number | undefined;
  readonly retries?: number | undefined;
  readonly startPeriodMs?: number | undefined;
}

/** A registry that images are pushed to. */
export interface PushOptions extends RegistryLogin {
  /** Where to, without a tag: "registry.example.org/models". */
  readonly repository: string;
  /** Attempts in all. Default 3. */
  readonly tries?: number | undefined;
}

export interface DockerOptions extends ContainerOptions {
  /** The engine: unix:///path, tcp://host:port, ssh://user@host. Default: as the docker command finds it. */
  readonly host?: string | undefined;
  /** Image with Node 24 that models are built on. Default "node:24-bookworm-slim". */
  readonly baseImage?: string | undefined;
  /**
   * Image with Python 3.9 or newer, its venv and its pip (22.3 or newer) that Python models are built on. Default
   * "python:3.12-slim-bookworm".
   */
  readonly pythonBaseImage?: string | undefined;
  /**
   * When the image that a version is built on, or consists of, is fetched from its registry: "missing" where the engine
   * has none of this name, "always" at every deployment and start of the server, "never". An image built on another base
   * is built anew. Default "missing".
   */
  readonly pull?: "missing" | "always" | "never" | undefined;
  /** Login for these pulls; with `serveraddress` ("registry.example.org:5000") only for images whose name begins so. Default: none. */
  readonly pullLogin?: RegistryLogin | undefined;
  /** Builder of the engine: "auto" takes the classic one, and BuildKit for an `npmrc` or where there is no other. Default "auto". */
  readonly builder?: "auto" | "classic" | "buildkit" | undefined;
  /** Debian packages in every image. Default: none. */
  readonly aptPackages?: readonly string[] | undefined;
  /** Debian packages for installing npm packages only, such as python3, make and g++. Default: none. */
  readonly buildAptPackages?: readonly string[] | undefined;
  /** Text of an .npmrc for installing packages, such as a private registry with its token. In no layer. Default: none. */
  readonly npmrc?: string | undefined;
  /** Arguments of the build, such as proxies. The engine's build history shows them: not for secrets. Default: none. */
  readonly buildArgs?: Readonly<Record<string, string>> | undefined;
  /** Network of the build's steps, such as "host". Default: the engine's own. */
  readonly buildNetwork?: string | undefined;
  /** Pushes every image that is built. Default: none. */
  readonly push?: PushOptions | undefined;
  /** How replicas are reached: "auto" shares a Unix socket where one can be shared, else a port on loopback. Default "auto". */
  readonly transport?: "auto" | "socket" | "port" | undefined;
  /** Address of the engine's machine that ports are published on, where replicas listen on ports. Default "127.0.0.1". */
  readonly publishOn?: string | undefined;
  /** Settings of single models, by name, over the ones above. Default: none. */
  readonly models?: Readonly<Record<string, ContainerOptions>> | undefined;
  /** On close, ms that a replica has to finish before it is killed. Default 5,000. */
  readonly killGraceMs?: number | undefined;
}

/**
 * Runs each replica as a container of a Docker engine: non-root, read-only, without capabilities and without a
 * network, on a Unix socket of its own. Replicas outlive a frontend that is killed, and the next one takes them over.
 *
 * @throws InvalidOptionsError
 * @example
 * const wj = await windjammer({ runtime: docker({ aptPackages: ["libgomp1"] }) });
 */
export function docker(options: DockerOptions = {}): Runtime {
  checkNames("aptPackages", options.aptPackages ?? [], /^[a-z0-9][a-z0-9.+-]+(?:=[\w.+:~-]+)?$/);
  checkNames("buildAptPackages", options.buildAptPackages ?? [], /^[a-z0-9][a-z0-9.+-]+(?:=[\w.+:~-]+)?$/);
  checkNames("baseImage", options.baseImage === undefined ? [] : [options.baseImage], /^[\w./:@-]+$/);
  checkNames(
    "pythonBaseImage",
    options.pythonBaseImage === undefined ? [] : [options.pythonBaseImage],
    /^[\w./:@-]+$/,
  );
  checkNames("buildArgs", Object.keys(options.buildArgs ?? {}), /^[A-Za-z_]\w*$/);
  for (const container of [options, ...Object.values(options.models ?? {})]) {
    checkNames("secrets", Object.keys(container.secrets ?? {}), /^\w[\w.-]*$/);
    checkNames("environment", Object.keys(container.environment ?? {}), /^[A-Za-z_]\w*$/);
    checkNames("mounts", Object.keys(container.mounts ?? {}), /^\//);
    checkNetwork(container.network, options.transport);
  }
  return new DockerRuntime(options);
}

/** These become parts of a Dockerfile, or paths. */
function checkNames(option: string, names: readonly string[], pattern: RegExp): void {
  const wrong = names.find((name) => !pattern.test(name));
  if (wrong === undefined) return;
  throw new InvalidOptionsError(
    `docker({ ${option} }): ${JSON.stringify(wrong)} does not look like one; it has to match ${pattern.source}`,
    { details: { option, value: wrong } },
  );
}

/** On these no port can be published, so that only a socket is left. */
function checkNetwork(network: ContainerOptions["network"], transport: DockerOptions["transport"]): void {
  if (typeof network !== "string" || transport === "socket") return;
  if (!/^(?:host|none|container:.*)$/.test(network)) return;
  throw new InvalidOptionsError(
    `docker({ network: ${JSON.stringify(network)} }): no port can be published on it, and replicas with a network are reached through one; name another network, or add transport: "socket"`,
    { details: { option: "network", value: network } },
  );
}
