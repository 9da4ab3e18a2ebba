// The process runtime: replicas as child processes of the frontend, each on a Unix socket of its own.
import { join } from "node:path";
import {
  DiskFullError,
  ReplicaStartError,
  StateDirError,
  toWindjammerError,
  type WindjammerError,
} from "../../errors.ts";
import type { BundleFolder } from "../../types.ts";
import type {
  PrepareOptions,
  ReplicaSpec,
  RunningReplica,
  Runtime,
  RuntimeAbilities,
  RuntimeContext,
} from "../runtime.ts";
import { RuntimeLife } from "../life.ts";
import { ChildReplica } from "./child.ts";
import { guardProgram } from "./guard.ts";
import { containerCommand, pythonEntry, type Command } from "./launch.ts";
import { LogFile } from "../log-file.ts";
import { PackageCache } from "./package-cache.ts";
import { watchMemory } from "./memory-watch.ts";
import { findLostPackage, preparePackages } from "./packages.ts";
import { processIdentity } from "./process-info.ts";
import { programCommand } from "./program.ts";
import { PythonCache } from "./python-cache.ts";
import { preparedPython, preparePython } from "./python-packages.ts";
import { ReplicaLog } from "../replica-log.ts";
import { RunDir, type ReplicaFolder } from "./run-dir.ts";

const DEFAULT_PYTHON = "python3";
/** A start that has to install packages first may take longer by this. */
const MEND_TIMEOUT_MS = 60_000;

export interface ProcessRuntimeSettings {
  readonly packagesFrom: readonly string[];
  readonly nodeArgs: readonly string[];
  readonly killGraceMs: number;
  /** Command or path of the interpreter of Python models. Default "python3". */
  readonly python?: string | undefined;
  /** The program that every replica runs, but those of Python models. */
  readonly entry: string;
}

interface Opened {
  readonly runDir: RunDir;
  readonly cache: PackageCache;
  readonly pythonCache: PythonCache;
  readonly closing: AbortController;
}

export class ProcessRuntime implements Runtime {
  readonly name = "process";
  readonly abilities: RuntimeAbilities = {
    isolation: "process",
    hasGpu: false,
    survivesFrontend: false,
    runs: ["node", "python", "command"],
    enforces: ["memory"],
  };
  readonly #settings: ProcessRuntimeSettings;
  readonly #running = new Set<ChildReplica>();
  readonly #life = new RuntimeLife<Opened>("process");
  /** Given to programs, by their folders. */
  readonly #ports = new Map<string, number>();

  constructor(settings: ProcessRuntimeSettings) {
    this.#settings = settings;
  }

  open(context: RuntimeContext): Promise<void> {
    return this.#life.open(async () => {
      try {
        const cache = new PackageCache(join(context.cacheDir, "packages"));
        await cache.open();
        const pythonCache = new PythonCache(join(context.cacheDir, "python"));
        await pythonCache.open();
        const runDir = await RunDir.open(context.runDir);
        return { runDir, cache, pythonCache, closing: new AbortController() };
      } catch (error) {
        throw folderError(error, context);
      }
    });
  }

  prepare(bundle: BundleFolder, options: PrepareOptions): Promise<string> {
    return this.#life.track(async ({ cache, pythonCache, closing }) => {
      const signal = AbortSignal.any([options.signal, closing.signal]);
      const { packagesFrom, python = DEFAULT_PYTHON } = this.#settings;
      const preparing = isPython(bundle)
        ? preparePython(bundle, { python, cache: pythonCache }, { ...options, signal })
        : preparePackages(bundle, { installedIn: packagesFrom, cache }, { ...options, signal });
      try {
        return `process:${await preparing}`;
      } catch (error) {
        if (signal.aborted) throw error;
        throw toWindjammerError(error);
      }
    });
  }

  async start(spec: ReplicaSpec): Promise<RunningReplica> {
    await this.#mendPackages(spec);
    return this.#life.track(({ runDir }) => this.#start(spec, runDir));
  }

  async #commandOf(spec: ReplicaSpec, folder: ReplicaFolder): Promise<Command> {
    const { entry, nodeArgs, python = DEFAULT_PYTHON } = this.#settings;
    const { container } = spec.bundle.manifest;
    if (container?.kind === "command")
      return programCommand(spec, folder, { ...container, ports: this.#ports });
    if (container?.kind !== "python")
      return containerCommand(spec, folder, { kind: "node", entry, nodeArgs });
    const prepared = (await preparedPython(spec.bundle)) ?? python;
    return containerCommand(spec, folder, { kind: "python", entry: pythonEntry(), python: prepared });
  }

  /**
   * Packages that are linked are the user's own: an `npm ci` or an update of his project takes them away from a model
   * that runs. To copy them instead would cost disk and minutes for each bundle, so they are looked after before each
   * start, which then uses what is there by now, or installs it.
   */
  async #mendPackages({ id, bundle }: ReplicaSpec): Promise<void> {
    const lost = await lostPackage(bundle);
    if (lost === undefined) return;
    try {
      await this.prepare(bundle, { report: () => {}, signal: AbortSignal.timeout(MEND_TIMEOUT_MS) });
    } catch (error) {
      const { message } = toWindjammerError(error);
      throw new ReplicaStartError(
        `replica ${id} cannot start: its package ${lost} is not where it was linked from any more, and could not be ` +
          `installed anew: ${message}; install it there again, or deploy the model again`,
        { cause: error, details: { package: lost, logTail: [] } },
      );
    }
  }

  list(): Promise<readonly RunningReplica[]> {
    return Promise.resolve([...this.#running]);
  }

  close(): Promise<void> {
    return this.#life.close({
      abort: ({ closing }, why) => closing.abort(why),
      end: async ({ runDir }) => {
        await Promise.all([...this.#running].map((replica) => replica.stop(this.#settings.killGraceMs)));
        await runDir.remove();
      },
    });
  }

  async #start(spec: ReplicaSpec, runDir: RunDir): Promise<ChildReplica> {
    const folder = await runDir.claim();
    const log = new ReplicaLog(new LogFile(runDir.logPath(spec.id)));
    let replica: ChildReplica | undefined;
    const release = async (): Promise<void> => {
      if (replica !== undefined) this.#running.delete(replica);
      this.#ports.delete(folder.name);
      await this.#life.keepLog(log);
      await runDir.release(folder).catch(() => {});
    };
    try {
      const command = await this.#commandOf(spec, folder);
      replica = await ChildReplica.start({ spec, folder, command, log, release });
    } catch (error) {
      await release();
      throw toWindjammerError(error);
    }
    this.#running.add(replica);
    if (spec.bundle.manifest.container?.kind === "command") {
      const { memoryMb } = spec.limits;
      guardProgram(replica);
      if (memoryMb !== undefined) void watchMemory(replica, log, memoryMb);
    }
    await this.#record(replica, folder, runDir);
    return replica;
  }

  /** Without a record, a replica whose frontend is killed still ends by itself: the record is the second net. */
  async #record(replica: ChildReplica, folder: ReplicaFolder, runDir: RunDir): Promise<void> {
    const identity = await processIdentity(replica.pid);
    if (identity === undefined) return;
    await runDir.record(folder, { replica: replica.id, pid: replica.pid, identity }).catch(() => {});
    if (!this.#running.has(replica)) await runDir.release(folder).catch(() => {});
  }
}

function isPython({ manifest }: BundleFolder): boolean {
  return manifest.container?.kind === "python";
}

/** What a bundle needs and is not where `prepare` found it any more. */
async function lostPackage(bundle: BundleFolder): Promise<string | undefined> {
  if (!isPython(bundle)) return findLostPackage(bundle);
  return (await preparedPython(bundle)) === undefined ? "python" : undefined;
}

function folderError(error: unknown, { runDir, cacheDir }: RuntimeContext): WindjammerError {
  const known = toWindjammerError(error);
  if (known instanceof DiskFullError) return known;
  const message = error instanceof Error ? error.message : String(error);
  return new StateDirError(
    `the process runtime cannot use its folders ${runDir} and ${cacheDir}: ${message}; ` +
      "make them writable, or choose others",
    { cause: error },
  );
}
