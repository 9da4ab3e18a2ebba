// Contract of a runtime: the driver that prepares bundles, runs model containers and finds them again.
import type { ContainerSource } from "../../containers/protocol.ts";
import type { Log } from "../log.ts";
import type { BundleFolder, LogLine, ReplicaAddress, ReplicaExit, ReplicaLimits } from "../types.ts";

/** What a model container is: our Node server, or one of the manifest's own kinds. */
export type RuntimeKind = "node" | ContainerSource["kind"];

/** What a runtime can do; the conformance suite skips the rest by name. */
export interface RuntimeAbilities {
  readonly isolation: "process" | "container";
  readonly hasGpu: boolean;
  /** Replicas outlive the frontend, and `list` finds them again. */
  readonly survivesFrontend: boolean;
  /** Model containers it starts. "url" and "clipper-rpc" run elsewhere: they serve under every runtime. */
  readonly runs: readonly RuntimeKind[];
  readonly enforces: readonly ("memory" | "cpu" | "pids" | "network")[];
}

/** Said while preparing; becomes an event of the deployment. */
export type Report = (
  message: string,
  details?: { readonly [key: string]: string | number | boolean },
) => void;

export interface PrepareOptions {
  /** Whom the bundle is for; a runtime may show it in the names of what it makes. */
  readonly model?: string;
  readonly version?: string;
  readonly report: Report;
  readonly signal: AbortSignal;
}

export interface ReplicaSpec {
  /** Unique on this frontend, never used again: "digits-1-r3". */
  readonly id: string;
  readonly model: string;
  readonly version: string;
  /** What `prepare` returned. */
  readonly image: string;
  readonly bundle: BundleFolder;
  readonly limits: ReplicaLimits;
}

export interface LogOptions {
  /** Last lines to begin with; default 100, with `since` all that are kept. */
  readonly tail?: number;
  /** Only lines written from then on: ISO 8601. Default: any. */
  readonly since?: string;
  /** Go on with new lines until the signal aborts or the replica has gone. */
  readonly follow?: boolean;
  readonly signal?: AbortSignal;
}

export interface ReplicaStats {
  readonly memoryBytes: number;
  /** Cumulative. */
  readonly cpuMs: number;
}

/** One container that was started. It may not listen yet: the pool probes it. */
export interface RunningReplica {
  readonly id: string;
  readonly model: string;
  readonly version: string;
  readonly address: ReplicaAddress;
  /** For people: pid or container id. */
  readonly handle: string;
  readonly startedAt: string;
  /** Settles once, when nothing of it runs any more; never rejects. */
  readonly exited: Promise<ReplicaExit>;
  /** Last lines of both streams, oldest first, without waiting. Also after the exit. */
  tail(lines: number): readonly LogLine[];
  logs(options: LogOptions): AsyncIterable<LogLine>;
  stats(): Promise<ReplicaStats>;
  /** Asks it to drain (SIGTERM), kills after `graceMs`. Idempotent; resolves when it has gone. */
  stop(graceMs: number): Promise<void>;
}

/** The image of a bundle. */
export interface BuiltImage {
  /** Its name on the engine: "windjammer/digits:1-0123456789ab". A deployment of the same bundle finds it there. */
  readonly image: string;
  /** Its name in the registry that it was pushed to, and its digest there; undefined: it was pushed nowhere. */
  readonly pushed?: { readonly image: string; readonly digest: string };
}

/** What the server gives its runtime. */
export interface RuntimeContext {
  /**
   * Private folder (0700) for sockets and records of running replicas, kept short for socket paths. `open` removes from
   * it what no replica uses that still runs.
   */
  readonly runDir: string;
  /** Folder of installed packages, shared by servers. */
  readonly cacheDir: string;
  /** Private folder for what is kept as long as the server's state, such as lockfiles. Default: `cacheDir`. */
  readonly keepDir?: string;
  /** Names this server's replicas among those of others: stays the same over restarts of one state folder. */
  readonly owner: string;
  /** For what happens without anybody's asking, such as an image that somebody removed. Default: silent. */
  readonly log?: Log;
}

export interface Runtime {
  readonly name: string;
  readonly abilities: RuntimeAbilities;
  /**
   * Readies itself: takes over what an earlier frontend left and still runs, where replicas can outlive one, and removes
   * the rest. @throws when it cannot work here
   */
  open(context: RuntimeContext): Promise<void>;
  /** Readies a bundle to run and returns the name to start it by. Idempotent. */
  prepare(bundle: BundleFolder, options: PrepareOptions): Promise<string>;
  /** Makes the image of a bundle and starts nothing; only of runtimes that have images. Idempotent. */
  build?(bundle: BundleFolder, options: PrepareOptions): Promise<BuiltImage>;
  /** Starts one container and returns at once; it exits or becomes ready on its own. */
  start(spec: ReplicaSpec): Promise<RunningReplica>;
  /** Replicas of this frontend that run now, also those an earlier frontend of the same state folder started. */
  list(): Promise<readonly RunningReplica[]>;
  /** Removes what `prepare` made of a bundle (sha256, hex) that no version refers to any more. */
  forget?(bundle: string): Promise<void>;
  /** Stops every replica and leaves nothing behind. */
  close(): Promise<void>;
}
