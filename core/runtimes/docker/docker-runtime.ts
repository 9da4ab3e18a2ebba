// The Docker runtime: images of bundles, replicas as containers, and what an earlier frontend left on the engine.
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { EngineRefusedError, InvalidOptionsError, ReplicaStartError } from "../../errors.ts";
import { createLog } from "../../log.ts";
import type { BundleFolder, ReplicaAddress } from "../../types.ts";
import { Engine, type ContainerState, type EngineInfo } from "../engine.ts";
import { RuntimeLife } from "../life.ts";
import { LogFile } from "../log-file.ts";
import { ReplicaLog } from "../replica-log.ts";
import type {
  BuiltImage,
  PrepareOptions,
  ReplicaSpec,
  RunningReplica,
  Runtime,
  RuntimeAbilities,
  RuntimeContext,
} from "../runtime.ts";
import { ContainerReplica } from "./container.ts";
import { containerUser, Folders, replicaFolder, type ContainerUser, type ReplicaFolder } from "./folders.ts";
import { Images } from "./images.ts";
import type { ContainerOptions, DockerOptions } from "./index.ts";
import { KeptImages, type ImageUse } from "./kept-images.ts";
import { Lockfiles } from "./lockfiles.ts";
import { LABEL, ownerLabels, replicaLabels, replicaOf } from "./labels.ts";
import { DEFAULT_PORT, memoryLimitMb, portOf, replicaRequest, type Transport } from "./request.ts";
import { sharesSockets } from "./sharing.ts";
import { watchContainers, watchImages } from "./watch.ts";

const KILL_GRACE_MS = 5_000;
/** An engine that does not answer must not keep a frontend from ending. */
const LOST_ENGINE_MS = 10_000;

interface Opened {
  readonly engine: Engine;
  readonly info: EngineInfo;
  readonly context: RuntimeContext;
  readonly user: ContainerUser;
  readonly folders: Folders;
  readonly images: Images;
  readonly kept: KeptImages;
  readonly building: AbortController;
  readonly watch: AbortController;
  readonly watching: Promise<unknown>;
}

export class DockerRuntime implements Runtime {
  readonly name = "docker";
  readonly #options: DockerOptions;
  /** By container id. */
  readonly #running = new Map<string, ContainerReplica>();
  readonly #life = new RuntimeLife<Opened>("docker");
  #isSharing: Promise<boolean> | undefined;
  /** The engine turned out to share no sockets. */
  #isOnPorts = false;

  constructor(options: DockerOptions) {
    this.#options = options;
  }

  get abilities(): RuntimeAbilities {
    const { gpus, network, models = {}, transport } = this.#options;
    const all: readonly ContainerOptions[] = [{ gpus, network }, ...Object.values(models)];
    const isCutOff = transport !== "port" && !this.#isOnPorts && all.every((one) => !one.network);
    return {
      isolation: "container",
      hasGpu: all.some((one) => one.gpus !== undefined),
      survivesFrontend: true,
      runs: ["node", "python", "image", "dockerfile"],
      enforces: ["memory", "cpu", "pids", ...(isCutOff ? (["network"] as const) : [])],
    };
  }

  open(context: RuntimeContext): Promise<void> {
    return this.#life.open(async () => {
      const { opened, live } = await this.#begin(context);
      for (const state of live) this.#adopt(state, opened);
      return opened;
    });
  }

  async #begin(context: RuntimeContext): Promise<{ opened: Opened; live: readonly ContainerState[] }> {
    const engine = await Engine.connect(this.#options.host);
    const info = await engine.info();
    const left = await engine.containers(ownerLabels(context.owner));
    const live = left.filter((state) => state.isRunning && replicaOf(state) !== undefined);
    await Promise.all(left.filter((state) => !live.includes(state)).map(({ id }) => engine.remove(id)));
    const inUse = new Set(live.flatMap(({ labels }) => labels[LABEL.folder] ?? []));
    const user = containerUser(info.isRootless);
    const folders = await Folders.open(context, user, inUse);
    const watch = new AbortController();
    const watchingContainers = watchContainers(engine, ownerLabels(context.owner), {
      find: (container) => this.#running.get(container),
      all: () => this.#running.values(),
      signal: watch.signal,
    });
    const lockfiles = new Lockfiles(join(context.keepDir ?? context.cacheDir, "lockfiles"));
    const images = new Images(engine, this.#options, lockfiles);
    const building = new AbortController();
    const kept = new KeptImages(engine, {
      rebuild: (use) => this.#rebuild(use),
      log: context.log ?? createLog("silent"),
      closing: building.signal,
    });
    const watching = Promise.all([watchingContainers, watchImages(engine, kept, watch.signal)]);
    return {
      opened: { engine, info, context, user, folders, images, kept, building, watch, watching },
      live,
    };
  }

  prepare(bundle: BundleFolder, options: PrepareOptions): Promise<string> {
    return this.#life.track(async (opened) => {
      const signal = AbortSignal.any([options.signal, opened.building.signal]);
      const { image } = await opened.images.prepare(bundle, { ...options, signal });
      const { model, version } = options;
      if (model !== undefined && version !== undefined) opened.kept.keep(image, { model, version, bundle });
      const { transport = "auto" } = this.#options;
      const port = portOf(bundle);
      if (port !== undefined)
        options.report(`replicas are reached on port ${port}, and are on the engine's network`);
      else if (transport === "auto" && !(await this.#sharesFolders({ bundle, image }, opened)))
        options.report(
          "this engine shares no sockets with this machine: replicas listen on ports, and are on the engine's network",
        );
      return image;
    });
  }

  build(bundle: BundleFolder, options: PrepareOptions): Promise<BuiltImage> {
    return this.#life.track(({ images, building }) => {
      const signal = AbortSignal.any([options.signal, building.signal]);
      return images.prepare(bundle, { ...options, signal });
    });
  }

  start(spec: ReplicaSpec): Promise<RunningReplica> {
    return this.#life.track(async (opened) => {
      try {
        return await this.#start(spec, opened);
      } catch (error) {
        if (!isMissingImage(error)) throw startError(error, spec);
        // Somebody removed it from the engine, and it is not there again yet.
        const startedAt = performance.now();
        const { image } = await this.#rebuild(spec);
        const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
        const note = `windjammer: image ${spec.image} was not on the engine any more; built anew in ${seconds} s`;
        return this.#start({ ...spec, image }, opened, note);
      }
    });
  }

  list(): Promise<readonly RunningReplica[]> {
    return Promise.resolve([...this.#running.values()]);
  }

  async forget(bundle: string): Promise<void> {
    const { kept, images } = this.#life.opened;
    kept.release(bundle);
    await images.forget(bundle);
  }

  close(): Promise<void> {
    return this.#life.close({
      // Builds end at once; the watch goes on until the last replica has gone.
      abort: ({ building }, why) => building.abort(why),
      end: (opened) => this.#end(opened),
    });
  }

  /** An image that was there once. */
  #rebuild({ bundle, model, version }: ImageUse): Promise<BuiltImage> {
    return this.#life.track(({ images, building: { signal } }) =>
      images.prepare(bundle, { report: () => {}, signal, model, version }),
    );
  }

  /** @param note first line of the replica's log */
  async #start(spec: ReplicaSpec, opened: Opened, note?: string): Promise<RunningReplica> {
    const { engine, info, context, folders, user } = opened;
    const options = this.#optionsOf(spec.model);
    const transport = await this.#transportOf(spec, opened);
    const folder = await this.#claim(spec, transport, opened);
    let container: string | undefined;
    try {
      const request = replicaRequest(spec, {
        options,
        transport,
        user,
        publishOn: this.#publishOn(),
        folder,
        labels: replicaLabels(context.owner, spec),
        engineCpus: info.cpus,
        port: portOf(spec.bundle) ?? DEFAULT_PORT,
      });
      container = await engine.create(`windjammer-${spec.id}-${randomBytes(3).toString("hex")}`, request);
      await engine.start(container);
      // Without a port it has ended before it could be asked; nothing listens on port 0.
      const port = transport === "port" ? (publishedPort(await engine.inspect(container)) ?? 0) : undefined;
      return this.#watch(opened, {
        spec: { ...spec, memoryMb: memoryLimitMb(spec, options) },
        container,
        folder,
        port,
        startedAt: new Date().toISOString(),
        note,
      });
    } catch (error) {
      if (container !== undefined) await engine.remove(container).catch(() => {});
      if (folder !== undefined) await folders.release(folder);
      throw error;
    }
  }

  /** A folder for the replica's socket and secrets; undefined when it has neither. */
  async #claim(spec: ReplicaSpec, transport: Transport, opened: Opened): Promise<ReplicaFolder | undefined> {
    const { secrets = {} } = this.#optionsOf(spec.model);
    const hasSecrets = Object.keys(secrets).length > 0;
    if (transport === "port" && !hasSecrets) return undefined;
    if (transport === "port" && !(await this.#sharesFolders(spec, opened))) {
      throw new InvalidOptionsError(
        `secrets of model ${spec.model} are files shared with the engine, and engine ${opened.engine.address.shown} shares none with this machine`,
        { details: { option: "secrets" } },
      );
    }
    return opened.folders.claim(secrets);
  }

  #adopt(state: ContainerState, opened: Opened): void {
    const spec = replicaOf(state);
    if (spec === undefined) return;
    const path = state.labels[LABEL.folder];
    const folder = path === undefined ? undefined : replicaFolder(path);
    const { id: container, startedAt } = state;
    this.#watch(opened, { spec, container, folder, port: publishedPort(state), startedAt });
  }

  #watch(
    { engine, folders, watch }: Opened,
    { spec, container, folder, port, startedAt, note }: Started,
  ): ContainerReplica {
    const log = new ReplicaLog(new LogFile(folders.logPath(spec.id)));
    if (note !== undefined) void log.append("stderr", [note]);
    const replica = new ContainerReplica({
      engine,
      container,
      id: spec.id,
      model: spec.model,
      version: spec.version,
      memoryMb: spec.memoryMb,
      address: this.#addressOf(folder, port),
      startedAt,
      log,
      closed: watch.signal,
      release: async () => {
        this.#running.delete(container);
        await this.#life.keepLog(log);
        if (folder !== undefined) await folders.release(folder).catch(() => {});
      },
    });
    this.#running.set(container, replica);
    return replica;
  }

  /** One on a port has a folder too when it has secrets. */
  #addressOf(folder: ReplicaFolder | undefined, port: number | undefined): ReplicaAddress {
    return folder === undefined || port !== undefined
      ? { host: this.#publishOn(), port: port ?? 0 }
      : { socketPath: folder.socketPath };
  }

  #publishOn(): string {
    return this.#options.publishOn ?? "127.0.0.1";
  }

  #optionsOf(model: string): ContainerOptions {
    return { ...this.#options, ...this.#options.models?.[model] };
  }

  /**
   * A model with a network can be reached through it: only one without needs a socket. Whether sockets can be shared is
   * tried with an image that has Node: others need not have what the trial runs. For them the engine's address has to do.
   */
  async #transportOf(spec: ReplicaSpec, opened: Opened): Promise<Transport> {
    const { transport = "auto" } = this.#options;
    if (portOf(spec.bundle) !== undefined) return "port";
    if (transport !== "auto") return transport;
    if (this.#optionsOf(spec.model).network) return "port";
    return (await this.#sharesFolders(spec, opened)) ? "socket" : "port";
  }

  async #sharesFolders(
    { bundle, image }: Pick<ReplicaSpec, "bundle" | "image">,
    opened: Opened,
  ): Promise<boolean> {
    const { engine, info } = opened;
    if (bundle.manifest.container === undefined) return this.#trySharing(opened, image);
    return (await this.#isSharing) ?? (engine.address.kind === "socket" && !info.isDesktop);
  }

  #trySharing({ engine, info, context, folders, user }: Opened, image: string): Promise<boolean> {
    this.#isSharing ??= sharesSockets(
      { engine, folders, user, labels: ownerLabels(context.owner) },
      { engineId: info.id, cacheDir: context.cacheDir, image },
    ).then(
      (isSharing) => {
        this.#isOnPorts = !isSharing;
        return isSharing;
      },
      (error: unknown) => {
        this.#isSharing = undefined;
        throw error;
      },
    );
    return this.#isSharing;
  }

  async #end({ folders, watch, watching }: Opened): Promise<void> {
    const { killGraceMs = KILL_GRACE_MS } = this.#options;
    const stopped = Promise.all(Array.from(this.#running.values(), (replica) => replica.stop(killGraceMs)));
    const patience = new AbortController();
    await Promise.race([
      stopped,
      delay(killGraceMs + LOST_ENGINE_MS, undefined, { signal: patience.signal }).catch(() => {}),
    ]);
    patience.abort();
    // Also ends what still asks an engine that has gone.
    watch.abort();
    await watching;
    await folders.remove();
  }
}

interface Started {
  readonly spec: Pick<ReplicaSpec, "id" | "model" | "version"> & { readonly memoryMb: number | undefined };
  readonly container: string;
  readonly folder: ReplicaFolder | undefined;
  /** Published one; undefined for a replica on a socket. */
  readonly port: number | undefined;
  readonly startedAt: string;
  readonly note?: string | undefined;
}

/** A replica publishes one at most. */
function publishedPort(state: ContainerState | undefined): number | undefined {
  return Object.values(state?.ports ?? {})[0];
}

function isMissingImage(error: unknown): boolean {
  return error instanceof EngineRefusedError && /no such image/i.test(error.message);
}

function startError(error: unknown, { id, model, version }: ReplicaSpec): unknown {
  if (!(error instanceof EngineRefusedError)) return error;
  return new ReplicaStartError(
    `replica ${id} of model ${model} version ${version} could not be started: ${error.message}`,
    { cause: error, details: { logTail: [] } },
  );
}
