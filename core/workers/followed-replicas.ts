// The replicas of one version as a worker sees them: the server's own process starts, watches and replaces them.
import type { NoReplicaError } from "../errors.ts";
import type { SharedReplicas } from "../query/served-version.ts";
import type { ReachableReplica, Replicas, Suspicion } from "../replicas/pool.ts";
import { inFlightShare } from "../replicas/in-flight.ts";
import { noReplica } from "../replicas/no-replica.ts";
import type { Occupant, Replica } from "../replicas/replica.ts";
import { type PaceOf, ReadyReplicas } from "../replicas/ready-replicas.ts";
import { replicaAt } from "../replicas/route.ts";
import { transportTo } from "../replicas/transport.ts";
import type { LogLine, ReplicaExit, Version } from "../types.ts";

export interface FollowedReplicasParts {
  readonly version: Version;
  /** Number of the worker: each turns to another replica first, so that they do not wait for each other's batches. */
  readonly turn: number;
  /** Processes that send batches to the replicas: all workers, and the server's own. */
  readonly senders: number;
  /** Tells the server's own process of a replica that failed a call. */
  readonly doubt: (replica: Replica, why: Suspicion) => void;
  /** A replica became ready, went, or was given up. */
  readonly onChange: () => void;
}

/** One replica, from when it is first told of until its end is. */
interface Followed {
  readonly replica: Replica;
  readonly occupant: FollowedOccupant;
  /** It is ready, as far as the server's own process knows. */
  isListed: boolean;
  /** A call failed here, and it is being looked at. */
  isDoubted: boolean;
  /** It has not answered these batches in time, and is being looked at; told whether it is replaced. */
  whenLooked: ((isReplaced: boolean) => void)[];
}

export class FollowedReplicas implements Replicas {
  readonly #parts: FollowedReplicasParts;
  readonly #followed = new Map<string, Followed>();
  readonly #answered = new Set<string>();
  readonly #ready = new ReadyReplicas();
  #startingCount = 0;
  #trouble: string | undefined;

  constructor(parts: FollowedReplicasParts) {
    this.#parts = parts;
  }

  get readyCount(): number {
    return this.#ready.count;
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

  /** Also while one is looked at: it comes back, or another one in its place. */
  get isRecovering(): boolean {
    if (this.#startingCount > 0) return true;
    for (const { isListed, isDoubted } of this.#followed.values()) if (isListed && isDoubted) return true;
    return false;
  }

  get senders(): number {
    return this.#parts.senders;
  }

  get trouble(): string | undefined {
    return this.#trouble;
  }

  take(paceOf: PaceOf, passedOver?: ReadonlySet<Replica>): Replica | undefined {
    return this.#ready.take(paceOf, passedOver);
  }

  takeEjected(passedOver?: ReadonlySet<Replica>): Replica | undefined {
    return this.#ready.takeEjected(passedOver);
  }

  hasOther(replica: Replica): boolean {
    return this.#ready.hasOther(replica);
  }

  reinstate(): void {
    this.#ready.reinstate();
  }

  release(replica: Replica): void {
    if (replica.hasAnswered) this.#answered.add(replica.id);
    replica.release();
    this.#closeWhereOver(replica);
  }

  noteAnswer(): void {
    this.#trouble = undefined;
  }

  /** It gets no batch until the server's own process has looked at it. */
  suspect(replica: Replica, message: string): Promise<void> {
    const followed = this.#followed.get(replica.id);
    replica.release();
    if (followed?.replica === replica && isUsable(followed)) {
      followed.isDoubted = true;
      replica.hold();
      this.#parts.doubt(replica, { message, fault: "disconnected" });
      this.#changed();
    }
    this.#closeWhereOver(replica);
    return Promise.resolve();
  }

  /** It keeps its batch until the server's own process, which hears of all senders, has said what becomes of it. */
  async replaceSilent(replica: Replica, why: Suspicion): Promise<boolean> {
    const followed = this.#followed.get(replica.id);
    const isReplaced =
      followed?.replica !== replica ||
      !followed.isListed ||
      (await new Promise<boolean>((resolve) => {
        followed.whenLooked.push(resolve);
        // Otherwise it is being looked at already.
        if (!followed.isDoubted) this.#parts.doubt(replica, why);
      }));
    // Nobody waits for its answer, which may never come.
    if (isReplaced) void replica.transport.close();
    return isReplaced;
  }

  noReplica(): NoReplicaError {
    return noReplica(this.#parts.version, this);
  }

  /** The replicas as they are now. One that is not among them any more gets no batch; what it has it may finish. */
  update({ replicas, startingCount, trouble }: SharedReplicas): void {
    this.#startingCount = startingCount;
    this.#trouble = trouble;
    const ids = new Set(replicas.map(({ id }) => id));
    for (const [id, followed] of this.#followed) {
      if (ids.has(id)) continue;
      followed.isListed = false;
      followed.replica.retire();
      tellLooked(followed, true);
    }
    for (const reachable of replicas) if (!this.#followed.has(reachable.id)) this.#join(reachable);
    this.#changed();
  }

  /** The server's own process has looked at a replica that was doubted here: where it is still listed, it serves on, as what it is known for. */
  looked(id: string): void {
    const followed = this.#followed.get(id);
    if (followed?.isListed !== true) return;
    tellLooked(followed, false);
    if (!followed.isDoubted) return;
    followed.isDoubted = false;
    followed.replica.resume();
    this.#changed();
  }

  ended(id: string, exit: ReplicaExit, tail: readonly LogLine[]): void {
    const followed = this.#followed.get(id);
    if (followed === undefined) return;
    this.#followed.delete(id);
    followed.replica.retire();
    tellLooked(followed, true);
    followed.occupant.end(exit, tail);
    this.#closeWhereOver(followed.replica);
    this.#changed();
  }

  /** Replicas that answered since the last call. */
  takeAnswered(): readonly string[] {
    const answered = [...this.#answered];
    this.#answered.clear();
    return answered;
  }

  close(): void {
    for (const { replica } of this.#followed.values()) {
      replica.retire();
      void replica.transport.close();
    }
    this.#followed.clear();
  }

  #join(reachable: ReachableReplica): void {
    const { version, senders } = this.#parts;
    const occupant = new FollowedOccupant(reachable.id);
    const maxInFlight = inFlightShare(version, senders);
    const transport = transportTo(reachable.address, maxInFlight);
    const { manifest, model } = version;
    const replica = replicaAt(occupant, { route: reachable, transport, manifest, model, maxInFlight });
    this.#followed.set(reachable.id, {
      replica,
      occupant,
      isListed: true,
      isDoubted: false,
      whenLooked: [],
    });
  }

  /** Each worker prefers another one. */
  #changed(): void {
    const usable = [...this.#followed.values()].filter(isUsable).map(({ replica }) => replica);
    const first = usable.length === 0 ? 0 : this.#parts.turn % usable.length;
    this.#ready.update([...usable.slice(first), ...usable.slice(0, first)]);
    this.#parts.onChange();
  }

  /** Its last answer may still be on its way when its end is told. */
  #closeWhereOver(replica: Replica): void {
    if (!replica.isBusy && this.#followed.get(replica.id)?.replica !== replica)
      void replica.transport.close();
  }
}

function tellLooked(followed: Followed, isReplaced: boolean): void {
  for (const tell of followed.whenLooked.splice(0)) tell(isReplaced);
}

function isUsable({ isListed, isDoubted }: Followed): boolean {
  return isListed && !isDoubted;
}

/** What is known of a container that another process watches. */
class FollowedOccupant implements Occupant {
  readonly id: string;
  readonly #exited: PromiseWithResolvers<ReplicaExit> = Promise.withResolvers();
  #tail: readonly LogLine[] = [];

  constructor(id: string) {
    this.id = id;
  }

  get exited(): Promise<ReplicaExit> {
    return this.#exited.promise;
  }

  tail(lines: number): readonly LogLine[] {
    return this.#tail.slice(-lines);
  }

  end(exit: ReplicaExit, tail: readonly LogLine[]): void {
    this.#tail = tail;
    this.#exited.resolve(exit);
  }
}
