// Shapes that several folders of core share.
import type { InputType, JsonValue, Manifest } from "../containers/protocol.ts";

/** Where a replica listens. */
export type ReplicaAddress =
  | { readonly socketPath: string }
  | { readonly host: string; readonly port: number }
  /** A server elsewhere; its paths start at that of the URL. `headersFrom`: variables of the headers it wants. */
  | { readonly url: string; readonly headersFrom?: Readonly<Record<string, string>> }
  /** A program of which nobody knows where it will listen: the first of these that answers. */
  | { readonly anyOf: readonly ReplicaAddress[] };

/** How an application treats its queries. */
export interface Application {
  readonly name: string;
  readonly inputType: InputType;
  /** Latency objective in ms, from arrival to reply; undefined: none, queries wait as long as it takes. */
  readonly latencyObjectiveMs?: number;
  /** Given in place of a prediction that cannot be had in time. Undefined: such a query gets an error. */
  readonly defaultOutput?: JsonValue;
  /**
   * JSON text of the default output as its owner wrote it (`-1.0`), which the value alone does not tell. Counts only as
   * long as it says the same value.
   */
  readonly defaultOutputText?: string;
  /** Prediction cache; undefined: off. */
  readonly cache?: { readonly maxBytes: number; readonly ttlMs: number };
}

export type BatchingSettings =
  | { readonly policy: "slo"; readonly maxBatchSize: number }
  /** As in Clipper's paper: a row more while batches meet the objective, a tenth less when one does not. */
  | { readonly policy: "aimd"; readonly maxBatchSize: number }
  | { readonly policy: "fixed"; readonly maxBatchSize: number; readonly maxDelayMs: number }
  | { readonly policy: "none" };

/** Limits of one replica. */
export interface ReplicaLimits {
  /** MiB; undefined: none. */
  readonly memoryMb?: number;
  /** Compute threads; in a container also its limit of cores, with one more for the thread that reads and writes. Default 1. */
  readonly cpus: number;
}

/** A value the gate sends to a new version, and what should come back. */
export interface Example {
  readonly input: JsonValue;
  /** Compared within `tolerance` for numbers; undefined: any answer passes. */
  readonly output?: JsonValue;
}

/** How the replicas of a version are run. Changeable at run time, so not part of the bundle. */
export interface VersionSettings {
  readonly replicas: number;
  readonly limits: ReplicaLimits;
  readonly batching: BatchingSettings;
  /** A replica must be ready this many ms after its start. */
  readonly readyTimeoutMs: number;
  /** Batches that one replica holds at once, more with workers; undefined: 2 for a server elsewhere, else 1. */
  readonly maxInFlight?: number;
  /** A batch that takes longer marks its replica as hung; it is replaced. */
  readonly batchTimeoutMs: number;
  /** False: a batch that fails as a whole, or whose replica dies, is not tried again. */
  readonly isRetryable: boolean;
  readonly examples: readonly Example[];
  /** Largest allowed |got - expected| / max(1, |expected|) of a number. */
  readonly tolerance: number;
}

/** An immutable version of a model. */
export interface Version {
  readonly model: string;
  readonly version: string;
  /** sha256 of the bundle, hex. */
  readonly bundle: string;
  readonly manifest: Manifest;
  readonly settings: VersionSettings;
  /** Replicas that should run now: `settings.replicas` for the current version, 0 for a retired one, as asked for others. */
  readonly desiredReplicas: number;
  readonly createdAt: string;
}

export interface Model {
  readonly name: string;
  readonly currentVersion: string;
}

/** Application → model. Weighted and shadow links come later; today one link an application. */
export interface Link {
  readonly application: string;
  readonly model: string;
  readonly weight: number;
}

/** Steps of a deployment, in order. */
export type DeploymentStep =
  | "receive"
  | "check"
  | "store"
  | "prepare"
  | "start"
  | "ready"
  | "gate"
  | "scale"
  | "switch"
  | "drain"
  | "done";

export interface DeploymentEvent {
  /** Counts from 1 within the deployment. */
  readonly sequence: number;
  readonly at: string;
  readonly step: DeploymentStep;
  readonly level: "info" | "warning" | "error";
  readonly message: string;
  readonly details?: { readonly [key: string]: JsonValue };
}

export interface DeploymentError {
  readonly code: string;
  readonly message: string;
  readonly step: DeploymentStep;
  /** Last lines the container wrote, oldest first. */
  readonly logTail: readonly string[];
  /** Details of the error, for programs: a failed example with what was expected and got, the versions npm knows. */
  readonly details: { readonly [key: string]: JsonValue };
}

export interface Deployment {
  readonly id: string;
  /** That it makes or sets up; else the one that is linked to the model; "" for none. */
  readonly application: string;
  readonly model: string;
  readonly version: string;
  readonly bundle: string;
  /** Succeeded from the switch on, while the former version may still drain. */
  readonly state: "running" | "succeeded" | "failed";
  /**
   * Set on success. "deployed": the version serves; "ready": it has passed and stands beside the one that serves
   * (`switch: false`), with the replicas that were asked for, which may be none; "unchanged": the same content did so
   * already, with the same settings.
   */
  readonly result?: "deployed" | "ready" | "unchanged";
  readonly startedAt: string;
  readonly endedAt?: string;
  readonly error?: DeploymentError;
}

/** A stored bundle. */
export interface BundleFolder {
  /** sha256, hex. */
  readonly hash: string;
  /** Folder of this bundle alone. What a runtime derives (node_modules, a lockfile) goes here, beside `files`. */
  readonly root: string;
  /** `root`/files: exactly what was hashed, never changed. Packages resolve from here through `root`/node_modules. */
  readonly files: string;
  readonly manifest: Manifest;
}

export type ExitReason = "stopped" | "exited" | "killed" | "out-of-memory";

export interface ReplicaExit {
  readonly reason: ExitReason;
  readonly exitCode?: number;
  readonly signal?: string;
  /** "exited with code 1", "killed by SIGKILL", "out of memory (limit 256 MiB)". */
  readonly message: string;
}

export interface LogLine {
  readonly at: string;
  readonly stream: "stdout" | "stderr";
  readonly text: string;
}

/** A replica as the management API shows it. */
export interface ReplicaStatus {
  readonly id: string;
  readonly model: string;
  readonly version: string;
  readonly state: "starting" | "ready" | "stopping" | "restarting" | "failed";
  /** Process id or container id; empty while there is none. */
  readonly handle: string;
  readonly startedAt: string;
  /** Times it was replaced after an exit. */
  readonly restarts: number;
  readonly lastExit?: ReplicaExit;
  /** It is ready, and fails every batch: why it gets none but one query now and then, until it answers again. */
  readonly ejectedFor?: string;
}

/** How an application is set up by a deployment; what is left out keeps the application's value, or its default. */
export interface ApplicationOptions {
  /** Application to create or update, and to link to the model. Default: the model's name. null: none. */
  readonly application?: string | null | undefined;
  /** Latency objective in ms, from a query's arrival to its reply. Default: none; queries then wait as long as it takes. */
  readonly latencyObjectiveMs?: number | undefined;
  /** Output (any JSON value, also null) given when a prediction cannot be had in time. Default: none; the caller gets an error. */
  readonly defaultOutput?: JsonValue | undefined;
  /** Prediction cache of at most `maxBytes`, entries kept `ttlMs`. Default: off. */
  readonly cache?: { readonly maxBytes: number; readonly ttlMs: number } | undefined;
}

/** How the replicas of a version run. */
export interface VersionOptions {
  /** Replicas to run. Default: as many as the version before it had, at first 1. */
  readonly replicas?: number | undefined;
  /** Memory limit of a replica, MiB. Default: none. */
  readonly memoryMb?: number | undefined;
  /**
   * Compute threads of a replica. In a container that is its limit of CPU cores, too, with one more for the thread that
   * reads and writes; less than 1 is the limit as it stands. Default 1.
   */
  readonly cpus?: number | undefined;
  /** Default `{ policy: "slo", maxBatchSize: 256 }`. */
  readonly batching?: BatchingSettings | undefined;
  /**
   * Batches that a replica is given at once, 1 to 256: as many as its server computes side by side. For servers
   * elsewhere (`url`) and containers of your own (`image`, `dockerfile`, `command`); those of ours compute one after the
   * other. With `workers` a replica may be given more: each worker and the server's own process send up to
   * `maxInFlight / workers` batches, rounded up, so one at least (2 and 4 workers: 5 in all). Default 2 for servers
   * elsewhere, so that one batch is on its way while another is computed, else 1.
   */
  readonly maxInFlight?: number | undefined;
  /** A replica must be ready this many ms after its start. Default 60,000. */
  readonly readyTimeoutMs?: number | undefined;
  /**
   * A batch that takes longer marks its replica as hung, and it is replaced. One that holds several gets as long again
   * after each answer, at most `maxInFlight` times as long: it may compute them one after the other. Default 30,000.
   */
  readonly batchTimeoutMs?: number | undefined;
  /**
   * Whether a batch that fails as a whole, or whose replica dies, is tried again, and a replica that was left out for
   * failing is tried with a copy of a query that another one has answered. Default true: predictions are assumed to be
   * pure. False: no query is ever computed twice.
   */
  readonly isRetryable?: boolean | undefined;
  /** Inputs that a new version must answer before it serves, with expected outputs where given. Default: none. */
  readonly examples?: readonly Example[] | undefined;
  /** Largest allowed |got - expected| / max(1, |expected|) of a number in `examples`. Default 1e-4. */
  readonly tolerance?: number | undefined;
}

/** How one deployment goes; nothing of it stays with the version. */
export interface RolloutOptions {
  /** Packages must be installed, or an image built, this many ms after that began. Default 600,000. */
  readonly prepareTimeoutMs?: number | undefined;
  /**
   * False: the version passes the gate and runs, ready, while the one that serves goes on; queries that name it reach it,
   * and `setVersion` switches to it. Applications stay as they are. Not for a model's first version. Default true.
   */
  readonly switch?: boolean | undefined;
}

/** What to deploy: a stored bundle as a version of a model. */
export interface DeploymentRequest extends ApplicationOptions, VersionOptions, RolloutOptions {
  /** Name of the model. */
  readonly name: string;
  readonly version: string;
  /** sha256 of the stored bundle, hex. */
  readonly bundle: string;
}
