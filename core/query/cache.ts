// Prediction cache of one application and version: answers equal queries from memory, and runs equal ones only once.
import { detachOutputs, detachRow, outputBytes, rowBytes } from "./detached.ts";
import { type BatchOutputs, DEFAULT_PRIORITY, type Query, type Row, type Settlement } from "./query.ts";
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

/** What it takes to run a query. */
interface Start {
  readonly query: Query;
  readonly hash: number;
  readonly target: CacheTarget;
}

/**
 * `submit` takes the place of `enqueue` on the query line. Rows are compared byte by byte. Only results are kept,
 * never errors; the least recently used go first when space is needed.
 *
 * A query equal to one on its way joins it, unless its own deadline is earlier or its class goes first: whoever joined
 * is thus settled in time by the one that runs. If that one fails or is dropped, those that joined are enqueued as if
 * there were no cache, so nobody inherits a failure.
 */
export class PredictionCache {
  readonly #maxBytes: number;
  readonly #ttlMs: number;
  readonly #now: () => number;
  readonly #hash: RowHash;
  readonly #stored = new RowMap<Stored>();
  readonly #byUse = new RecencyList<Stored>();
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
    this.#run({ query, hash, target });
    return "miss";
  }

  /** Forgets all results. Queries on their way are settled as usual. */
  clear(): void {
    this.#stored.clear();
    this.#byUse.clear();
    this.#bytes = 0;
  }

  #run(start: Start): void {
    const running = new RunningQuery(start, (settlement) => this.#settled(running, start, settlement));
    const other = this.#running.get(running.row, running.hash);
    if (other === undefined || !isAsUrgent(other, running)) this.#running.set(running);
    start.target.enqueue(running);
  }

  /** In this order, so that whoever submits an equal query from within `settle` finds the result. */
  #settled(running: RunningQuery, start: Start, settlement: Settlement): void {
    this.#running.delete(running);
    if (settlement.kind === "ok") this.#store(running, settlement);
    start.query.settle(settlement);
    for (const query of running.joined) {
      // Whose caller has gone too needs no run of its own.
      if (settlement.kind === "ok" || query.isAbandoned) query.settle(settlement);
      else this.#runUnlessStored({ ...start, query });
    }
  }

  #runUnlessStored(start: Start): void {
    const stored = this.#lookup(start.query.row, start.hash);
    if (stored === undefined) this.#run(start);
    else start.query.settle({ kind: "ok", outputs: stored.outputs, index: 0 });
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

  #store(running: RunningQuery, result: Extract<Settlement, { kind: "ok" }>): void {
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
function detached(result: Extract<Settlement, { kind: "ok" }>): BatchOutputs | undefined {
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

/** A query that runs for itself and for those that joined it. */
class RunningQuery implements Query, Keyed {
  readonly row: Row;
  readonly hash: number;
  readonly arrivedAt: number;
  readonly deadlineAt: number;
  readonly priority: number | undefined;
  readonly joined: Query[] = [];
  readonly settle: (settlement: Settlement) => void;
  readonly #own: Query;

  constructor(start: Start, settle: (settlement: Settlement) => void) {
    this.row = start.query.row;
    this.hash = start.hash;
    this.arrivedAt = start.query.arrivedAt;
    this.deadlineAt = start.query.deadlineAt;
    this.priority = start.query.priority;
    this.settle = settle;
    this.#own = start.query;
  }

  /** It goes on as long as one of the callers waits. */
  get isAbandoned(): boolean {
    return this.#own.isAbandoned && this.joined.every((query) => query.isAbandoned);
  }

  set isAbandoned(isAbandoned: boolean) {
    this.#own.isAbandoned = isAbandoned;
  }
}
