// The live replicas of one version: add, remove, hand out the free ones.
import { setTimeout as sleep } from "node:timers/promises";
import { NoReplicaError, ReplicaNotFoundError, ShuttingDownError } from "../errors.ts";
import type { LogOptions, RunningReplica } from "../runtimes/runtime.ts";
import type { LogLine, ReplicaExit, ReplicaStatus } from "../types.ts";
import { isReady } from "./readiness.ts";
import type { Replica } from "./replica.ts";
import { Slot, type ReplicaParts } from "./slot.ts";

/** A replica that is scaled away gets this long to finish its batch. */
const SCALE_DOWN_GRACE_MS = 30_000;
/** A replica that broke its connection gets this long to exit by itself. */
const OWN_EXIT_MS = 500;
/** Replicas that ended lately, whose logs can still be read. */
const MAX_ENDED = 8;

export class ReplicaPool {
  readonly #parts: ReplicaParts;
  readonly #onChange: () => void;
  readonly #slots = new Set<Slot>();
  readonly #free: Replica[] = [];
  readonly #ended: RunningReplica[] = [];
  #readyCount = 0;
  #trouble: string | undefined;
  #isClosed = false;

  /** @param onChange a replica became ready, went, or was given up */
  constructor(parts: ReplicaParts, onChange: () => void) {
    this.#parts = parts;
    this.#onChange = onChange;
  }

  get readyCount(): number {
    return this.#readyCount;
  }

  get startingCount(): number {
    let count = 0;
    for (const slot of this.#slots) if (slot.isComing) count++;
    return count;
  }

  /** True while a replica is on its way, so that waiting makes sense. */
  get isRecovering(): boolean {
    return this.startingCount > 0;
  }

  /** Why a replica went lately, while none has answered since. */
  get trouble(): string | undefined {
    return this.#trouble;
  }

  /** Replicas that `take` would still give. */
  get freeCount(): number {
    let count = 0;
    for (const replica of this.#free) if (replica.isFree) count++;
    return count;
  }

  /** A free replica, or undefined. It comes back by `release` or `suspect`. */
  take(): Replica | undefined {
    for (let replica = this.#free.pop(); replica !== undefined; replica = this.#free.pop()) {
      if (replica.isFree) return replica;
    }
    return undefined;
  }

  release(replica: Replica): void {
    if (!replica.isFree) return;
    if (replica.hasAnswered) this.#trouble = undefined;
    this.#free.push(replica);
  }

  /**
   * A replica failed a call. Unless it hangs it is asked whether it is ready: a foreign server may close a connection
   * at will. If it is not, it is replaced.
   */
  async suspect(
    replica: Replica,
    why: { readonly message: string; readonly isHung: boolean },
  ): Promise<void> {
    if (!why.isHung && (await isReady(replica.transport))) {
      this.release(replica);
      this.#onChange();
      return;
    }
    const slot = [...this.#slots].find((candidate) => candidate.holds(replica));
    if (slot?.state === "ready") slot.withdraw("restarting");
    if (why.isHung) this.#trouble = `replica ${replica.id} ${why.message}`;
    this.#parts.log.warn({ replica: replica.id, reason: why.message }, "replacing a replica");
    // It may be about to exit, and its own end says more than ours.
    if (!why.isHung) await Promise.race([replica.running.exited, sleep(OWN_EXIT_MS)]);
    await replica.running.stop(0);
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

  /**
   * Runs `count` replicas. Resolves when they are ready, rejects with the first start that fails; the missing ones
   * are tried again in the background, with growing pauses, until they have failed too often.
   */
  async scale(count: number): Promise<void> {
    for (const slot of this.#slots) if (slot.state === "failed") this.#drop(slot);
    const surplus = [...this.#slots].slice(count);
    const missing = Math.max(0, count - this.#slots.size);
    const never = new AbortController().signal;
    const added = Array.from({ length: missing }, () => this.#addSlot().open(never, "retry"));
    await Promise.all([...surplus.map((slot) => this.#remove(slot, SCALE_DOWN_GRACE_MS)), ...added]);
  }

  statuses(): readonly ReplicaStatus[] {
    return Array.from(this.#slots, (slot) => slot.status());
  }

  /** @throws ReplicaNotFoundError */
  logs(id: string, options: LogOptions): AsyncIterable<LogLine> {
    const running = this.#find(id);
    if (running === undefined)
      throw new ReplicaNotFoundError(`no replica ${id}; GET /api/v1/replicas lists them`);
    return running.logs(options);
  }

  hasReplica(id: string): boolean {
    return this.#find(id) !== undefined;
  }

  /** Stops all replicas, for good. */
  async close(graceMs: number): Promise<void> {
    this.#isClosed = true;
    await Promise.all([...this.#slots].map((slot) => this.#remove(slot, graceMs)));
  }

  /** What a query is told while no replica is ready. */
  noReplica(): NoReplicaError {
    const { model, version } = this.#parts.version;
    const why = this.#trouble ?? "none runs; scale it up, or deploy it again";
    return new NoReplicaError(`no replica of model ${model} version ${version} is ready: ${why}`, {
      details: { model, version },
    });
  }

  #find(id: string): RunningReplica | undefined {
    const current = [...this.#slots].find((slot) => slot.running?.id === id)?.running;
    return current ?? this.#ended.find((running) => running.id === id);
  }

  #addSlot(): Slot {
    const { model, version } = this.#parts.version;
    if (this.#isClosed) throw new ShuttingDownError(`model ${model} version ${version} is being stopped`);
    const slot = new Slot(this.#parts, {
      ready: (replica) => {
        this.#free.push(replica);
        this.#parts.log.info({ replica: replica.id }, "replica ready");
        this.#changed();
      },
      changed: () => this.#changed(),
      trouble: (text) => {
        this.#trouble = text;
      },
      ended: (running, exit) => this.#noteEnd(running, exit),
    });
    this.#slots.add(slot);
    return slot;
  }

  #changed(): void {
    this.#readyCount = 0;
    for (const slot of this.#slots) if (slot.state === "ready") this.#readyCount++;
    this.#onChange();
  }

  #noteEnd(running: RunningReplica, exit: ReplicaExit): void {
    this.#ended.push(running);
    if (this.#ended.length > MAX_ENDED) this.#ended.shift();
    if (exit.reason === "stopped") return;
    this.#parts.metrics.replicaExit(exit.reason);
    this.#parts.log.warn({ replica: running.id, exit: exit.message }, "replica ended");
  }

  async #remove(slot: Slot, graceMs: number): Promise<void> {
    await slot.close(graceMs);
    this.#drop(slot);
  }

  #drop(slot: Slot): void {
    this.#slots.delete(slot);
    this.#changed();
  }
}
