// The prediction cache: hits, joins, failures, limits.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { encodeBytes, type Tensor } from "../../../containers/tensors.ts";
import {
  DeadlineExceededError,
  ModelError,
  OverloadedError,
  type WindjammerError,
} from "../../../core/errors.ts";
import { type CacheOptions, PredictionCache } from "../../../core/query/cache.ts";
import { BatchOutputs, type Query, type Row, type Settlement } from "../../../core/query/query.ts";

function rowOf(...values: number[]): Row {
  return { key: "", tensors: [{ shape: [values.length], data: Uint8Array.from(values) }] };
}

class Asked implements Query {
  readonly row: Row;
  readonly arrivedAt = 0;
  readonly deadlineAt: number;
  readonly priority: number | undefined;
  isAbandoned = false;
  readonly settlements: Settlement[] = [];

  constructor(row: Row, deadlineAt: number = Infinity, priority?: number) {
    this.row = row;
    this.deadlineAt = deadlineAt;
    this.priority = priority;
  }

  settle(settlement: Settlement): void {
    this.settlements.push(settlement);
  }

  /** The first number of the result; the error's code; undefined while nothing came. Never settled twice. */
  get result(): number | string | undefined {
    expect(this.settlements.length).toBeLessThanOrEqual(1);
    const [settlement] = this.settlements;
    if (settlement?.kind !== "ok") return settlement?.error.code;
    const { outputs, index } = settlement;
    const [tensor] = outputs.tensors;
    if (tensor === undefined) return undefined;
    return tensor.data[(index * tensor.data.byteLength) / outputs.count];
  }
}

/** Stands at the place of the queue: keeps what is enqueued until the test settles it. */
class Queue {
  readonly waiting: Query[] = [];

  enqueue(query: Query): void {
    this.waiting.push(query);
  }

  next(): Query {
    const query = this.waiting.shift();
    if (query === undefined) throw new Error("nothing was enqueued");
    return query;
  }

  succeed(value: number): void {
    this.next().settle({ kind: "ok", outputs: outputsOf(value), index: 0 });
  }

  fail(error: WindjammerError = new DeadlineExceededError("too late")): void {
    this.next().settle({ kind: "error", error });
  }
}

/** A batch of one-byte outputs. */
function outputsOf(...values: number[]): BatchOutputs {
  const data = Uint8Array.from(values);
  return new BatchOutputs([{ name: "y", datatype: "UINT8", shape: [values.length, 1], data }], values.length);
}

function cacheOf(options: Partial<CacheOptions> = {}): PredictionCache {
  return new PredictionCache({ maxBytes: 1e6, ttlMs: 1e6, now: () => 0, ...options });
}

/** Submits a query for the row and answers it with `value` if it is enqueued. */
function fill(cache: PredictionCache, row: Row, value: number): string {
  const queue = new Queue();
  const how = cache.submit(new Asked(row), queue);
  if (how === "miss") queue.succeed(value);
  return how;
}

function peek(cache: PredictionCache, row: Row): Asked["result"] {
  const asked = new Asked(row);
  cache.submit(asked, new Queue());
  return asked.result;
}

describe("hits", () => {
  test("an equal query is answered from memory, before submit returns", () => {
    const cache = cacheOf();
    const queue = new Queue();
    const first = new Asked(rowOf(1, 2, 3));
    expect(cache.submit(first, queue)).toBe("miss");
    queue.succeed(7);
    expect(first.result).toBe(7);
    const second = new Asked(rowOf(1, 2, 3));
    expect(cache.submit(second, queue)).toBe("hit");
    expect(second.result).toBe(7);
    expect(queue.waiting).toEqual([]);
  });

  test("rows of equal bytes but other shapes, or split otherwise into tensors, are others", () => {
    const cache = cacheOf();
    const data = Uint8Array.from([1, 2, 3, 4]);
    const rows: Row[] = [
      { key: "", tensors: [{ shape: [4], data }] },
      { key: "", tensors: [{ shape: [2, 2], data }] },
      { key: "", tensors: [{ shape: [1, 4], data }] },
      {
        key: "",
        tensors: [
          { shape: [2], data: data.subarray(0, 2) },
          { shape: [2], data: data.subarray(2) },
        ],
      },
      { key: "", tensors: [] },
    ];
    for (const [index, row] of rows.entries()) expect(fill(cache, row, index)).toBe("miss");
    for (const [index, row] of rows.entries()) expect(peek(cache, row)).toBe(index);
  });

  test("rows whose hashes are equal are told apart by their bytes", () => {
    const cache = cacheOf({ hash: () => 42 });
    for (let value = 0; value < 20; value += 1) fill(cache, rowOf(value, 9), value);
    for (let value = 0; value < 20; value += 1) expect(peek(cache, rowOf(value, 9))).toBe(value);
    expect(peek(cache, rowOf(20, 9))).toBeUndefined();
    expect(cache.size).toBe(20);
  });

  test("rows made up to collide are not kept beyond a few, which every look-up would compare", () => {
    const cache = cacheOf({ hash: () => 42 });
    for (let value = 0; value < 100; value += 1) fill(cache, rowOf(value, 9), value);
    expect(cache.size).toBe(32);
    expect(peek(cache, rowOf(5, 9))).toBe(5);
  });

  test("colliding rows on their way are not joined", () => {
    const cache = cacheOf({ hash: () => 42 });
    const queue = new Queue();
    const [one, other] = [new Asked(rowOf(1)), new Asked(rowOf(2))];
    expect([cache.submit(one, queue), cache.submit(other, queue)]).toEqual(["miss", "miss"]);
    queue.succeed(1);
    queue.succeed(2);
    expect([one.result, other.result]).toEqual([1, 2]);
  });

  test("each row of a batch is kept with its own result, and the batch is not kept alive", () => {
    const cache = cacheOf();
    const queue = new Queue();
    const body = Buffer.from([1, 2, 3, 4, 5, 6]);
    const rows = [0, 1, 2].map((index): Row => {
      return { key: "", tensors: [{ shape: [2], data: body.subarray(index * 2, index * 2 + 2) }] };
    });
    for (const row of rows) cache.submit(new Asked(row), queue);
    const outputs = outputsOf(10, 20, 30);
    for (let index = 0; index < 3; index += 1) queue.next().settle({ kind: "ok", outputs, index });
    body.fill(0);
    outputs.tensors[0]?.data.fill(0);
    expect([rowOf(1, 2), rowOf(3, 4), rowOf(5, 6)].map((row) => peek(cache, row))).toEqual([10, 20, 30]);
    const asked = new Asked(rowOf(3, 4));
    cache.submit(asked, queue);
    const [settlement] = asked.settlements;
    if (settlement?.kind !== "ok") throw new Error("no hit");
    expect(settlement.outputs.count).toBe(1);
    expect(settlement.outputs.tensors[0]).toMatchObject({ shape: [1, 1] });
    expect(settlement.outputs.tensors[0]?.data.buffer.byteLength).toBe(1);
  });

  test("outputs of several elements a row, of bytes and of numbers, are cut out whole", () => {
    const cache = cacheOf();
    const queue = new Queue();
    const texts = ["a", "bb", "ccc", "", "e", "ff"].map((text) => Buffer.from(text));
    const tensors: Tensor[] = [
      { name: "labels", datatype: "BYTES", shape: [3, 2], data: encodeBytes(texts), contentType: "str" },
      {
        name: "scores",
        datatype: "INT16",
        shape: [3, 2],
        data: new Uint8Array(new Int16Array([1, 2, 3, 4, 5, 6]).buffer),
      },
    ];
    cache.submit(new Asked(rowOf(1)), queue);
    queue.next().settle({ kind: "ok", outputs: new BatchOutputs(tensors, 3), index: 1 });
    const asked = new Asked(rowOf(1));
    cache.submit(asked, queue);
    const [settlement] = asked.settlements;
    if (settlement?.kind !== "ok") throw new Error("no hit");
    const [labels, scores] = settlement.outputs.tensors;
    if (labels === undefined || scores === undefined) throw new Error("an output is missing");
    expect(settlement.outputs.elements(labels).map((bytes) => Buffer.from(bytes).toString())).toEqual([
      "ccc",
      "",
    ]);
    expect(labels).toMatchObject({ name: "labels", shape: [1, 2], contentType: "str" });
    // Cut elements take many times what is counted for their bytes: each reader has them anew.
    expect(settlement.outputs.elements(labels)).not.toBe(settlement.outputs.elements(labels));
    expect([...new Int16Array(scores.data.buffer)]).toEqual([3, 4]);
  });

  test("outputs without a batch axis keep their shape", () => {
    const cache = cacheOf();
    const queue = new Queue();
    cache.submit(new Asked(rowOf(1)), queue);
    const tensor: Tensor = {
      name: "y",
      datatype: "UINT8",
      shape: [2, 2],
      data: Uint8Array.from([5, 6, 7, 8]),
    };
    queue.next().settle({ kind: "ok", outputs: new BatchOutputs([tensor], 1), index: 0 });
    const asked = new Asked(rowOf(1));
    cache.submit(asked, queue);
    expect(asked.settlements[0]).toMatchObject({
      outputs: { tensors: [{ shape: [2, 2], data: tensor.data }] },
    });
  });
});

describe("joins", () => {
  test("equal queries on their way run once, and all get the result", () => {
    const cache = cacheOf();
    const queue = new Queue();
    const asked = Array.from({ length: 100 }, () => new Asked(rowOf(1, 2)));
    const how = asked.map((query) => cache.submit(query, queue));
    expect(how).toEqual(["miss", ...Array.from({ length: 99 }, () => "joined")]);
    expect(queue.waiting.length).toBe(1);
    queue.succeed(3);
    expect(new Set(asked.map(({ result }) => result))).toEqual(new Set([3]));
  });

  test.each([new DeadlineExceededError("too late"), new OverloadedError("too many", { retryAfterS: 1 })])(
    "of those that joined one that was late or shed the most urgent runs for the rest: $kind.code",
    (error) => {
      const cache = cacheOf();
      const queue = new Queue();
      const asked = [50, 80, Infinity, 60].map((deadlineAt) => new Asked(rowOf(1), deadlineAt));
      for (const query of asked) cache.submit(query, queue);
      queue.fail(error);
      expect(asked.map(({ result }) => result)).toEqual([error.code, undefined, undefined, undefined]);
      expect(queue.waiting.map(({ deadlineAt }) => deadlineAt)).toEqual([60]);
      queue.fail(error);
      expect(queue.waiting.map(({ deadlineAt }) => deadlineAt)).toEqual([80]);
      const later = new Asked(rowOf(1), 90);
      expect(cache.submit(later, queue)).toBe("joined");
      queue.succeed(5);
      expect([...asked, later].map(({ result }) => result)).toEqual([error.code, 5, 5, error.code, 5]);
      expect(peek(cache, rowOf(1))).toBe(5);
    },
  );

  test("those that joined one that expired expire with it where they are due", () => {
    let now = 0;
    const cache = cacheOf({ now: () => now });
    const queue = new Queue();
    const asked = [50, 50, 70, 80].map((deadlineAt) => new Asked(rowOf(1), deadlineAt));
    for (const query of asked) cache.submit(query, queue);
    now = 71;
    queue.fail();
    const late = "DEADLINE_EXCEEDED";
    expect(asked.map(({ result }) => result)).toEqual([late, late, late, undefined]);
    expect(queue.waiting.map(({ deadlineAt }) => deadlineAt)).toEqual([80]);
  });

  test("after an error of the model each runs alone, since nobody inherits it", () => {
    const cache = cacheOf();
    const queue = new Queue();
    const asked = [10, 20, 30].map((deadlineAt) => new Asked(rowOf(1), deadlineAt));
    for (const query of asked) cache.submit(query, queue);
    queue.fail(new ModelError("boom"));
    const late = new Asked(rowOf(1), 40);
    expect(cache.submit(late, queue)).toBe("joined");
    expect(queue.waiting.map(({ deadlineAt }) => deadlineAt)).toEqual([20, 30]);
    queue.succeed(1);
    queue.succeed(2);
    expect([...asked, late].map(({ result }) => result)).toEqual(["MODEL_ERROR", 1, 2, 1]);
  });

  test("ten thousand that joined one that is refused are refused each, without a call within a call", () => {
    const cache = cacheOf();
    const queue = new Queue();
    const asked = Array.from({ length: 10_000 }, (_, index) => new Asked(rowOf(1), 50 + index));
    for (const query of asked) cache.submit(query, queue);
    const error = new OverloadedError("too many", { retryAfterS: 1 });
    queue.enqueue = (query: Query): void => query.settle({ kind: "error", error });
    queue.fail(error);
    expect(new Set(asked.map(({ result }) => result))).toEqual(new Set(["OVERLOADED"]));
  });

  test("a prediction that comes too late for its query is kept", () => {
    const cache = cacheOf();
    const queue = new Queue();
    const asked = new Asked(rowOf(1), 50);
    cache.submit(asked, queue);
    const running = queue.next();
    running.settle({ kind: "error", error: new DeadlineExceededError("too late") });
    // As a server does with the memory of a request that was answered.
    structuredClone(asked.row.tensors[0]?.data.buffer, {
      transfer: [asked.row.tensors[0]?.data.buffer as ArrayBuffer],
    });
    running.late?.({ kind: "ok", outputs: outputsOf(3, 4), index: 1 });
    expect([asked.result, peek(cache, rowOf(1))]).toEqual(["DEADLINE_EXCEEDED", 4]);
  });

  test("a late prediction answers those that wait for an equal one, and the queue may forget that one", () => {
    const cache = cacheOf();
    const queue = new Queue();
    const asked = [50, 60, 70].map((deadlineAt) => new Asked(rowOf(1), deadlineAt));
    for (const query of asked) cache.submit(query, queue);
    const running = queue.next();
    running.settle({ kind: "error", error: new DeadlineExceededError("too late") });
    const successor = queue.next();
    expect(successor.isSettled).toBe(false);
    running.late?.({ kind: "ok", outputs: outputsOf(4), index: 0 });
    expect(asked.map(({ result }) => result)).toEqual(["DEADLINE_EXCEEDED", 4, 4]);
    expect([successor.isSettled, peek(cache, rowOf(1))]).toEqual([true, 4]);
  });

  test("a query due before the one on its way runs itself, and others join it", () => {
    const cache = cacheOf();
    const queue = new Queue();
    const slow = new Asked(rowOf(1), 1000);
    const urgent = new Asked(rowOf(1), 20);
    const third = new Asked(rowOf(1), 500);
    const how = [slow, urgent, third].map((query) => cache.submit(query, queue));
    expect(how).toEqual(["miss", "miss", "joined"]);
    queue.waiting.reverse();
    queue.succeed(8);
    expect([slow.result, urgent.result, third.result]).toEqual([undefined, 8, 8]);
    queue.succeed(9);
    expect(slow.result).toBe(9);
  });

  test("a query is enqueued in its own class, and joins none of a later one", () => {
    const cache = cacheOf();
    const queue = new Queue();
    const submit = (priority: number): string => cache.submit(new Asked(rowOf(1), Infinity, priority), queue);
    expect([10, 1, 5, 10].map(submit)).toEqual(["miss", "miss", "joined", "joined"]);
    expect(queue.waiting.map(({ priority }) => priority)).toEqual([10, 1]);
  });

  test("errors are not kept", () => {
    const cache = cacheOf();
    const queue = new Queue();
    const first = new Asked(rowOf(1));
    cache.submit(first, queue);
    queue.fail(new ModelError("boom"));
    expect(first.result).toBe("MODEL_ERROR");
    expect(cache.size).toBe(0);
    expect(fill(cache, rowOf(1), 2)).toBe("miss");
  });

  test("a query whose caller has gone is kept going by those that joined it", () => {
    const cache = cacheOf();
    const queue = new Queue();
    const [gone, joined] = [new Asked(rowOf(1)), new Asked(rowOf(1))];
    cache.submit(gone, queue);
    gone.isAbandoned = true;
    expect(queue.waiting[0]?.isAbandoned).toBe(true);
    cache.submit(joined, queue);
    expect(queue.waiting[0]?.isAbandoned).toBe(false);
    joined.isAbandoned = true;
    expect(queue.waiting[0]?.isAbandoned).toBe(true);
  });

  test("of queries whose callers have all gone none is enqueued again", () => {
    const cache = cacheOf();
    const queue = new Queue();
    const gone = [new Asked(rowOf(1)), new Asked(rowOf(1)), new Asked(rowOf(1))];
    for (const query of gone) cache.submit(query, queue);
    for (const query of gone) query.isAbandoned = true;
    queue.fail(new ModelError("boom"));
    expect(queue.waiting).toEqual([]);
    expect(gone.map(({ settlements }) => settlements.length)).toEqual([1, 1, 1]);
  });

  test("an equal query submitted from within settle finds the result", () => {
    const cache = cacheOf();
    const queue = new Queue();
    const again = new Asked(rowOf(1));
    const first = new Asked(rowOf(1));
    let how = "";
    first.settle = () => {
      how = cache.submit(again, queue);
    };
    cache.submit(first, queue);
    queue.succeed(6);
    expect([how, again.result]).toEqual(["hit", 6]);
  });

  test("a queue that refuses at once settles every query once", () => {
    const cache = cacheOf();
    const queue = {
      enqueue: (query: Query): void =>
        query.settle({ kind: "error", error: new DeadlineExceededError("full") }),
    };
    const asked = new Asked(rowOf(1));
    expect(cache.submit(asked, queue)).toBe("miss");
    expect(asked.result).toBe("DEADLINE_EXCEEDED");
    expect(cache.submit(new Asked(rowOf(1)), queue)).toBe("miss");
  });
});

test("outputs that cannot be cut into rows are handed on, and not kept", () => {
  const cache = cacheOf();
  const queue = new Queue();
  const asked = new Asked(rowOf(1));
  cache.submit(asked, queue);
  const broken: Tensor = { name: "y", datatype: "BYTES", shape: [2], data: Uint8Array.from([9, 0, 0, 0]) };
  queue.next().settle({ kind: "ok", outputs: new BatchOutputs([broken], 2), index: 0 });
  expect(asked.settlements).toMatchObject([{ kind: "ok", outputs: { tensors: [broken] } }]);
  expect(cache.size).toBe(0);
});

describe("limits", () => {
  test("a result is given out until its time is over, counted from when it was stored", () => {
    let now = 1000;
    const cache = cacheOf({ ttlMs: 50, now: () => now });
    fill(cache, rowOf(1), 1);
    now = 1049;
    expect(peek(cache, rowOf(1))).toBe(1);
    now = 1050;
    expect(fill(cache, rowOf(1), 2)).toBe("miss");
    expect([cache.size, peek(cache, rowOf(1))]).toEqual([1, 2]);
    now = 1099;
    expect(peek(cache, rowOf(1))).toBe(2);
  });

  test("the least recently used go first, and the bytes counted stay within the limit", () => {
    const single = cacheOf();
    fill(single, rowOf(1, 2), 1);
    const maxBytes = 3 * single.bytes + 1;
    const cache = cacheOf({ maxBytes });
    for (const value of [1, 2, 3]) fill(cache, rowOf(value, 0), value);
    expect(cache.bytes).toBe(3 * single.bytes);
    expect(peek(cache, rowOf(1, 0))).toBe(1);
    fill(cache, rowOf(4, 0), 4);
    expect(cache.size).toBe(3);
    expect(cache.bytes).toBeLessThanOrEqual(maxBytes);
    expect([1, 2, 3, 4].map((value) => peek(cache, rowOf(value, 0)))).toEqual([1, undefined, 3, 4]);
  });

  test("keys and values count", () => {
    const [small, longKey] = [cacheOf(), cacheOf()];
    fill(small, rowOf(1), 1);
    fill(longKey, rowOf(...Array.from({ length: 101 }, () => 1)), 1);
    expect(longKey.bytes - small.bytes).toBe(100);
    const queue = new Queue();
    const longValue = cacheOf();
    longValue.submit(new Asked(rowOf(1)), queue);
    const tensor: Tensor = { name: "y", datatype: "UINT8", shape: [1, 51], data: new Uint8Array(51) };
    queue.next().settle({ kind: "ok", outputs: new BatchOutputs([tensor], 1), index: 0 });
    expect(longValue.bytes - small.bytes).toBe(50);
  });

  test("what is larger than the cache is not kept, and pushes nothing out", () => {
    const cache = cacheOf({ maxBytes: 3000 });
    fill(cache, rowOf(1), 1);
    fill(cache, rowOf(...Array.from({ length: 5000 }, () => 1)), 2);
    expect([cache.size, peek(cache, rowOf(1))]).toEqual([1, 1]);
  });

  test("clear forgets results, not queries on their way", () => {
    const cache = cacheOf();
    const queue = new Queue();
    fill(cache, rowOf(1), 1);
    const running = new Asked(rowOf(2));
    cache.submit(running, queue);
    cache.clear();
    expect([cache.size, cache.bytes, peek(cache, rowOf(1))]).toEqual([0, 0, undefined]);
    queue.succeed(2);
    expect(running.result).toBe(2);
  });
});

test("whatever happens, every query is settled once and with its own result", () => {
  const step = fc.record({
    value: fc.integer({ min: 0, max: 6 }),
    deadlineAt: fc.integer({ min: 0, max: 3 }),
    settles: fc.integer({ min: 0, max: 3 }),
    fails: fc.boolean(),
    passedMs: fc.integer({ min: 0, max: 30 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.boolean(), (steps, collide) => {
      let now = 0;
      const hash = collide ? { hash: () => 1 } : {};
      const cache = cacheOf({ maxBytes: 4000, ttlMs: 50, now: () => now, ...hash });
      const queue = new Queue();
      const all: { query: Asked; value: number }[] = [];
      const settleOne = (fails: boolean): void => {
        const query = queue.next();
        if (query.isSettled === true) return;
        const value = query.row.tensors[0]?.data[0] ?? NaN;
        if (!fails) query.settle({ kind: "ok", outputs: outputsOf(value), index: 0 });
        else query.settle({ kind: "error", error: new DeadlineExceededError("too late") });
        if (fails && value % 2 === 0) query.late?.({ kind: "ok", outputs: outputsOf(value), index: 0 });
      };
      for (const { value, deadlineAt, settles, fails, passedMs } of steps) {
        now += passedMs;
        const query = new Asked(rowOf(value), deadlineAt);
        all.push({ query, value });
        cache.submit(query, queue);
        for (let i = 0; i < settles && queue.waiting.length > 0; i += 1) settleOne(fails);
        expect(cache.bytes).toBeLessThanOrEqual(4000);
      }
      while (queue.waiting.length > 0) settleOne(false);
      for (const { query, value } of all) {
        expect(query.settlements.length).toBe(1);
        expect([value, "DEADLINE_EXCEEDED"]).toContain(query.result);
      }
    }),
    { numRuns: 300 },
  );
});
