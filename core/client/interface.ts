// What a user holds: the same typed interface to an embedded server and to one that runs elsewhere.
import type { JsonValue } from "../../containers/protocol.ts";
import type { Deployer } from "../deploy/deployer.ts";
import type { ReplicaStats, ServerInfo, VersionDetail } from "../frontend/schemas.ts";
import type {
  Application,
  ApplicationOptions,
  Deployment,
  DeploymentEvent,
  Link,
  LogLine,
  Model,
  ReplicaStatus,
  RolloutOptions,
  Version,
  VersionOptions,
} from "../types.ts";

export type { ReplicaStats, ServerInfo, VersionDetail };

/** Options every deploy call takes, beside those of its deployer. */
export interface DeployOptions extends ApplicationOptions, VersionOptions, RolloutOptions {
  /** Name of the model, and of the application unless `application` names another: a-z, 0-9, inner - and _, at most 100. */
  readonly name: string;
  /** Immutable: the same version with other content is refused. Letters, digits, - . _, at most 64. */
  readonly version: string;
  /** Called with each step as it happens. */
  readonly onEvent?: ((event: DeploymentEvent) => void) | undefined;
  /**
   * Aborting it cancels the deployment: the call rejects with the signal's reason when the former version serves as
   * before. Too late, when the new version has taken over: the call then resolves.
   */
  readonly signal?: AbortSignal | undefined;
}

/** How to reach a server that runs elsewhere. */
export interface ConnectOptions {
  /** Bearer token of the management API. */
  readonly token?: string | undefined;
  /**
   * Base URL of the query API, where a proxy or a tunnel gives it another than the server knows of. Default: what the
   * server says, with the host name of the management API.
   */
  readonly queryUrl?: string | undefined;
}

export interface PredictOptions {
  /** This version instead of the current one. */
  readonly version?: string | undefined;
  /** Shorter deadline than the application's objective, ms. */
  readonly timeoutMs?: number | undefined;
  /** Gives up; queued work is dropped. */
  readonly signal?: AbortSignal | undefined;
}

export interface ReplicaLogOptions {
  /** Last lines to begin with. Default 100; with `since` all that are kept. */
  readonly tail?: number | undefined;
  /** Only lines written from then on: a date, or ISO 8601. Default: any. */
  readonly since?: Date | string | undefined;
  /** Go on with new lines until the signal aborts or the replica has gone. Default false. */
  readonly follow?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A prediction with what is known about it. */
export interface Prediction<Output> {
  readonly output: Output;
  /** True when `output` is the application's default output. */
  readonly isDefault: boolean;
  /** Why, for people: "replica digits-1-r1 exited with code 1: …". */
  readonly explanation?: string;
}

/** A deployed application. */
export interface ApplicationHandle<Input = JsonValue, Output = JsonValue> {
  readonly name: string;
  /** Where to POST `{"input": …}` or `{"input_batch": […]}`. */
  readonly url: string;
  /** Predicts one input; the application's default output counts as an answer. @throws WindjammerError */
  predict(input: Input, options?: PredictOptions): Promise<Output>;
  /** Predicts a list, in order. @throws WindjammerError of the first input that failed */
  predictBatch(inputs: readonly Input[], options?: PredictOptions): Promise<Output[]>;
  /** Like predictBatch, and tells defaults from predictions, and one failed input from the others. */
  predictDetailed(
    inputs: readonly Input[],
    options?: PredictOptions,
  ): Promise<(Prediction<Output> | { readonly error: Error })[]>;
}

/**
 * What a deploy call gives: the application, and what became of the deployment. Where none is linked to the model
 * (`application: null`), `name` and `url` are empty, and predictions fail with ApplicationNotFoundError. After a
 * deployment with `switch: false` predictions ask its version, unless they name another.
 */
export interface DeployedApplication<Input = JsonValue, Output = JsonValue> extends ApplicationHandle<
  Input,
  Output
> {
  readonly deployment: Deployment;
}

/** A Windjammer, embedded or remote. */
export interface Windjammer extends AsyncDisposable {
  /** Base URL of the query API. */
  readonly url: string;
  /** Base URL of the management API. */
  readonly adminUrl: string;
  /**
   * Bundles a model with `deployer` and deploys it. Helpers such as `deployOnnxModel` are thin typed wrappers.
   * @throws InvalidOptionsError, VersionExistsError, GateFailedError, … (the former version goes on serving), and the
   * reason of an aborted `signal`
   */
  deploy<Options extends object, Input = JsonValue, Output = JsonValue>(
    deployer: Deployer<Options>,
    options: DeployOptions & Options,
  ): Promise<DeployedApplication<Input, Output>>;
  /** Handle of an application that is deployed already. @throws ApplicationNotFoundError */
  application<Input = JsonValue, Output = JsonValue>(name: string): Promise<ApplicationHandle<Input, Output>>;

  info(): Promise<ServerInfo>;
  /**
   * Tells a server that `windjammer start` runs to end; resolves when it has begun to, with its pid and its state folder.
   * @throws InvalidRequestError when the server is part of another program
   */
  stopServer(): Promise<{ readonly pid: number; readonly stateDir: string }>;
  applications(): Promise<readonly Application[]>;
  /** Creates an application, or replaces what it was; its link stays. */
  putApplication(application: Omit<Application, "defaultOutputText">): Promise<void>;
  /** Removes the application and its link; its model stays. */
  deleteApplication(name: string): Promise<void>;
  /** Links an application to another model. */
  link(application: string, model: string): Promise<void>;
  unlink(application: string, model: string): Promise<void>;
  /** Which application is linked to which model. */
  links(): Promise<readonly Link[]>;
  models(): Promise<readonly Model[]>;
  versions(model: string): Promise<readonly Version[]>;
  /**
   * One version and what runs of it: its replicas, queue, learned batch curve and last trouble.
   * @throws ModelNotFoundError, VersionNotFoundError
   */
  version(model: string, version: string): Promise<VersionDetail>;
  /** Rolls back or forward to a deployed version, through the same gate as a deployment. */
  setVersion(
    model: string,
    version: string,
    options?: { readonly onEvent?: (event: DeploymentEvent) => void },
  ): Promise<Deployment>;
  /** Resolves when as many replicas are ready. Default version: the current one. */
  scale(model: string, replicas: number, version?: string): Promise<void>;
  deleteVersion(model: string, version: string): Promise<void>;
  /** Removes a model with all its versions. @throws InUseError while an application is linked to it */
  deleteModel(model: string): Promise<void>;
  replicas(): Promise<readonly ReplicaStatus[]>;
  /** @throws ReplicaNotFoundError */
  logs(replica: string, options?: ReplicaLogOptions): AsyncIterable<LogLine>;
  /** Memory (bytes) of a replica now, and the CPU time (ms) it has taken. @throws ReplicaNotFoundError */
  stats(replica: string): Promise<ReplicaStats>;
  deployments(): Promise<readonly Deployment[]>;
  deployment(id: string): Promise<Deployment>;
  /**
   * Cancels a running deployment; resolves with its record when it has ended. One that has switched goes on.
   * @throws DeploymentNotFoundError
   */
  cancelDeployment(id: string): Promise<Deployment>;
  /** The events there are now; `events` waits for those to come. @throws DeploymentNotFoundError */
  pastEvents(deployment: string): Promise<readonly DeploymentEvent[]>;
  events(deployment: string, signal?: AbortSignal): AsyncIterable<DeploymentEvent>;
  /** Prometheus text. */
  metrics(): Promise<string>;
  /** Embedded: drains and stops everything. Remote: closes the client's connections only. Idempotent. */
  close(): Promise<void>;
}
