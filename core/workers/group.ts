// The workers of a server: starts them, replaces those that end, tells them what changes, and adds up what they count.
import type { Socket } from "node:net";
import { answeringCount, type ServerConfig } from "../config.ts";
import { WindjammerError } from "../errors.ts";
import type { WorkerStatus } from "../frontend/schemas.ts";
import type { Log } from "../log.ts";
import type { ProcessUsage } from "../metric-text.ts";
import type { Metrics } from "../metrics.ts";
import type { PolicyState } from "../query/batching/policy.ts";
import type { ServedVersion } from "../query/served-version.ts";
import type { Serving, ServingFollowers } from "../query/serving.ts";
import type { QueueState } from "../query/version-queue.ts";
import type { Registry } from "../registry/registry.ts";
import type { Change } from "../registry/store.ts";
import type { RunningReplica } from "../runtimes/runtime.ts";
import type { ReplicaExit, Version } from "../types.ts";
import { versionKey } from "../version-key.ts";
import { pause } from "../wait.ts";
import { Dealer } from "./dealer.ts";
import { type Beginning, type FromWorker, type ToWorker } from "./messages.ts";
import { WorkerProcess, type WorkerListener } from "./worker-process.ts";

export interface WorkerGroupParts {
  readonly config: ServerConfig;
  readonly registry: Registry;
  readonly serving: Serving;
  readonly metrics: Metrics;
  /** Says why a version that should run does not. */
  readonly openingOf: (version: Version) => { readonly lastError: string | undefined };
  readonly log: Log;
}

/** A worker does what it is told within this time, or it hangs and is replaced. */
const ANSWER_MS = 5_000;
/** Pause before a worker is replaced: doubles with every one in a row that did not live long. */
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 10_000;
const SETTLED_AFTER_MS = 10_000;
/** So many ends in a row, before all workers were ready once, say that they never will be. */
const MAX_FIRST_FAILURES = 5;
/** How often workers are looked after, and why versions do not run is looked up for the errors that workers give. */
const LOOK_EVERY_MS = 500;
/** A worker reports as often as it is looked after; one that is silent for so many looks hangs, and is replaced. */
const MAX_SILENT_LOOKS = 20;
/** One that starts says nothing for long on a busy machine. */
const MAX_STARTING_LOOKS = 120;
/** Last lines of a container that its end is told with. */
const TAIL_LINES = 5;

/** What a worker said last. */
interface Report {
  /** By version. */
  readonly queues: ReadonlyMap<string, QueueState>;
  readonly usage: ProcessUsage;
}

export class WorkerGroup implements ServingFollowers, WorkerListener {
  readonly #parts: WorkerGroupParts;
  readonly #workers = new Set<WorkerProcess>();
  readonly #reports = new Map<WorkerProcess, Report>();
  /** Versions that are being closed: a worker that begins meanwhile does not open them, since nobody would tell it to close them. */
  readonly #leaving = new WeakSet<ServedVersion>();
  /** What the busiest worker had learned of a version, by its key: it outlives the worker. */
  readonly #learned = new Map<string, PolicyState>();
  readonly #dealer: Dealer;
  readonly #closing = new AbortController();
  readonly #ready: PromiseWithResolvers<void> = Promise.withResolvers();
  readonly #stopListening: () => void;
  #serverUrl = "";
  #startedCount = 0;
  #failures = 0;
  #troubles = new Map<string, string>();
  #looking: NodeJS.Timeout | undefined;

  constructor(parts: WorkerGroupParts) {
    this.#parts = parts;
    this.#dealer = new Dealer(() => [...this.#workers], parts.log);
    parts.serving.follow(this);
    parts.metrics.setSource(
      () => this.hearOut(),
      () => Array.from(this.#reports.values(), ({ usage }) => usage),
    );
    this.#stopListening = parts.registry.onChange((changes) => this.#changed(changes));
  }

  statuses(): readonly WorkerStatus[] {
    return Array.from(this.#workers, ({ pid, isReady, startedAt }) => ({
      pid,
      state: isReady ? "ready" : "starting",
      startedAt,
    }));
  }

  /**
   * Listens on the port of the query API; resolves with its base URL when every worker takes connections.
   * @param serverUrl of the server's own query listener, which answers what is no prediction
   * @throws PortInUseError, InvalidOptionsError
   */
  async listen(serverUrl: string): Promise<string> {
    const { host, port, workers } = this.#parts.config;
    this.#serverUrl = serverUrl;
    const url = await this.#dealer.listen(host, port);
    for (let count = 0; count < workers; count++) this.#start();
    this.#looking = setInterval(() => this.#lookAround(), LOOK_EVERY_MS).unref();
    await this.#ready.promise;
    return url;
  }

  /** Takes no more connections; what the workers have gets `graceMs`, then they are ended. Idempotent. */
  async close(graceMs: number): Promise<void> {
    this.#closing.abort();
    this.#stopListening();
    clearInterval(this.#looking);
    this.#dealer.close();
    this.#ready.resolve();
    const workers = [...this.#workers];
    for (const worker of workers) {
      if (worker.isReady) worker.tell({ kind: "stop", graceMs });
      else worker.kill();
    }
    const cut = setTimeout(() => {
      for (const worker of workers) worker.kill();
    }, graceMs + ANSWER_MS);
    await Promise.all(workers.map((worker) => worker.ended));
    clearTimeout(cut);
  }

  // What the serving part of the server says

  opened(served: ServedVersion): void {
    this.#tellAll({ kind: "open", version: served.version, shared: served.shared() });
  }

  changed(served: ServedVersion): void {
    const { model, version } = served.version;
    this.#tellAll({ kind: "replicas", model, version, shared: served.shared() });
  }

  replicaEnded(running: RunningReplica, exit: ReplicaExit): void {
    const tail = running.tail(TAIL_LINES);
    this.#tellAll({ kind: "ended", replica: running.id, exit, tail });
  }

  get count(): number {
    return this.#parts.config.workers;
  }

  /** Brings in what the workers have counted up to now. */
  hearOut(): Promise<void> {
    return this.#callAll({ kind: "count" }, ANSWER_MS);
  }

  async closing(served: ServedVersion, graceMs: number): Promise<void> {
    const { model, version } = served.version;
    this.#leaving.add(served);
    await this.#callAll({ kind: "close", model, version, graceMs }, graceMs + ANSWER_MS);
    this.#learned.delete(versionKey(served.version));
  }

  // What workers say

  hello(worker: WorkerProcess): void {
    worker.tell({ kind: "begin", ...this.#beginning() });
    if (this.#troubles.size > 0) worker.tell({ kind: "troubles", lastErrors: this.#troubles });
  }

  ready(worker: WorkerProcess): void {
    this.#parts.log.info({ worker: worker.pid }, "worker ready");
    this.#dealer.dealWaiting();
    if (this.statuses().every(({ state }) => state === "ready")) this.#ready.resolve();
  }

  heard(worker: WorkerProcess, message: Extract<FromWorker, { kind: "counts" | "doubt" }>): void {
    if (message.kind === "counts") this.#count(worker, message);
    else void this.#look(worker, message);
  }

  ended(worker: WorkerProcess, why: string, untaken: readonly Socket[]): void {
    const { log, metrics } = this.#parts;
    this.#workers.delete(worker);
    const queues = [...(this.#reports.get(worker)?.queues.keys() ?? [])];
    this.#reports.delete(worker);
    this.#noteQueues(queues);
    for (const socket of untaken) this.#dealer.deal(socket);
    if (this.#closing.signal.aborted) return;
    metrics.workerEnded();
    const livedMs = Date.now() - Date.parse(worker.startedAt);
    this.#failures = livedMs > SETTLED_AFTER_MS ? 0 : this.#failures + 1;
    if (this.#failures >= MAX_FIRST_FAILURES)
      this.#ready.reject(new WindjammerError(`the workers cannot be started: the last one ${why}`));
    log.error({ worker: worker.pid, reason: why }, "a worker ended; another one takes its place");
    void this.#startLater();
  }

  async #startLater(): Promise<void> {
    const { signal } = this.#closing;
    await pause(Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.max(0, this.#failures - 1)), signal);
    if (!signal.aborted) this.#start();
  }

  #start(): void {
    this.#workers.add(new WorkerProcess(this));
  }

  #beginning(): Beginning {
    const { config, registry, serving } = this.#parts;
    const { maxBodyBytes, maxInputs, requestTimeoutMs, vertex, logLevel, workers } = config;
    const maxQueueLength = Math.ceil(config.maxQueueLength / workers);
    const staying = serving.all().filter((served) => !this.#leaving.has(served));
    return {
      config: { maxBodyBytes, maxInputs, requestTimeoutMs, maxQueueLength, vertex, logLevel },
      count: workers,
      cacheParts: answeringCount(config),
      turn: this.#startedCount++,
      serverUrl: this.#serverUrl,
      registry: registry.snapshot(),
      versions: staying.map((served) => ({
        version: served.version,
        shared: served.shared(),
        learned: this.#learned.get(versionKey(served.version)),
      })),
    };
  }

  /** The write that it is part of ends when every worker has seen it: whoever waits for it finds all of them changed. */
  #changed(changes: readonly Change[]): Promise<void> {
    return this.#callAll({ kind: "registry", changes }, ANSWER_MS);
  }

  #tellAll(message: ToWorker): void {
    for (const worker of this.#workers) worker.tell(message);
  }

  async #callAll(message: Parameters<WorkerProcess["call"]>[0], timeoutMs: number): Promise<void> {
    await Promise.all(Array.from(this.#workers, (worker) => worker.call(message, timeoutMs)));
  }

  #count(worker: WorkerProcess, { taken, usage, versions }: Extract<FromWorker, { kind: "counts" }>): void {
    this.#parts.metrics.add(taken);
    const queues = new Map(versions.map((report) => [versionKey(report), report.state]));
    this.#reports.set(worker, { queues, usage });
    this.#noteQueues(versions.map(versionKey));
    for (const { model, version, answered, errors } of versions) {
      const served = this.#parts.serving.find(model, version);
      served?.noteAnswered(answered);
      served?.addErrors(errors);
    }
  }

  /** Adds up the queues of versions; what was learned is that of the worker with most queries. */
  #noteQueues(keys: readonly string[]): void {
    for (const key of keys) {
      const [model = "", version = ""] = key.split("/");
      const states = [...this.#reports.values()].flatMap(({ queues }) => queues.get(key) ?? []);
      const [busiest] = states.toSorted(
        (one, other) => (other.policy.arrivalRate ?? 0) - (one.policy.arrivalRate ?? 0),
      );
      const queueLength = states.reduce((sum, state) => sum + state.queueLength, 0);
      const inFlight = states.reduce((sum, state) => sum + state.inFlight, 0);
      const ejected = new Map(states.flatMap((state) => Array.from(state.ejected)));
      if (busiest?.policy.curve !== undefined) this.#learned.set(key, busiest.policy);
      const all =
        busiest === undefined ? undefined : { queueLength, inFlight, policy: busiest.policy, ejected };
      this.#parts.serving.find(model, version)?.noteElsewhere(all);
    }
  }

  /** A worker's call to a replica failed: the replica is looked at, once for all workers, and replaced where it must be. */
  async #look(worker: WorkerProcess, doubt: Extract<FromWorker, { kind: "doubt" }>): Promise<void> {
    const { model, version, replica, why, hasAnswered } = doubt;
    const served = this.#parts.serving.find(model, version);
    if (hasAnswered) served?.noteAnswered([replica]);
    await served?.doubt(replica, why);
    worker.tell({ kind: "looked", model, version, replica });
  }

  #lookAround(): void {
    for (const worker of this.#workers) {
      const most = worker.isReady ? MAX_SILENT_LOOKS : MAX_STARTING_LOOKS;
      if (worker.tick() > most) worker.kill();
    }
    const lastErrors = new Map<string, string>();
    for (const version of this.#parts.registry.versions()) {
      const { lastError } = this.#parts.openingOf(version);
      if (lastError !== undefined) lastErrors.set(versionKey(version), lastError);
    }
    if (isEqual(lastErrors, this.#troubles)) return;
    this.#troubles = lastErrors;
    this.#tellAll({ kind: "troubles", lastErrors });
  }
}

function isEqual(one: ReadonlyMap<string, string>, other: ReadonlyMap<string, string>): boolean {
  return one.size === other.size && [...one].every(([key, text]) => other.get(key) === text);
}
