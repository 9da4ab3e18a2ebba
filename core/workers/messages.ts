// What the server's own process and its workers tell each other, over the channel that Node gives parent and child.
import type { ServerConfig } from "../config.ts";
import type { ProcessUsage } from "../metric-text.ts";
import type { MetricsTaken } from "../metrics.ts";
import type { PolicyState } from "../query/batching/policy.ts";
import type { RecentError } from "../query/recent-errors.ts";
import type { SharedReplicas } from "../query/served-version.ts";
import type { QueueState } from "../query/version-queue.ts";
import type { Change } from "../registry/store.ts";
import type { Suspicion } from "../replicas/pool.ts";
import type { LogLine, ReplicaExit, Version } from "../types.ts";

/** What a worker needs of the server's options; limits that are shared come as its part of them. */
type WorkerConfig = Pick<
  ServerConfig,
  "maxBodyBytes" | "maxInputs" | "requestTimeoutMs" | "maxQueueLength" | "vertex" | "logLevel"
>;

export interface VersionName {
  readonly model: string;
  readonly version: string;
}

/** A version that runs, and how its replicas are reached. */
export interface RunningVersion {
  readonly version: Version;
  readonly shared: SharedReplicas;
  /** What the busiest process has learned of it. */
  readonly learned?: PolicyState | undefined;
}

/** Everything a worker begins with. */
export interface Beginning {
  readonly config: WorkerConfig;
  /** Workers there are. */
  readonly count: number;
  /** Processes that share what an application allows its cache. */
  readonly cacheParts: number;
  /** Counts the workers that were started: its own number. */
  readonly turn: number;
  /** The server's own query listener, for every request that is no prediction. */
  readonly serverUrl: string;
  readonly registry: readonly Change[];
  readonly versions: readonly RunningVersion[];
}

/** Those with an `id` are answered by `done`, in order of their effect. */
export type ToWorker =
  | ({ readonly kind: "begin" } & Beginning)
  | { readonly kind: "registry"; readonly id: number; readonly changes: readonly Change[] }
  | ({ readonly kind: "open" } & RunningVersion)
  | ({ readonly kind: "replicas"; readonly shared: SharedReplicas } & VersionName)
  | {
      readonly kind: "ended";
      readonly replica: string;
      readonly exit: ReplicaExit;
      readonly tail: readonly LogLine[];
    }
  /** A replica that this worker doubted was looked at; it may be used again where it is still listed. */
  | ({ readonly kind: "looked"; readonly replica: string } & VersionName)
  | ({ readonly kind: "close"; readonly id: number; readonly graceMs: number } & VersionName)
  /** Why versions that should run could not be opened, by model and version. */
  | { readonly kind: "troubles"; readonly lastErrors: ReadonlyMap<string, string> }
  /** With a connection beside it. */
  | { readonly kind: "connection"; readonly id: number }
  | { readonly kind: "count"; readonly id: number }
  | { readonly kind: "stop"; readonly graceMs: number };

/** A worker's queue of one version. */
export interface VersionReport extends VersionName {
  readonly state: QueueState;
  /** Replicas that answered since the last report. */
  readonly answered: readonly string[];
  /** Errors of its queries since the last report. */
  readonly errors: readonly RecentError[];
}

export type FromWorker =
  /** It can be told things. */
  | { readonly kind: "hello" }
  /** It takes connections. */
  | { readonly kind: "ready" }
  | { readonly kind: "done"; readonly id: number }
  /** The connection is this worker's now. */
  | { readonly kind: "took"; readonly id: number }
  | {
      readonly kind: "counts";
      readonly taken: MetricsTaken;
      readonly usage: ProcessUsage;
      readonly versions: readonly VersionReport[];
    }
  | ({
      readonly kind: "doubt";
      readonly replica: string;
      readonly why: Suspicion;
      readonly hasAnswered: boolean;
    } & VersionName);
