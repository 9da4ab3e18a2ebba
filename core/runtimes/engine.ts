// A container engine behind Docker's API. The only file that knows dockerode.
import type { Readable } from "node:stream";
import Docker from "dockerode";
import { EngineRefusedError } from "../errors.ts";
import { engineError } from "./engine-errors.ts";
import { findEngine, type EngineAddress } from "./engine-address.ts";
import { sshAgent } from "./engine-ssh.ts";
import {
  eventsOf,
  fileOfArchive,
  jsonLines,
  type EngineEvent,
  type EngineMessage,
} from "./engine-messages.ts";

export type { EngineEvent, EngineMessage } from "./engine-messages.ts";

export type Labels = Readonly<Record<string, string>>;
type LabelFilter = Readonly<Record<string, string | undefined>>;

export interface EngineInfo {
  /** Names the engine, also over its restarts. */
  readonly id: string;
  readonly version: string;
  readonly cpus: number;
  readonly isRootless: boolean;
  /** It runs in a virtual machine, which shares folders with this one, but no sockets in them. */
  readonly isDesktop: boolean;
}

export interface BuildRequest {
  readonly tag: string;
  readonly buildArgs: Readonly<Record<string, string>>;
  readonly networkMode: string | undefined;
  readonly labels: Labels;
  readonly builder: "classic" | "buildkit";
  /** Asks the registries for the images that it is built on, though the engine has them. */
  readonly isPulling: boolean;
  /** For images of registries that it is built on, by their address; of the classic builder only. */
  readonly logins: Readonly<Record<string, RegistryLogin>>;
}

export interface RegistryLogin {
  readonly username?: string;
  readonly password?: string;
  readonly identitytoken?: string;
  readonly serveraddress?: string;
}

/** An image as the engine describes it. */
export interface ImageState {
  readonly id: string;
  /** Names; empty for one that only others are built on. */
  readonly tags: readonly string[];
  readonly labels: Labels;
  /** Unix time, seconds. */
  readonly createdS: number;
  /** With all it is built on. */
  readonly sizeBytes: number;
}

/** A container as the engine describes it. */
export interface ContainerState {
  readonly id: string;
  readonly labels: Labels;
  readonly isRunning: boolean;
  readonly exitCode: number;
  readonly wasOutOfMemory: boolean;
  /** By the engine's own health check. */
  readonly isUnhealthy: boolean;
  readonly startedAt: string;
  /** Output of the last health check by the engine. */
  readonly lastHealthCheck: string | undefined;
  /** Ports of the host by "8080/tcp". */
  readonly ports: Readonly<Record<string, number>>;
}

/** Things with these labels, of any value where none is given. */
export interface EventFilter {
  readonly type: "container" | "image";
  readonly labels: LabelFilter;
}

/** Body of POST /containers/create. */
export type ContainerRequest = Docker.ContainerCreateOptions;

/** An engine that says nothing for so long, where it has little to do, is as good as gone. */
const SILENCE_MS = 60_000;

export class Engine {
  readonly address: EngineAddress;
  /** For calls that stream, or go on for long. */
  readonly #streams: Docker;
  /** For calls that are answered at once by an engine that is well. */
  readonly #docker: Docker;

  private constructor(address: EngineAddress, silenceMs: number) {
    this.address = address;
    this.#streams = new Docker(dockerodeOptions(address));
    this.#docker = new Docker({ ...dockerodeOptions(address), timeout: silenceMs });
  }

  /** @throws EngineUnreachableError, EngineRefusedError, InvalidOptionsError for an address not understood */
  static async connect(host: string | undefined): Promise<Engine> {
    return Engine.at(await findEngine(host));
  }

  /**
   * @param silenceMs of the engine after which a call fails that it should have answered at once; default 60,000
   * @throws EngineUnreachableError, EngineRefusedError
   */
  static async at(address: EngineAddress, silenceMs: number = SILENCE_MS): Promise<Engine> {
    const engine = new Engine(address, silenceMs);
    await engine.ping();
    return engine;
  }

  async ping(): Promise<void> {
    await this.#call("ping", () => this.#docker.ping());
  }

  async info(): Promise<EngineInfo> {
    const info = (await this.#call("read its description", () => this.#docker.info())) as {
      ID?: string;
      ServerVersion?: string;
      NCPU?: number;
      SecurityOptions?: string[];
      OperatingSystem?: string;
      BuildahVersion?: string;
    };
    // Podman, which builds with Buildah, thinks of another id at every call.
    const isPodman = info.BuildahVersion !== undefined;
    return {
      id: isPodman ? this.address.shown : (info.ID ?? this.address.shown),
      version: info.ServerVersion ?? "unknown",
      cpus: info.NCPU ?? 1,
      isRootless: info.SecurityOptions?.some((option) => option.includes("rootless")) === true,
      isDesktop: info.OperatingSystem?.includes("Docker Desktop") === true,
    };
  }

  /** Sends a build context and yields what the engine says; a failed step is only a message with `error`. */
  async *build(context: Readable, request: BuildRequest, signal: AbortSignal): AsyncIterable<EngineMessage> {
    const options: Docker.ImageBuildOptions = {
      t: request.tag,
      buildargs: { ...request.buildArgs },
      forcerm: true,
      rm: true,
      abortSignal: signal,
      ...(request.networkMode === undefined ? {} : { networkmode: request.networkMode }),
      labels: { ...request.labels },
      ...(request.isPulling ? { pull: true } : {}),
      ...(Object.keys(request.logins).length === 0
        ? {}
        : { registryconfig: request.logins as Docker.RegistryConfig }),
      ...(request.builder === "buildkit" ? { version: "2" as const } : {}),
    };
    const sent = Promise.withResolvers<never>();
    sent.promise.catch(() => {});
    context.once("error", (error) => sent.reject(error));
    try {
      const building = this.#call("build an image", () => this.#streams.buildImage(context, options));
      const stream = await Promise.race([building, sent.promise]);
      yield* jsonLines(stream as Readable, signal);
    } finally {
      context.destroy();
    }
  }

  /** Fetches an image from its registry; that it could not is only a message with `error`, or a refusal. */
  async *pull(
    image: string,
    login: RegistryLogin | undefined,
    signal: AbortSignal,
  ): AsyncIterable<EngineMessage> {
    const options = { abortSignal: signal, ...(login === undefined ? {} : { authconfig: login }) };
    const stream = await this.#call(`pull ${image}`, () => this.#streams.pull(image, options));
    yield* jsonLines(stream as Readable, signal);
  }

  async *push(
    tag: string,
    login: RegistryLogin | undefined,
    signal: AbortSignal,
  ): AsyncIterable<EngineMessage> {
    // Without any login at all the engine refuses to push, also where none is needed.
    const authconfig = { username: "", password: "", serveraddress: "", ...login };
    const stream = await this.#call(`push ${tag}`, () =>
      this.#streams.getImage(tag).push({ authconfig, abortSignal: signal }),
    );
    yield* jsonLines(stream as Readable, signal);
  }

  async tag(image: string, repository: string, tag: string): Promise<void> {
    await this.#call(`tag ${image}`, () => this.#docker.getImage(image).tag({ repo: repository, tag }));
  }

  /** undefined when the engine has none of this name. */
  async findImage(name: string): Promise<ImageState | undefined> {
    const found = await this.#found(`look up image ${name}`, () => this.#docker.getImage(name).inspect());
    if (found === undefined) return undefined;
    return {
      id: found.Id,
      tags: found.RepoTags ?? [],
      labels: found.Config.Labels ?? {},
      createdS: Date.parse(found.Created) / 1000,
      sizeBytes: found.Size,
    };
  }

  /** Images with these labels, of any value where none is given. */
  async images(labels: LabelFilter): Promise<readonly ImageState[]> {
    const images = await this.#call("list images", () =>
      this.#docker.listImages({ filters: JSON.stringify({ label: labelFilter(labels) }) }),
    );
    return images.map((image) => ({
      id: image.Id,
      tags: (image.RepoTags ?? []).filter((tag) => tag !== "<none>:<none>"),
      labels: image.Labels ?? {},
      createdS: image.Created,
      sizeBytes: image.Size,
    }));
  }

  /** Text of a file in an image; undefined when there is no such file. */
  async readFile(image: string, path: string): Promise<string | undefined> {
    const container = await this.create("", { Image: image });
    try {
      const archive = await this.#found(`read ${path} in image ${image}`, () =>
        this.#streams.getContainer(container).getArchive({ path }),
      );
      return archive === undefined ? undefined : await fileOfArchive(archive as Readable);
    } finally {
      await this.remove(container);
    }
  }

  /** Whether it is gone: an image in use stays. */
  async removeImage(name: string): Promise<boolean> {
    try {
      await this.#found(`remove image ${name}`, () => this.#docker.getImage(name).remove());
      return true;
    } catch (error) {
      if (error instanceof EngineRefusedError && error.details["statusCode"] === 409) return false;
      throw error;
    }
  }

  /** @param name "" lets the engine choose one */
  async create(name: string, request: ContainerRequest): Promise<string> {
    const { id } = await this.#call(`create container ${name}`, () =>
      this.#docker.createContainer({ ...(name === "" ? {} : { name }), ...request }),
    );
    return id;
  }

  async start(id: string): Promise<void> {
    await this.#call(`start container ${id}`, () => this.#docker.getContainer(id).start());
  }

  /** undefined when there is no such container. */
  async inspect(id: string): Promise<ContainerState | undefined> {
    const found = await this.#found(`inspect container ${id}`, () => this.#docker.getContainer(id).inspect());
    return found === undefined ? undefined : stateOf(found);
  }

  /** All containers with these labels, also those that have ended. */
  async containers(labels: Labels): Promise<readonly ContainerState[]> {
    const listed = await this.#call("list containers", () =>
      this.#docker.listContainers({ all: true, filters: JSON.stringify({ label: labelFilter(labels) }) }),
    );
    const states = await Promise.all(listed.map(({ Id }) => this.inspect(Id)));
    return states.filter((state) => state !== undefined);
  }

  /** One that has ended, or is gone, is fine. */
  async kill(id: string, signal: "SIGTERM" | "SIGKILL"): Promise<void> {
    try {
      await this.#found(`stop container ${id}`, () => this.#docker.getContainer(id).kill({ signal }));
    } catch (error) {
      // "is not running"
      if (!(error instanceof EngineRefusedError) || error.details["statusCode"] !== 409) throw error;
    }
  }

  /** With its volumes; one that is gone is fine. */
  async remove(id: string): Promise<void> {
    try {
      await this.#found(`remove container ${id}`, () =>
        this.#docker.getContainer(id).remove({ force: true, v: true }),
      );
    } catch (error) {
      // "removal is already in progress"
      if (!(error instanceof EngineRefusedError) || error.details["statusCode"] !== 409) throw error;
    }
  }

  /** Output of a container as the engine frames it, from `sinceS` (Unix time, seconds) on, until it has ended. */
  async followLogs(
    id: string,
    options: { readonly tail: number; readonly sinceS: number },
  ): Promise<Readable> {
    const stream = await this.#call(`read the log of container ${id}`, () =>
      this.#streams.getContainer(id).logs({
        follow: true,
        stdout: true,
        stderr: true,
        timestamps: true,
        tail: options.tail,
        since: options.sinceS as unknown as string,
      }),
    );
    return stream as Readable;
  }

  async stats(id: string): Promise<{ readonly memoryBytes: number; readonly cpuMs: number } | undefined> {
    const stats = await this.#found(`measure container ${id}`, () =>
      this.#docker.getContainer(id).stats({ stream: false, "one-shot": true }),
    );
    const usage = stats?.memory_stats.usage;
    if (stats === undefined || usage === undefined) return undefined;
    const detail = stats.memory_stats.stats as unknown as Readonly<Record<string, number>> | undefined;
    // Pages of files that the kernel gives back at need are not the container's: the names are of cgroup v2 and v1.
    const cache = detail?.["total_inactive_file"] ?? detail?.["inactive_file"] ?? 0;
    return { memoryBytes: usage - cache, cpuMs: stats.cpu_stats.cpu_usage.total_usage / 1e6 };
  }

  /** What happens to things of the engine. Listens once it has resolved; ends or throws with the engine. */
  async events({ type, labels }: EventFilter, signal: AbortSignal): Promise<AsyncIterable<EngineEvent>> {
    const stream = await this.#call("listen to events", () =>
      this.#streams.getEvents({
        filters: JSON.stringify({ type: [type], label: labelFilter(labels) }),
        abortSignal: signal,
      }),
    );
    return eventsOf(stream as Readable, signal);
  }

  /** undefined for 404. */
  async #found<T>(what: string, call: () => Promise<T>): Promise<T | undefined> {
    try {
      return await this.#call(what, call);
    } catch (error) {
      if (error instanceof EngineRefusedError && error.details["statusCode"] === 404) return undefined;
      throw error;
    }
  }

  async #call<T>(what: string, call: () => Promise<T>): Promise<T> {
    try {
      return await call();
    } catch (error) {
      throw engineError(error, what, this.address.shown);
    }
  }
}

function stateOf(found: Docker.ContainerInspectInfo): ContainerState {
  const ports: Record<string, number> = {};
  for (const [port, bindings] of Object.entries(found.NetworkSettings.Ports ?? {})) {
    const published = Number(bindings?.[0]?.HostPort);
    if (published > 0) ports[port] = published;
  }
  return {
    id: found.Id,
    labels: found.Config.Labels ?? {},
    isRunning: found.State.Running,
    exitCode: found.State.ExitCode,
    wasOutOfMemory: found.State.OOMKilled,
    isUnhealthy: found.State.Health?.Status === "unhealthy",
    startedAt: found.State.StartedAt,
    lastHealthCheck: found.State.Health?.Log?.at(-1)?.Output.trim(),
    ports,
  };
}

function labelFilter(labels: LabelFilter): string[] {
  return Object.entries(labels).map(([name, value]) => (value === undefined ? name : `${name}=${value}`));
}

/** All of an address is said: what is left out, dockerode would take from DOCKER_HOST and DOCKER_CERT_PATH. */
function dockerodeOptions(address: EngineAddress): Docker.DockerOptions {
  const none = {
    socketPath: undefined,
    host: undefined,
    port: undefined,
    username: undefined,
    pathPrefix: "/",
  };
  const plain = { ...none, ca: undefined, cert: undefined, key: undefined, protocol: "http" as const };
  if (address.kind === "socket") return { ...plain, socketPath: address.path };
  if (address.kind === "ssh") {
    const through = { ...plain, host: "docker", agent: sshAgent(address) };
    // Its types do not know that it takes an agent.
    return through;
  }
  const { host, port, tls } = address;
  return { ...plain, protocol: tls === undefined ? "http" : "https", host, port, ...tls };
}
