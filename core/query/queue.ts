// The queue of one version: cuts batches for free replicas, sends them, hands results back.
import { ReplicaHungError, ReplicaLostError, toWindjammerError, type WindjammerError } from "../errors.ts";
import type { Log } from "../log.ts";
import type { VersionMetrics } from "../metric-handles.ts";
import type { Replicas } from "../replicas/pool.ts";
import { type Replica, troubleOf } from "../replicas/replica.ts";
import type { InferReply } from "../replicas/transport.ts";
import type { Version } from "../types.ts";
import { patience } from "../wait.ts";
import type { BatchingPolicy, Completion } from "./batching/policy.ts";
import type { BatchBody, BatchCodec } from "./batch-body.ts";
import { Blame } from "./blame.ts";
import { DeadlineTimer } from "./deadline-timer.ts";
import { answeredOf, type Flight, failureOf, handOnLate, nextDue, settleRows } from "./flight.ts";
import type { Lane } from "./lane.ts";
import { Pending, trialOf } from "./pending.ts";
import { Pulling } from "./pulling.ts";
import type { Query } from "./query.ts";
import { Retries } from "./retries.ts";
import { WaitingQueries } from "./waiting.ts";

/** Queries wait this long for a version none of whose replicas is ready, if their deadline lets them. */
const MAX_WAIT_WITHOUT_REPLICA_MS = 10_000;
/** Rows that may wait for one version, together. */
const MAX_WAITING_BYTES = 2 ** 30;
/** Share of a batch's time-out after which the container is told that nobody waits any more. */
const DEADLINE_SHARE = 0.9;
/** A lost replica's exit is awaited this long, so that the error can name the cause. */
const EXIT_DETAIL_MS = 250;

export interface QueueParts {
  readonly version: Version;
  readonly pool: Replicas;
  readonly policy: BatchingPolicy;
  readonly codec: BatchCodec;
  readonly metrics: VersionMetrics;
  readonly log: Log;
  readonly maxLength: number;
}

export class BatchQueue {
  readonly #parts: QueueParts;
  readonly #waiting: WaitingQueries;
  readonly #flights = new Set<Flight>();
  readonly #timer: DeadlineTimer;
  readonly #blame: Blame;
  readonly #retries: Retries;
  readonly #pulling: Pulling;
  #isPumpDue = false;
  /** Since when no replica is ready, `performance.now()` ms. */
  #lonelySince: number | undefined;
  #onIdle: (() => void)[] = [];
  #isTaking = true;
  #isClosed = false;

  constructor(parts: QueueParts) {
    this.#parts = parts;
    this.#pulling = new Pulling(parts);
    this.#waiting = new WaitingQueries(parts.version, parts.metrics);
    this.#timer = new DeadlineTimer((now) => this.#sweep(now));
    this.#blame = new Blame(parts);
    this.#retries = new Retries({ ...parts, waiting: this.#waiting, timer: this.#timer });
  }

  get length(): number {
    return this.#waiting.length;
  }

  /** Batches that are on their way to replicas. */
  get inFlight(): number {
    return this.#flights.size;
  }

  /** Settles the query exactly once, now or later. */
  enqueue(query: Query): void {
    const { pool, policy } = this.#parts;
    const waiting = this.#waiting;
    const pending = new Pending(query);
    if (!this.#isTaking) {
      pending.fail(waiting.stopping());
      return;
    }
    if (this.#isFull(pending)) {
      waiting.drop(pending, "shed", this.#overloaded(`${waiting.length} queries wait already`));
      return;
    }
    if (pool.readyCount === 0 && !pool.isRecovering) {
      waiting.drop(pending, "no-replica", pool.noReplica());
      return;
    }
    const lane = waiting.laneOf(query);
    const isInTime =
      query.isTrial === true || policy.admit(performance.now(), query.deadlineAt, lane, pool.crew);
    if (!isInTime && pool.readyCount > 0) {
      waiting.drop(pending, "shed", this.#overloaded("the answer would come too late"));
      return;
    }
    waiting.add(lane, pending);
    this.#timer.wakeBy(Math.min(query.deadlineAt, this.#lonelyUntil()));
    this.#schedulePump();
  }

  /** A replica became ready, or went. */
  replicasChanged(): void {
    const { pool } = this.#parts;
    if (this.#isClosed) return;
    if (pool.readyCount > 0) {
      this.#lonelySince = undefined;
      this.#schedulePump();
    } else if (!pool.isRecovering) {
      this.#waiting.failAll("no-replica", () => pool.noReplica());
      this.#checkIdle();
    } else if (this.#lonelySince === undefined) {
      this.#lonelySince = performance.now();
      this.#timer.wakeBy(this.#lonelySince + MAX_WAIT_WITHOUT_REPLICA_MS);
    }
  }

  /** Whatever comes from now on is refused; what is here goes on. */
  stopTaking(): void {
    this.#isTaking = false;
  }

  /** Resolves when nothing waits and nothing is on its way, or the queue is closed. */
  whenIdle(): Promise<void> {
    return new Promise((resolve) => {
      this.#onIdle.push(resolve);
      this.#checkIdle();
    });
  }

  /** Gives up whatever waits or is on its way; nothing is taken any more. */
  close(): void {
    const waiting = this.#waiting;
    this.#isTaking = false;
    this.#isClosed = true;
    this.#retries.close();
    waiting.failAll("no-replica", () => waiting.stopping());
    for (const flight of this.#flights) {
      flight.isOver = true;
      const error = this.#givenUp(flight.replica);
      for (const pending of flight.batch) waiting.drop(pending, "replica-lost", error);
    }
    this.#flights.clear();
    this.#timer.stop();
    this.#checkIdle();
  }

  /** Of what may have been computed: whoever takes over from this version gets it only where that may happen twice. */
  #givenUp(replica: Replica): WindjammerError {
    if (this.#parts.version.settings.isRetryable) return this.#waiting.stopping();
    const text = troubleOf(replica.running, "was stopped before it answered");
    return new ReplicaLostError(text, { details: { replica: replica.id } });
  }

  /** By number or by bytes, even without the queries whose callers have gone. */
  #isFull(pending: Pending): boolean {
    const waiting = this.#waiting;
    const isOver = (): boolean =>
      waiting.length >= this.#parts.maxLength || waiting.bytes + pending.bytes > MAX_WAITING_BYTES;
    if (waiting.length === 0 || !isOver()) return false;
    waiting.purgeAbandoned(performance.now());
    return isOver();
  }

  #overloaded(why: string): WindjammerError {
    const { policy, pool } = this.#parts;
    return this.#waiting.overloaded(why, policy.retryAfterS(this.#waiting.length, pool.crew));
  }

  /** Once per turn of the event loop, so that a list of inputs lands together. */
  #schedulePump(): void {
    if (this.#isPumpDue || this.#isClosed) return;
    this.#isPumpDue = true;
    setImmediate(() => {
      this.#isPumpDue = false;
      this.#pump();
    });
  }

  #pump(): void {
    let passedOver: Set<Replica> | undefined;
    while (this.#waiting.length > 0) {
      const replica = this.#pulling.next(passedOver);
      if (replica === undefined) break;
      if (this.#sendBatch(replica)) continue;
      this.#parts.pool.release(replica);
      passedOver = (passedOver ?? new Set()).add(replica);
    }
    this.#checkIdle();
  }

  /** An ejected replica is tried with a query that another one has just answered: no caller waits for it. */
  #tryEjected(answered: Pending | undefined): void {
    const replica = answered === undefined ? undefined : this.#pulling.toTry();
    if (replica !== undefined && answered !== undefined)
      this.#send(replica, [trialOf(answered)], { wasFull: false });
  }

  /** Cuts a batch from the most urgent lane that yields one. */
  #sendBatch(replica: Replica): boolean {
    const waiting = this.#waiting;
    const heldBack = new Set<Lane>();
    for (let lane = waiting.mostUrgent(heldBack); lane !== undefined; lane = waiting.mostUrgent(heldBack)) {
      if (lane.failedOn !== undefined) {
        // The replica runs empty for it: if it is lost again, nothing else is.
        if (lane.goesAlone && replica.taken > 1 && this.#isFit(replica, lane)) return false;
        if (this.#sendRetry(replica, lane)) return true;
        if (lane.length > 0) heldBack.add(lane);
        continue;
      }
      const now = performance.now();
      const cut = this.#parts.policy.cut(now, lane, this.#pulling.puller(replica));
      waiting.expire(lane, cut.expired);
      waiting.shed(lane, cut.shed, () => this.#overloaded("serving it would have made others late"));
      const batch = waiting.take(lane, Math.min(cut.take, this.#pulling.shareOf(replica, lane)), cut.left);
      if (batch.length > 0) {
        this.#send(replica, batch, { wasFull: batch.length === cut.take });
        return true;
      }
      if (cut.askAgainMs !== undefined) this.#timer.wakeBy(now + cut.askAgainMs);
      if (cut.take + cut.expired + cut.shed === 0) heldBack.add(lane);
    }
    return false;
  }

  /** What failed is tried again where it did not fail, if there is such a replica. */
  #isFit(replica: Replica, lane: Lane): boolean {
    const isUnfit = lane.failedOn === replica || replica.health.ejectedFor !== undefined;
    return !isUnfit || !this.#parts.pool.hasOther(replica);
  }

  /** What failed together is tried again together. */
  #sendRetry(replica: Replica, lane: Lane): boolean {
    if (!this.#isFit(replica, lane)) return false;
    const batch = this.#waiting.take(lane, lane.length);
    if (batch.length === 0) return false;
    if (lane.goesAlone) replica.reserve();
    this.#send(replica, batch, { wasFull: false, failedOn: lane.failedOn });
    return true;
  }

  #send(
    replica: Replica,
    batch: readonly Pending[],
    { wasFull, failedOn }: { readonly wasFull: boolean; readonly failedOn?: Replica | undefined },
  ): void {
    const { codec, metrics, version } = this.#parts;
    const { batchTimeoutMs, isRetryable } = version.settings;
    const sentAt = performance.now();
    const hungAt = sentAt + batchTimeoutMs;
    const isAlone = replica.taken === 1;
    const flight: Flight = { replica, batch, failedOn, sentAt, hungAt, wasFull, isAlone, isOver: false };
    let latest = 0;
    for (const { query } of batch) {
      latest = Math.max(latest, query.deadlineAt);
      metrics.waited(sentAt - query.arrivedAt);
    }
    let encoded: BatchBody;
    try {
      encoded = codec.encode(batch.map((pending) => pending.query.row));
    } catch (error) {
      this.#parts.pool.release(replica);
      this.#retries.unsent(flight, toWindjammerError(error));
      this.#schedulePump();
      return;
    }
    // A batch that takes this long is given up anyway; the container should stop before its replica counts as hung.
    const longestMs = this.#longestFlightMs(isAlone ? 1 : replica.maxInFlight);
    const deadlineMs = Math.min(latest - sentAt, DEADLINE_SHARE * longestMs);
    this.#flights.add(flight);
    replica.health.noteSent(sentAt);
    this.#timer.wakeBy(hungAt);
    replica.send({ path: codec.path, ...encoded, deadlineMs, isRetryable }, (error, reply) => {
      if (flight.isOver) return;
      flight.isOver = true;
      // Whoever refuses a batch may do so before it has read it.
      if (reply?.statusCode === 200) codec.release(encoded);
      // 503: it is ending, whatever the reason; its own health endpoint has the last word.
      if (reply?.statusCode === 503) void this.#lost(flight, "is not ready any more");
      else if (reply !== undefined) this.#answered(flight, reply);
      else void this.#lost(flight, `lost its connection (${error?.message ?? "no reply"})`);
    });
  }

  /** The next batch goes out before this one's answers are written, so that the replica does not wait for them. */
  #answered(flight: Flight, reply: InferReply): void {
    const { pool, codec } = this.#parts;
    this.#flights.delete(flight);
    pool.release(flight.replica);
    pool.noteAnswer();
    try {
      const result = codec.decode(reply, flight.batch.length);
      this.#learn(flight, result.kind === "outputs" ? "ok" : "failed", reply.computeMs);
      const error = failureOf(result);
      if (error === undefined) {
        this.#blame.answered(flight);
        this.#tryEjected(answeredOf(flight, result));
      }
      const isInDoubt = error !== undefined && this.#blame.failed(flight, error);
      if (error !== undefined && (isInDoubt || result.kind === "failed"))
        this.#retries.refused(flight, error);
      if (result.kind === "outputs") handOnLate(flight.batch, result);
      this.#pump();
      if (!isInDoubt && result.kind === "outputs") settleRows(flight.batch, result);
    } catch (error) {
      // A fault of ours: the transport would swallow it, and the callers would wait for ever.
      for (const pending of flight.batch) pending.fail(toWindjammerError(error));
      this.#schedulePump();
    }
    this.#checkIdle();
  }

  #learn(flight: Flight, outcome: Completion["outcome"], computeMs: number | undefined): void {
    const now = performance.now();
    const { replica, batch } = flight;
    const [size, latencyMs] = [batch.length, now - flight.sentAt];
    const { metrics, policy } = this.#parts;
    metrics.batch(size, latencyMs, computeMs);
    if (outcome === "ok") {
      metrics.answered(size, latencyMs, computeMs);
      const predictedMs = policy.predictedMs?.(size, this.#pulling.puller(replica));
      if (predictedMs !== undefined) metrics.predicted(latencyMs / predictedMs);
    }
    // Behind another batch, most of what is not computing is waiting for that one: no part of the way.
    const compute = computeMs === undefined || !flight.isAlone ? {} : { computeMs };
    policy.completed(now, { replica, size, latencyMs, outcome, wasFull: flight.wasFull, ...compute });
  }

  /** The connection broke: its queries go elsewhere, the replica is looked after. */
  async #lost(flight: Flight, why: string): Promise<void> {
    const { replica } = flight;
    const looked = this.#parts.pool.suspect(replica, why);
    const exit = await Promise.race([replica.running.exited, patience(EXIT_DETAIL_MS)]);
    if (exit?.reason === "out-of-memory") this.#learn(flight, "out-of-memory", undefined);
    const text = troubleOf(replica.running, exit?.message ?? why);
    // Only now: until its queries wait again, a drain must not take the queue for idle.
    this.#flights.delete(flight);
    this.#retries.lost(flight, new ReplicaLostError(text, { details: { replica: replica.id } }));
    this.#schedulePump();
    await looked;
  }

  /** So many batches of each sender may lie at a replica: the last one waits for all others. */
  #longestFlightMs(count: number): number {
    return this.#parts.pool.senders * count * this.#parts.version.settings.batchTimeoutMs;
  }

  /** A replica that answered another batch lately may have been at that one, and gets more time for this one. */
  async #overdue(flight: Flight): Promise<void> {
    const { batchTimeoutMs } = this.#parts.version.settings;
    const { replica, batch, sentAt } = flight;
    const why = `did not answer a batch of ${batch.length} within ${batchTimeoutMs} ms and is replaced`;
    const givenUpAt = sentAt + this.#longestFlightMs(replica.maxInFlight);
    const fault = flight.hungAt < givenUpAt ? "late" : "hung";
    flight.hungAt = Infinity;
    const isReplaced = await this.#parts.pool.replaceSilent(replica, { message: why, fault });
    if (flight.isOver) return;
    if (isReplaced) {
      const text = troubleOf(replica.running, why);
      flight.isOver = true;
      this.#flights.delete(flight);
      this.#retries.lost(flight, new ReplicaHungError(text, { details: { replica: replica.id } }));
      this.#schedulePump();
    } else {
      flight.hungAt = Math.min(performance.now() + batchTimeoutMs, givenUpAt);
      this.#timer.wakeBy(flight.hungAt);
    }
  }

  /** Settles what is overdue. Returns when to look again. */
  #sweep(now: number): number {
    const waiting = this.#waiting;
    waiting.expireDue(now);
    for (const flight of this.#flights) {
      for (const pending of flight.batch) {
        if (pending.query.deadlineAt <= now) waiting.drop(pending, "deadline", waiting.expired());
      }
      if (flight.hungAt <= now && !flight.isOver) void this.#overdue(flight);
    }
    if (this.#lonelyUntil() <= now) waiting.failAll("no-replica", () => this.#parts.pool.noReplica());
    this.#pump();
    return this.#nextWake(now);
  }

  #nextWake(now: number): number {
    const next = Math.min(this.#waiting.earliestDeadline(), this.#lonelyUntil(), nextDue(this.#flights));
    return Math.max(next, now + 1);
  }

  #lonelyUntil(): number {
    if (this.#lonelySince === undefined || this.#waiting.length === 0) return Infinity;
    return this.#lonelySince + MAX_WAIT_WITHOUT_REPLICA_MS;
  }

  #checkIdle(): void {
    if (this.#waiting.length > 0 || this.#flights.size > 0) return;
    for (const resolve of this.#onIdle.splice(0)) resolve();
  }
}
