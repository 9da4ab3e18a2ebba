// Prediction cache of one application and version: answers equal queries from memory, and runs equal ones only once.
import { DeadlineExceededError, OverloadedError, type WindjammerError } from "../errors.ts";
import { detachOutputs, detachRow, outputBytes, rowBytes } from "./detached.ts";
import {
  type BatchOutputs,
  DEFAULT_PRIORITY,
  type Prediction,
  type Query,
  type Row,
  type Settlement,
} from "./query.ts";
import { type Listed, RecencyList } from "./recency-list.ts";
import { hashRow, type Keyed, RowMap, type RowHash } from "./row-map.ts";

/** What an entry takes beside its bytes: objects, map slots, typed array headers. Measured with small rows. */
const ENTRY_BYTES = 1200;

export interface CacheOptions {
  /** Keys, values and bookkeeping together stay within this. */
  readonly maxBytes: number;
  /** A result is given out this long after it was stored. */
  readonly ttlMs: number;
  /** Clock, ms. Default `performance.now`. */
  readonly now?: () => number;
  /** For tests of collisions. */
  readonly hash?: RowHash;
}

/** Where queries go that the cache cannot answer: the queue of a version. */
export interface CacheTarget {
  enqueue(query: Query): void;
}

/** A result that is kept. */
interface Stored extends Keyed, Listed<Stored> {
  readonly outputs: BatchOutputs;
  readonly bytes: number;
  readonly expiresAt: number;
}

/** Where a query runs, and what its row hashes to. */
interface Start {
  readonly hash: number;
  readonly target: CacheTarget;
}

/**
 * `submit` takes the place of `enqueue` on the query line. Rows are compared byte by byte. Only results are kept,
 * never errors; the least recently used go first when space is needed.
 *
 * A query equal to one on its way joins it, unless its own deadline is earlier or its class goes first: whoever joined
 * is thus settled in time by the one that runs. Nobody inherits a failure: after an error of the model those that joined
 * are enqueued as if there were no cache; if the one that ran was too late or shed, the most urgent of them runs for the
 * rest. A prediction that comes too late for its own query is kept, and answers whoever waits for an equal one.
 */
export class PredictionCache {
  readonly #maxBytes: number;
  readonly #ttlMs: number;
  readonly #now: () => number;
  readonly #hash: RowHash;
  readonly #stored = new RowMap<Stored>();
  readonly #byUse = new RecencyList<Stored>();
  readonly #listener: RunListener = {
    settled: (running, settlement) => this.#settled(running, settlement),
    late: (running, prediction) => this.#late(running, prediction),
  };
  /** Of queries on their way, the most urgent of each row. */
  readonly #running = new RowMap<RunningQuery>();
  #bytes = 0;

  constructor(options: CacheOptions) {
    this.#maxBytes = options.maxBytes;
    this.#ttlMs = options.ttlMs;
    this.#now = options.now ?? (() => performance.now());
    this.#hash = options.hash ?? hashRow;
  }

  /** Results kept. */
  get size(): number {
    return this.#byUse.size;
  }

  /** Bytes counted for them. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Answers the query from memory ("hit": it is settled before this returns), lets it wait for an equal one
   * ("joined"), or enqueues it ("miss"). It is settled exactly once in any case.
   */
  submit(query: Query, target: CacheTarget): "hit" | "joined" | "miss" {
    const hash = this.#hash(query.row);
    const stored = this.#lookup(query.row, hash);
    if (stored !== undefined) {
      query.settle({ kind: "ok", outputs: stored.outputs, index: 0 });
      return "hit";
    }
    const running = this.#running.get(query.row, hash);
    if (running !== undefined && isAsUrgent(running, query)) {
      running.joined.push(query);
      return "joined";
    }
    this.#run(query, { hash, target });
    return "miss";
  }

  /** Forgets all results. Queries on their way are settled as usual. */
  clear(): void {
    this.#stored.clear();
    this.#byUse.clear();
    this.#bytes = 0;
  }

  #run(query: Query, start: Start): RunningQuery {
    const running = new RunningQuery(query, start, this.#listener);
    const other = this.#running.get(running.row, running.hash);
    if (other === undefined || !isAsUrgent(other, running)) this.#running.set(running);
    start.target.enqueue(running);
    return running;
  }

  /** In this order, so that whoever submits an equal query from within `settle` finds the result. */
  #settled(running: RunningQuery, settlement: Settlement): void {
    const { own, joined, start } = running;
    this.#running.delete(running);
    if (settlement.kind === "error") running.keepRow();
    if (settlement.kind === "ok") this.#store(running, settlement);
    own.settle(settlement);
    if (settlement.kind === "ok") {
      for (const query of joined) query.settle(settlement);
      return;
    }
    const waiting = this.#stillWaiting(running, settlement);
    if (isForLackOfTime(settlement.error)) this.#runTogether(waiting, start);
    else for (const query of waiting) this.#runUnlessStored(query, start);
  }

  /** Of those that joined; settles the others: the error is theirs, too. */
  #stillWaiting(
    running: RunningQuery,
    settlement: Settlement & { readonly kind: "error" },
  ): readonly Query[] {
    const overdue =
      settlement.error instanceof DeadlineExceededError
        ? Math.max(this.#now(), running.deadlineAt)
        : -Infinity;
    return running.joined.filter((query) => {
      // Whose caller has gone needs no run of its own, either.
      if (!query.isAbandoned && query.deadlineAt > overdue) return true;
      query.settle(settlement);
      return false;
    });
  }

  /** The most urgent one runs for the rest; whoever may not wait for it, and for any that is refused at once, runs itself. */
  #runTogether(queries: readonly Query[], start: Start): void {
    let running: RunningQuery | undefined;
    for (const query of queries.toSorted((one, other) => one.deadlineAt - other.deadlineAt)) {
      if (running?.isSettled === false && isAsUrgent(running, query)) running.joined.push(query);
      else running = this.#runUnlessStored(query, start);
    }
  }

  /** Undefined where it was answered from memory. */
  #runUnlessStored(query: Query, start: Start): RunningQuery | undefined {
    const stored = this.#lookup(query.row, start.hash);
    if (stored === undefined) return this.#run(query, start);
    query.settle({ kind: "ok", outputs: stored.outputs, index: 0 });
    return undefined;
  }

  /** It has been settled, and those that joined it run again or have joined another one, which this answers and ends. */
  #late(running: RunningQuery, prediction: Prediction): void {
    const successor = this.#running.get(running.row, running.hash);
    if (successor === undefined) this.#store(running, prediction);
    else successor.settle(prediction);
  }

  #lookup(row: Row, hash: number): Stored | undefined {
    const stored = this.#stored.get(row, hash);
    if (stored === undefined) return undefined;
    if (this.#now() >= stored.expiresAt) {
      this.#remove(stored);
      return undefined;
    }
    this.#byUse.remove(stored);
    this.#byUse.add(stored);
    return stored;
  }

  #store(running: RunningQuery, result: Prediction): void {
    const { row, hash } = running;
    const outputs = this.#ttlMs > 0 ? detached(result) : undefined;
    if (outputs === undefined) return;
    const bytes = ENTRY_BYTES + rowBytes(row) + outputBytes(outputs);
    const former = this.#stored.get(row, hash);
    if (former !== undefined) this.#remove(former);
    if (bytes > this.#maxBytes) return;
    while (this.#byUse.oldest !== undefined && this.#bytes + bytes > this.#maxBytes) {
      this.#remove(this.#byUse.oldest);
    }
    const expiresAt = this.#now() + this.#ttlMs;
    const stored = {
      row: detachRow(row),
      hash,
      outputs,
      bytes,
      expiresAt,
      older: undefined,
      newer: undefined,
    };
    if (!this.#stored.set(stored)) return;
    this.#byUse.add(stored);
    this.#bytes += bytes;
  }

  #remove(stored: Stored): void {
    this.#stored.delete(stored);
    this.#byUse.remove(stored);
    this.#bytes -= stored.bytes;
  }
}

/** Undefined for outputs that cannot be cut into rows: whoever reads them says what is wrong, not the cache. */
function detached(result: Prediction): BatchOutputs | undefined {
  try {
    return detachOutputs(result.outputs, result.index);
  } catch {
    return undefined;
  }
}

/** Whether one may wait for the other. */
function isAsUrgent(running: Query, query: Query): boolean {
  const isSameClassOrBefore = (running.priority ?? DEFAULT_PRIORITY) <= (query.priority ?? DEFAULT_PRIORITY);
  return isSameClassOrBefore && running.deadlineAt <= query.deadlineAt;
}

/** True where the model said nothing of the query: a later try may well succeed. */
function isForLackOfTime(error: WindjammerError): boolean {
  return error instanceof DeadlineExceededError || error instanceof OverloadedError;
}

/** Hears what becomes of queries that run. */
interface RunListener {
  settled(running: RunningQuery, settlement: Settlement): void;
  late(running: RunningQuery, prediction: Prediction): void;
}

/** A query that runs for itself and for those that joined it. */
class RunningQuery implements Query, Keyed {
  row: Row;
  readonly hash: number;
  readonly arrivedAt: number;
  readonly deadlineAt: number;
  readonly priority: number | undefined;
  readonly own: Query;
  readonly start: Start;
  readonly joined: Query[] = [];
  isSettled = false;
  #hasKeptRow = false;
  readonly #listener: RunListener;

  constructor(own: Query, start: Start, listener: RunListener) {
    this.row = own.row;
    this.hash = start.hash;
    this.arrivedAt = own.arrivedAt;
    this.deadlineAt = own.deadlineAt;
    this.priority = own.priority;
    this.own = own;
    this.start = start;
    this.#listener = listener;
  }

  /** It goes on as long as one of the callers waits. */
  get isAbandoned(): boolean {
    return this.own.isAbandoned && this.joined.every((query) => query.isAbandoned);
  }

  set isAbandoned(isAbandoned: boolean) {
    this.own.isAbandoned = isAbandoned;
  }

  /** For a late prediction: what the row is in goes with the caller's request. */
  keepRow(): void {
    this.#hasKeptRow = true;
    this.row = detachRow(this.row);
  }

  settle(settlement: Settlement): void {
    this.isSettled = true;
    this.#listener.settled(this, settlement);
  }

  /** One that was answered by another's prediction needs no second one, and its row may be gone. */
  late(prediction: Prediction): void {
    if (this.#hasKeptRow) this.#listener.late(this, prediction);
  }
}
