// What the engine is asked for when a replica starts: a container that can predict, and nothing else. Pure.
import { IMAGE_PATHS } from "../../../containers/dockerfile.ts";
import { ENV, isForeign } from "../../../containers/protocol.ts";
import type { ContainerRequest, Labels } from "../engine.ts";
import type { BundleFolder } from "../../types.ts";
import type { ReplicaSpec } from "../runtime.ts";
import { SOCKET, type ContainerUser, type ReplicaFolder } from "./folders.ts";
import type { ContainerOptions } from "./index.ts";
import { LABEL } from "./labels.ts";

const SOCKET_FOLDER = "/run/windjammer";
/** Path of a replica's socket in its container. */
export const SOCKET_IN_CONTAINER: string = `${SOCKET_FOLDER}/${SOCKET}`;
const SECRETS_FOLDER = "/run/secrets";
/** Port that a replica listens on in its container, unless its image says another. */
export const DEFAULT_PORT = 8080;

const DEFAULT_MEMORY_MB = 4096;
const DEFAULT_PIDS = 512;
const DEFAULT_TMP_MB = 64;
const NS_PER_MS = 1e6;

/** How the frontend reaches a replica. */
export type Transport = "socket" | "port";

export interface ContainerSetting {
  readonly options: ContainerOptions;
  readonly transport: Transport;
  readonly user: ContainerUser;
  /** Address of the host that ports are published on. */
  readonly publishOn: string;
  /** undefined where no folder can be shared. */
  readonly folder: ReplicaFolder | undefined;
  readonly labels: Labels;
  /** Cores of the engine's machine: it refuses to give more. */
  readonly engineCpus: number;
  /** Where the replica listens, in the container, when it is reached by a port. */
  readonly port: number;
}

/** Port that the bundle's own image listens on; undefined: it goes by its environment. */
export function portOf({ manifest: { container } }: Pick<BundleFolder, "manifest">): number | undefined {
  return container?.kind === "image" || container?.kind === "dockerfile" ? container.port : undefined;
}

export function memoryLimitMb(spec: ReplicaSpec, options: ContainerOptions): number {
  return spec.limits.memoryMb ?? options.memoryMb ?? DEFAULT_MEMORY_MB;
}

/** The container of one replica. */
export function replicaRequest(spec: ReplicaSpec, setting: ContainerSetting): ContainerRequest {
  const { options, transport, folder } = setting;
  const memoryMb = memoryLimitMb(spec, options);
  const environment: Record<string, string> = {
    HOME: "/tmp",
    ...spec.bundle.manifest.environment,
    ...options.environment,
    ...(transport === "socket"
      ? { [ENV.socket]: SOCKET_IN_CONTAINER }
      : { [ENV.port]: String(setting.port) }),
    [ENV.modelName]: spec.model,
    [ENV.modelVersion]: spec.version,
    ...(isForeign(spec.bundle.manifest.container) ? {} : { [ENV.modelDir]: IMAGE_PATHS.model }),
    [ENV.threads]: String(Math.max(1, Math.ceil(spec.limits.cpus))),
    [ENV.memoryLimitMb]: String(memoryMb),
  };
  const request = lockedDown(spec.image, setting);
  return {
    ...request,
    Env: Object.entries(environment).map(([name, value]) => `${name}=${value}`),
    Labels: {
      ...setting.labels,
      [LABEL.memory]: String(memoryMb),
      ...(folder === undefined ? {} : { [LABEL.folder]: folder.path }),
    },
    HostConfig: {
      ...request.HostConfig,
      Memory: memoryMb * 2 ** 20,
      // No more of it in the swap.
      MemorySwap: memoryMb * 2 ** 20,
      NanoCpus: Math.round(Math.min(coreLimit(spec.limits.cpus), setting.engineCpus) * 1e9),
      ...gpuRequests(options.gpus),
    },
  };
}

/** One core more than compute threads, for the thread that reads and writes; less than a core is meant as a limit. */
function coreLimit(cpus: number): number {
  return cpus < 1 ? cpus : cpus + 1;
}

/** What every container of ours is held to, also one that only tries something out. */
export function lockedDown(
  image: string,
  { options, transport, user, publishOn, folder, port }: Omit<ContainerSetting, "labels" | "engineCpus">,
): ContainerRequest {
  const isPublished = transport === "port";
  const portKey = `${port}/tcp`;
  return {
    Image: image,
    User: `${user.uid}:${user.gid}`,
    Healthcheck: healthCheck(options.healthCheck),
    ...(isPublished ? { ExposedPorts: { [portKey]: {} } } : {}),
    HostConfig: {
      // Without an init, a process that ignores SIGTERM, or leaves children behind, is the first of its namespace.
      Init: true,
      ReadonlyRootfs: true,
      Tmpfs: { "/tmp": `rw,nosuid,nodev,size=${options.tmpMb ?? DEFAULT_TMP_MB}m,mode=1777` },
      CapDrop: ["ALL"],
      SecurityOpt: ["no-new-privileges"],
      PidsLimit: options.pids ?? DEFAULT_PIDS,
      IpcMode: "private",
      NetworkMode: networkMode(options.network, isPublished),
      LogConfig: { Type: "json-file", Config: { "max-size": "5m", "max-file": "2" } },
      ...(isPublished ? { PortBindings: { [portKey]: [{ HostIp: publishOn, HostPort: "0" }] } } : {}),
      Mounts: mounts(options, transport, folder),
    },
  };
}

/** Without a test of its own it is the image's. */
function healthCheck(wanted: ContainerOptions["healthCheck"]): NonNullable<ContainerRequest["Healthcheck"]> {
  // The frontend notices by itself; a check by the engine is a new process each time.
  if (wanted === undefined || wanted === false) return { Test: ["NONE"] };
  const {
    intervalMs = 10_000,
    timeoutMs = 5_000,
    retries = 3,
    startPeriodMs = 60_000,
  } = wanted === true ? {} : wanted;
  return {
    Interval: intervalMs * NS_PER_MS,
    Timeout: timeoutMs * NS_PER_MS,
    Retries: retries,
    StartPeriod: startPeriodMs * NS_PER_MS,
  };
}

function networkMode(network: ContainerOptions["network"], isPublished: boolean): string {
  if (typeof network === "string") return network;
  return network === true || isPublished ? "bridge" : "none";
}

type Mounts = NonNullable<NonNullable<ContainerRequest["HostConfig"]>["Mounts"]>;

function mounts(options: ContainerOptions, transport: Transport, folder: ReplicaFolder | undefined): Mounts {
  const own: Mounts = [];
  if (folder !== undefined && transport === "socket")
    own.push({ Type: "bind", Source: folder.sockets, Target: SOCKET_FOLDER, ReadOnly: false });
  if (folder !== undefined && Object.keys(options.secrets ?? {}).length > 0)
    own.push({ Type: "bind", Source: folder.secrets, Target: SECRETS_FOLDER, ReadOnly: true });
  const wanted = Object.entries(options.mounts ?? {}).map(([target, mount]) => ({
    Type: "bind" as const,
    Source: typeof mount === "string" ? mount : mount.source,
    Target: target,
    ReadOnly: typeof mount === "string" || !mount.isWritable,
  }));
  return [...own, ...wanted];
}

function gpuRequests(gpus: ContainerOptions["gpus"]): NonNullable<ContainerRequest["HostConfig"]> {
  if (gpus === undefined) return {};
  const which = typeof gpus === "object" ? { DeviceIDs: [...gpus] } : { Count: gpus === "all" ? -1 : gpus };
  return { DeviceRequests: [{ Driver: "", Capabilities: [["gpu"]], ...which }] };
}
