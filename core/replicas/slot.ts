// One place for a replica of a version: starts its occupant, watches it, starts the next one when it has gone.
import type { WindjammerError } from "../errors.ts";
import type { Log } from "../log.ts";
import type { VersionMetrics } from "../metric-handles.ts";
import type { ReplicaSpec, Runtime, RunningReplica } from "../runtimes/runtime.ts";
import type { BundleFolder, ReplicaExit, ReplicaStatus, Version } from "../types.ts";
import { pause, within } from "../wait.ts";
import { inFlightShare } from "./in-flight.ts";
import { inferSocketOf } from "./infer-socket.ts";
import { becomeReady } from "./readiness.ts";
import { type Replica, troubleOf, withLastWords } from "./replica.ts";
import { replicaAt, type ReplicaRoute } from "./route.ts";
import type { ReplicaSource } from "./source.ts";
import { transportTo } from "./transport.ts";

/** Pause before a replacement: doubles with every start in a row that led to nothing. */
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 30_000;
/** Starts in a row that led to nothing, after which nobody waits for this place any more; it is still tried now and then. */
const MAX_FAILURES = 8;
/** A replica that lived this long is no failed start, though it never answered a batch. */
const SETTLED_AFTER_MS = 10_000;

/** Other processes that send batches to the same replicas. */
export interface OtherSenders {
  readonly count: number;
  /** Resolves when they have told which replicas answered them. */
  hearOut(): Promise<void>;
}

/** What every replica of a version is made from. */
export interface ReplicaParts {
  readonly version: Version;
  readonly bundle: BundleFolder;
  /** What the runtime's `prepare` returned. */
  readonly image: string;
  readonly runtime: Runtime;
  readonly metrics: VersionMetrics;
  readonly log: Log;
  /** A name never used before: "digits-1-r3". */
  readonly nextId: () => string;
  /** Other processes that send batches to the same replicas. */
  readonly others?: OtherSenders;
  /** Called when a container of the version has ended. */
  readonly onEnd?: (running: RunningReplica, exit: ReplicaExit) => void;
}

/** What the pool hears of a slot. */
export interface SlotListener {
  ready(replica: Replica): void;
  /** The slot's state changed otherwise: its replica went, a start failed, the slot was given up or is empty now. */
  changed(): void;
  /** Something of this slot went wrong: "replica digits-1-r1 exited with code 1: …". */
  trouble(text: string): void;
  /** Its container has ended, however it came to that. */
  ended(running: RunningReplica, exit: ReplicaExit): void;
}

export class Slot {
  readonly #parts: ReplicaParts;
  readonly #source: ReplicaSource;
  readonly #listener: SlotListener;
  readonly #leaving = new AbortController();
  #state: ReplicaStatus["state"] = "starting";
  #id = "";
  #running: RunningReplica | undefined;
  #replica: Replica | undefined;
  #route: ReplicaRoute | undefined;
  #startedAt: string = new Date().toISOString();
  #restarts = 0;
  #failures = 0;
  #lastExit: ReplicaExit | undefined;
  /** Settles when nothing of the slot runs any more. */
  #gone: Promise<void> = Promise.resolve();
  /** Settles with the next start. */
  #next: PromiseWithResolvers<void> | undefined;

  constructor(parts: ReplicaParts, source: ReplicaSource, listener: SlotListener) {
    this.#parts = parts;
    this.#source = source;
    this.#listener = listener;
  }

  get state(): ReplicaStatus["state"] {
    return this.#state;
  }

  /** The container that runs here, or ran last. */
  get running(): RunningReplica | undefined {
    return this.#running;
  }

  /** The replica that is ready here; undefined: none is. */
  get replica(): Replica | undefined {
    return this.#state === "ready" ? this.#replica : undefined;
  }

  /** How the replica that is ready here is reached. */
  get route(): ReplicaRoute | undefined {
    return this.#state === "ready" ? this.#route : undefined;
  }

  /** True once the place is to be empty. */
  get isLeaving(): boolean {
    return this.#leaving.signal.aborted;
  }

  /** True while a replica is on its way. */
  get isComing(): boolean {
    return this.#state === "starting" || this.#state === "restarting";
  }

  /**
   * Starts the first occupant; resolves when it is ready, and keeps the place occupied from then on.
   * @param onFailure "give-up": nothing is left after a failed start; "retry": the slot tries on in the background
   * @param adopted a container that runs already and becomes the first occupant
   * @throws ReplicaStartError, ContractMismatchError
   */
  async open(signal: AbortSignal, onFailure: "give-up" | "retry", adopted?: RunningReplica): Promise<void> {
    if (adopted !== undefined) this.#source.adopt?.(adopted);
    const started = this.#start(AbortSignal.any([this.#leaving.signal, signal]), adopted);
    this.#gone = started.then(
      () => this.#supervise(),
      () => (onFailure === "retry" ? this.#supervise() : undefined),
    );
    await started;
  }

  /** Resolves when a replica is ready here; rejects when the next start fails, or the place is closed first. */
  whenReady(): Promise<void> {
    if (this.#state === "ready") return Promise.resolve();
    this.#next ??= Promise.withResolvers();
    return this.#next.promise;
  }

  /**
   * Empties the place for good; its replica gets `graceMs` to finish.
   * @param why what those hear who wait for a replica here
   */
  async close(graceMs: number, why: WindjammerError): Promise<void> {
    this.#leaving.abort(why);
    this.#next?.reject(why);
    this.#next = undefined;
    this.withdraw("stopping");
    const until = performance.now() + graceMs;
    // A server elsewhere is let go of at once, and a program may end without a look at what it has.
    if (this.#replica !== undefined)
      await within(Promise.race([this.#replica.whenIdle(), this.#running?.exited]), graceMs);
    await this.#running?.stop(Math.max(0, until - performance.now()));
    await this.#gone;
  }

  holds(replica: Replica): boolean {
    return this.#replica === replica;
  }

  /** Its replica gets no batch any more. */
  withdraw(state: "stopping" | "restarting"): void {
    this.#replica?.retire();
    this.#state = state;
    this.#listener.changed();
  }

  status(): ReplicaStatus {
    return {
      id: this.#id,
      model: this.#parts.version.model,
      version: this.#parts.version.version,
      state: this.#state,
      handle: this.#running?.handle ?? "",
      startedAt: this.#startedAt,
      restarts: this.#restarts,
      ...(this.#lastExit === undefined ? {} : { lastExit: this.#lastExit }),
    };
  }

  async #start(signal: AbortSignal, adopted?: RunningReplica): Promise<void> {
    try {
      await this.#occupy(adopted ?? (await this.#launch()), signal);
      this.#next?.resolve();
    } catch (error) {
      this.#failures++;
      this.#next?.reject(error);
      if (!signal.aborted) this.#listener.trouble((error as Error).message);
      throw error;
    } finally {
      this.#next = undefined;
    }
  }

  #launch(): Promise<RunningReplica> {
    const { version, bundle, image, nextId } = this.#parts;
    const { limits } = version.settings;
    this.#id = nextId();
    this.#startedAt = new Date().toISOString();
    const spec: ReplicaSpec = {
      id: this.#id,
      model: version.model,
      version: version.version,
      image,
      bundle,
      limits,
    };
    return this.#source.start(spec);
  }

  /** Waits until a container is ready; on failure nothing of it runs. */
  async #occupy(running: RunningReplica, signal: AbortSignal): Promise<void> {
    const { version, others } = this.#parts;
    this.#id = running.id;
    this.#startedAt = running.startedAt;
    this.#running = running;
    const maxInFlight = inFlightShare(version, 1 + (others?.count ?? 0));
    const transport = transportTo(running.address, maxInFlight);
    let metadata: string;
    try {
      metadata = await becomeReady(running, transport, {
        manifest: version.manifest,
        timeoutMs: version.settings.readyTimeoutMs,
        signal,
      });
      signal.throwIfAborted();
    } catch (error) {
      await transport.close();
      await running.stop(0);
      this.#lastExit = await running.exited;
      this.#listener.ended(running, this.#lastExit);
      throw error;
    }
    const { manifest, model } = version;
    const route = {
      address: running.address,
      inferSocket: inferSocketOf(running.address, manifest, metadata),
    };
    this.#route = route;
    this.#replica = replicaAt(running, { route, transport, manifest, model, maxInFlight });
    this.#state = "ready";
    this.#listener.ready(this.#replica);
  }

  async #supervise(): Promise<void> {
    const { signal } = this.#leaving;
    while (!signal.aborted) {
      if (this.#replica !== undefined && this.#running !== undefined)
        await this.#untilGone(this.#replica, this.#running);
      if (signal.aborted) break;
      if (this.#failures === MAX_FAILURES) {
        this.#parts.log.error({ replica: this.#id, starts: MAX_FAILURES }, "replica keeps failing to start");
      }
      this.#state = this.#failures < MAX_FAILURES ? "restarting" : "failed";
      this.#listener.changed();
      await pause(Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** this.#failures), signal);
      if (signal.aborted) break;
      this.#restarts++;
      await this.#start(signal).catch(() => undefined);
    }
    this.#state = "stopping";
  }

  async #untilGone(replica: Replica, running: RunningReplica): Promise<void> {
    const exit = await running.exited;
    const isWanted = !this.#leaving.signal.aborted;
    this.withdraw(isWanted ? "restarting" : "stopping");
    this.#replica = undefined;
    this.#lastExit = { ...exit, message: withLastWords(running, exit.message) };
    const wasUseful = replica.hasAnswered || Date.now() - Date.parse(this.#startedAt) > SETTLED_AFTER_MS;
    this.#failures = wasUseful ? 0 : this.#failures + 1;
    await replica.transport.close();
    // Whoever stopped a replica that is still wanted has said why.
    if (isWanted && exit.reason !== "stopped") this.#listener.trouble(troubleOf(running, exit.message));
    this.#listener.ended(running, exit);
  }
}
