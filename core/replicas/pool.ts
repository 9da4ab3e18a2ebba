// The live replicas of one version: add, remove, hand out the free ones.
import {
  DeploymentConflictError,
  type NoReplicaError,
  ReplicaNotFoundError,
  ShuttingDownError,
  type WindjammerError,
} from "../errors.ts";
import type { LogOptions, ReplicaStats, RunningReplica } from "../runtimes/runtime.ts";
import type { LogLine, ReplicaExit, ReplicaStatus } from "../types.ts";
import { patience } from "../wait.ts";
import { Guest } from "./guest.ts";
import { isReady } from "./readiness.ts";
import { noReplica } from "./no-replica.ts";
import { type PaceOf, ReadyReplicas } from "./ready-replicas.ts";
import { type Replica, troubleOf } from "./replica.ts";
import type { ReplicaRoute } from "./route.ts";
import { Slot, type ReplicaParts } from "./slot.ts";
import { replicaSource, type ReplicaSource } from "./source.ts";
import type { ReplicaTransport } from "./transport.ts";

/** A replica that is scaled away gets this long to finish its batch. */
const SCALE_DOWN_GRACE_MS = 30_000;
/** A replica that broke its connection gets this long to exit by itself. */
const OWN_EXIT_MS = 500;
/** Replicas that ended lately, whose logs can still be read. */
const MAX_ENDED = 8;

/** Why a replica is no good any more. */
export interface Suspicion {
  readonly message: string;
  /**
   * It broke a connection; or did not answer a batch within `batchTimeoutMs`, and may be at those of other senders; or
   * had time for the batches of all senders.
   */
  readonly fault: "disconnected" | "late" | "hung";
}

/** What a queue needs of the replicas of its version. */
export interface Replicas {
  readonly readyCount: number;
  /**
   * Those that get batches: all that are ready, but for the ejected ones. One that holds several is there as many times,
   * so that what they answer together is the sum of what is answered at each place.
   */
  readonly crew: readonly Replica[];
  /** Replicas that are left out since they fail every batch, and why. */
  readonly ejected: ReadonlyMap<string, string>;
  /** True while a replica is on its way, so that waiting makes sense. */
  readonly isRecovering: boolean;
  /** Processes that send batches to the same replicas. */
  readonly senders: number;
  /**
   * The fastest replica with room for a batch, or undefined: one that has some counts as slower by as many. Its place
   * comes back by `release` or `suspect`.
   */
  take(paceOf: PaceOf, passedOver?: ReadonlySet<Replica>): Replica | undefined;
  /** An ejected replica that is to be tried again, or undefined; as by `take`. */
  takeEjected(passedOver?: ReadonlySet<Replica>): Replica | undefined;
  /** How many replicas without a batch `take` would still give; a slow one counts as a part of one. */
  idleCapacity(paceOf: PaceOf): number;
  release(replica: Replica): void;
  /** True when another replica takes batches, too. */
  hasOther(replica: Replica): boolean;
  /** What failed was the fault of the queries: none is left out any more. */
  reinstate(): void;
  /** A replica answered: whatever the trouble was, it is over. */
  noteAnswer(): void;
  /** A replica broke its connection. Resolves when it was released or is gone. */
  suspect(replica: Replica, message: string): Promise<void>;
  /** A replica is late with a batch, or hangs. False: it answered another sender within `batchTimeoutMs`, and stays. */
  replaceSilent(replica: Replica, why: Suspicion): Promise<boolean>;
  /** What a query is told while no replica is ready. */
  noReplica(): NoReplicaError;
}

/** A replica that is ready, for others who send it batches. */
export interface ReachableReplica extends ReplicaRoute {
  readonly id: string;
}

export class ReplicaPool implements Replicas {
  readonly #parts: ReplicaParts;
  readonly #source: ReplicaSource;
  readonly #onChange: () => void;
  readonly #slots = new Set<Slot | Guest>();
  readonly #ready = new ReadyReplicas();
  readonly #looks = new Map<Replica, Promise<void>>();
  readonly #replaced = new WeakSet<Replica>();
  readonly #ended: RunningReplica[] = [];
  #startingCount = 0;
  #trouble: string | undefined;
  #isClosed = false;

  /** @param onChange a replica became ready, went, or was given up */
  constructor(parts: ReplicaParts, onChange: () => void) {
    this.#parts = parts;
    this.#source = replicaSource(parts.version.manifest, parts.runtime);
    this.#onChange = onChange;
  }

  get readyCount(): number {
    return this.#ready.count;
  }

  get startingCount(): number {
    return this.#startingCount;
  }

  get isRecovering(): boolean {
    return this.#startingCount > 0;
  }

  get senders(): number {
    return 1 + (this.#parts.others?.count ?? 0);
  }

  /** Why a replica went lately, while none has answered since. */
  get trouble(): string | undefined {
    return this.#trouble;
  }

  get crew(): readonly Replica[] {
    return this.#ready.crew;
  }

  idleCapacity(paceOf: PaceOf): number {
    return this.#ready.idleCapacity(paceOf);
  }

  get ejected(): ReadonlyMap<string, string> {
    return this.#ready.ejected;
  }

  take(paceOf: PaceOf, passedOver?: ReadonlySet<Replica>): Replica | undefined {
    return this.#ready.take(paceOf, passedOver);
  }

  takeEjected(passedOver?: ReadonlySet<Replica>): Replica | undefined {
    return this.#ready.takeEjected(passedOver);
  }

  release(replica: Replica): void {
    replica.release();
  }

  hasOther(replica: Replica): boolean {
    return this.#ready.hasOther(replica);
  }

  reinstate(): void {
    this.#ready.reinstate();
  }

  noteAnswer(): void {
    this.#trouble = undefined;
  }

  /**
   * It is asked whether it is ready: a foreign server may close a connection at will. If it is not, it is replaced. All
   * batches that it loses meanwhile are one loss.
   */
  async suspect(replica: Replica, message: string): Promise<void> {
    let look = this.#looks.get(replica);
    if (look === undefined && !replica.isGone) {
      look = this.#look(replica, { message, fault: "disconnected" });
      this.#looks.set(replica, look);
    }
    await look;
    this.release(replica);
    this.#onChange();
  }

  async replaceSilent(replica: Replica, why: Suspicion): Promise<boolean> {
    if (await this.#isGood(replica, why)) return false;
    void this.#replace(replica, why);
    return true;
  }

  /** As `suspect` or `replaceSilent`, of another process's call. Resolves when the replica was found good, or is gone. */
  async doubt(id: string, why: Suspicion): Promise<void> {
    const replica = this.#readyReplica(id);
    if (replica === undefined || (await this.#isGood(replica, why))) return;
    await this.#replace(replica, why);
  }

  /** These have answered another process: an end after that is no failed start, and the trouble is over. */
  noteAnswers(ids: readonly string[]): void {
    for (const id of ids) {
      const replica = this.#readyReplica(id);
      if (replica === undefined) continue;
      replica.noteAnswer();
      this.noteAnswer();
    }
  }

  /** Those that are ready and can be reached from other processes. */
  reachable(): readonly ReachableReplica[] {
    return [...this.#slots].flatMap(({ route, running }) =>
      route === undefined || running === undefined ? [] : [{ id: running.id, ...route }],
    );
  }

  /** Starts one more replica. @throws ReplicaStartError, ContractMismatchError; nothing is left of it then */
  async startOne(signal: AbortSignal): Promise<ReplicaStatus> {
    const slot = this.#addSlot();
    try {
      await slot.open(signal, "give-up");
    } catch (error) {
      this.#drop(slot);
      throw error;
    }
    return slot.status();
  }

  /** Takes over a container that an earlier frontend started; one that is not fit to serve is replaced. */
  async adopt(running: RunningReplica): Promise<void> {
    await this.#addSlot().open(new AbortController().signal, "retry", running);
  }

  /** Takes in a replica that came by itself, until it ends. */
  join(running: RunningReplica, transport: ReplicaTransport): void {
    const { manifest, model } = this.#parts.version;
    const guest = new Guest(running, transport, () => isReady(transport, manifest, model));
    void this.#seeOff(guest);
    if (this.#isClosed) {
      void running.stop(0);
      return;
    }
    this.#slots.add(guest);
    this.#noteReady(guest.replica);
  }

  /**
   * Runs `count` replicas. Resolves when they are ready, rejects with the first start that fails; the missing ones
   * are tried again in the background, with growing pauses.
   */
  async scale(count: number): Promise<void> {
    // Those that are ready stay longest; those that leave already, or keep failing, count no more.
    const useful = [...this.#slots]
      .filter((slot) => !slot.isLeaving && slot.state !== "failed")
      .toSorted((one, other) => Number(other.state === "ready") - Number(one.state === "ready"));
    const staying = useful.slice(0, count);
    const surplus = [...this.#slots].filter((slot) => !slot.isLeaving && !staying.includes(slot));
    const why = new DeploymentConflictError(`${this.#label} was scaled to ${count} meanwhile`);
    const never = new AbortController().signal;
    const added = Array.from({ length: count - staying.length }, () => this.#addSlot().open(never, "retry"));
    const removed = surplus.map((slot) => this.#remove(slot, SCALE_DOWN_GRACE_MS, why));
    await Promise.all([...staying.map((slot) => slot.whenReady()), ...added, ...removed]);
  }

  statuses(): readonly ReplicaStatus[] {
    return Array.from(this.#slots, (slot) => slot.status());
  }

  /** @throws ReplicaNotFoundError */
  logs(id: string, options: LogOptions): AsyncIterable<LogLine> {
    return this.#found(id).logs(options);
  }

  /** @throws ReplicaNotFoundError, also for one that has ended */
  async stats(id: string): Promise<ReplicaStats> {
    return this.#found(id).stats();
  }

  hasReplica(id: string): boolean {
    return this.#find(id) !== undefined;
  }

  /** Stops all replicas, for good. */
  async close(graceMs: number): Promise<void> {
    this.#isClosed = true;
    const why = new ShuttingDownError(`${this.#label} is being stopped`);
    await Promise.all([...this.#slots].map((slot) => this.#remove(slot, graceMs, why)));
  }

  noReplica(): NoReplicaError {
    return noReplica(this.#parts.version, this);
  }

  async #look(replica: Replica, why: Suspicion): Promise<void> {
    replica.hold();
    try {
      if (await this.#isGood(replica, why)) replica.resume();
      else await this.#replace(replica, why);
    } finally {
      this.#looks.delete(replica);
    }
  }

  async #isGood(replica: Replica, { fault }: Suspicion): Promise<boolean> {
    if (fault === "hung") return false;
    if (fault === "disconnected") return replica.isReady();
    await this.#parts.others?.hearOut();
    return performance.now() - replica.answeredAt < this.#parts.version.settings.batchTimeoutMs;
  }

  #readyReplica(id: string): Replica | undefined {
    const place = [...this.#slots].find(({ running, state }) => running?.id === id && state === "ready");
    return place?.replica;
  }

  /** Once, whatever is said of it meanwhile. */
  async #replace(replica: Replica, why: Suspicion): Promise<void> {
    if (this.#replaced.has(replica)) return;
    this.#replaced.add(replica);
    const place = [...this.#slots].find((candidate) => candidate.holds(replica));
    if (place?.state === "ready") place.withdraw("restarting");
    if (why.fault !== "disconnected") this.#trouble = `replica ${replica.id} ${why.message}`;
    this.#parts.log.warn({ replica: replica.id, reason: why.message }, "replacing a replica");
    // It may be about to exit, and its own end says more than ours.
    if (why.fault === "disconnected") await Promise.race([replica.running.exited, patience(OWN_EXIT_MS)]);
    try {
      // Where nothing holds it any more, it has ended.
      if (place?.holds(replica) === true) await place.running?.stop(0);
    } catch (error) {
      this.#parts.log.error({ replica: replica.id, error }, "a replica could not be stopped");
    }
  }

  get #label(): string {
    return `model ${this.#parts.version.model} version ${this.#parts.version.version}`;
  }

  #find(id: string): RunningReplica | undefined {
    const current = [...this.#slots].find((slot) => slot.running?.id === id)?.running;
    return current ?? this.#ended.find((running) => running.id === id);
  }

  #found(id: string): RunningReplica {
    const running = this.#find(id);
    if (running === undefined)
      throw new ReplicaNotFoundError(`no replica ${id}; GET /api/v1/replicas lists them`);
    return running;
  }

  #addSlot(): Slot {
    if (this.#isClosed) throw new ShuttingDownError(`${this.#label} is being stopped`);
    const slot = new Slot(this.#parts, this.#source, {
      ready: (replica) => this.#noteReady(replica),
      changed: () => this.#changed(),
      trouble: (text) => {
        this.#trouble = text;
      },
      ended: (running, exit) => this.#noteEnd(running, exit),
    });
    this.#slots.add(slot);
    // A replica is on its way from now on: queries wait for the first one, too.
    this.#changed();
    return slot;
  }

  async #seeOff(guest: Guest): Promise<void> {
    const { running } = guest;
    const exit = await running.exited;
    guest.withdraw();
    if (exit.reason !== "stopped" && !guest.isLeaving) this.#trouble = troubleOf(running, exit.message);
    this.#noteEnd(running, exit);
    this.#drop(guest);
  }

  #noteReady(replica: Replica): void {
    this.#parts.log.info({ replica: replica.id }, "replica ready");
    this.#changed();
  }

  #changed(): void {
    const ready: Replica[] = [];
    this.#startingCount = 0;
    for (const { state, replica, isComing } of this.#slots) {
      if (state === "ready" && replica !== undefined) ready.push(replica);
      if (isComing) this.#startingCount++;
    }
    this.#ready.update(ready);
    this.#onChange();
  }

  #noteEnd(running: RunningReplica, exit: ReplicaExit): void {
    this.#ended.push(running);
    this.#parts.onEnd?.(running, exit);
    if (this.#ended.length > MAX_ENDED) this.#ended.shift();
    if (exit.reason === "stopped") return;
    this.#parts.metrics.replicaExit(exit.reason);
    this.#parts.log.warn({ replica: running.id, exit: exit.message }, "replica ended");
  }

  async #remove(slot: Slot | Guest, graceMs: number, why: WindjammerError): Promise<void> {
    await slot.close(graceMs, why);
    this.#drop(slot);
  }

  #drop(slot: Slot | Guest): void {
    this.#slots.delete(slot);
    this.#changed();
  }
}
