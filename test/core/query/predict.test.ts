// What becomes of queries: outcomes, default outputs with their reasons, deadlines, switches, and counts.
import { describe, expect, test } from "vitest";
import {
  DeadlineExceededError,
  InvalidInputError,
  InvalidModelOutputError,
  ModelError,
  NoReplicaError,
  OverloadedError,
  ReplicaHungError,
  ReplicaLostError,
  ShuttingDownError,
  type WindjammerError,
} from "../../../core/errors.ts";
import type { Outcome, Query, Row, Settlement } from "../../../core/query/query.ts";
import { FakeServed, type Fakes, fakes, jsonOutputs, valueManifest, version } from "./fakes.ts";

const doubles = valueManifest("doubles");
const row: Row = { tensors: [{ shape: [1], data: new Uint8Array(8) }], key: "" };

function run(
  parts: Fakes,
  inputs: readonly (Row | WindjammerError)[] = [row],
  timeoutMs?: number,
): Promise<readonly Outcome[]> {
  return new Promise((resolve) => {
    const target = parts.predictor.resolve("digits");
    parts.predictor.predict({ target, inputs, arrivedAt: performance.now(), timeoutMs }, resolve);
  });
}

async function failWith(
  error: WindjammerError,
  trouble?: string,
  options: object = { defaultOutput: null },
): Promise<Outcome | undefined> {
  const parts = fakes(doubles, options, (query) => query.settle({ kind: "error", error }));
  parts.served.trouble = trouble;
  return (await run(parts))[0];
}

describe("default outputs", () => {
  const slo = "Failed to retrieve a prediction response within the specified latency SLO";

  test.each([
    [new DeadlineExceededError("50 ms passed"), "deadline", `${slo}; 50 ms passed`],
    [new OverloadedError("too late"), "shed", `${slo}; too late`],
    [new NoReplicaError("none runs"), "no-replica", "No connected models found for query; none runs"],
    [new ModelError("it threw"), "model-error", "it threw"],
    [new InvalidModelOutputError("two for one"), "model-error", "two for one"],
    [new ReplicaLostError("it went"), "replica-lost", "it went"],
    [new ReplicaHungError("it hung"), "replica-lost", "it hung"],
  ])("stand in for %s", async (error, reason, explanation) => {
    expect(await failWith(error)).toEqual({ kind: "default", output: "null", reason, explanation, error });
    expect(await failWith(error, undefined, {})).toEqual({ kind: "error", error });
  });

  test("tell what happened to the replica, once", async () => {
    const trouble = "replica digits-1-r1 exited with code 1: boom";
    const late = await failWith(new DeadlineExceededError("50 ms passed"), trouble);
    expect(late).toMatchObject({ explanation: `${slo}; 50 ms passed; ${trouble}` });
    const none = await failWith(new NoReplicaError(`no replica: ${trouble}`), trouble);
    expect(none).toMatchObject({
      explanation: `No connected models found for query; no replica: ${trouble}`,
    });
  });

  test.each([[new InvalidInputError("bad")], [new ShuttingDownError("closing")]])(
    "do not hide %s",
    async (error) => {
      expect(await failWith(error)).toEqual({ kind: "error", error });
    },
  );
});

describe("a request", () => {
  test("is answered even where telling what happened fails; the queue does not feel it", async () => {
    const parts = fakes(doubles, { defaultOutput: null }, (query) => {
      expect(() => query.settle({ kind: "error", error: new ModelError("it threw") })).not.toThrow();
    });
    parts.served.lastTrouble = () => {
      throw new RangeError("Invalid string length");
    };
    expect(await run(parts)).toMatchObject([{ kind: "error", error: { code: "INTERNAL" } }]);
  });

  test("that a default output answers is counted for the version that failed", async () => {
    const parts = fakes(doubles, { defaultOutput: null }, (query) =>
      query.settle({ kind: "error", error: new ModelError("it threw") }),
    );
    await run(parts, [row, new InvalidInputError("no")]);
    const text = await parts.metrics.text();
    const prefix = 'windjammer_queries_total{application="digits"';
    expect(text).toContain(`${prefix},model="digits",version="1",kind="default",reason="model-error"} 1`);
    expect(text).toContain(`${prefix},model="digits",version="1",kind="error",reason="INVALID_INPUT"} 1`);
  });

  test("gets its outcomes in order, whichever settles first; refused inputs are never sent", async () => {
    const held: Query[] = [];
    const parts = fakes(doubles, {}, (query) => held.push(query));
    const refused = new InvalidInputError("no");
    const done = run(parts, [row, refused, row]);
    expect(held.length).toBe(2);
    const outputs = jsonOutputs(["0", "1"]);
    held[1]?.settle({ kind: "ok", outputs, index: 1 });
    held[0]?.settle({ kind: "ok", outputs, index: 0 });
    expect(await done).toEqual([
      { kind: "ok", outputs, index: 0, version: "1" },
      { kind: "error", error: refused },
      { kind: "ok", outputs, index: 1, version: "1" },
    ]);
  });

  test("without inputs is answered at once", async () => {
    expect(await run(fakes(doubles), [])).toEqual([]);
  });

  test("has one deadline, the shorter of objective and its own", async () => {
    const parts = fakes(doubles, { latencyObjectiveMs: 100 });
    await run(parts, [row, row], 40);
    const [one, two] = parts.served.received;
    expect(one?.deadlineAt).toBe(two?.deadlineAt);
    expect((one?.deadlineAt ?? 0) - (one?.arrivedAt ?? 0)).toBeCloseTo(40, 6);
  });

  test("is counted once per query, by kind and reason", async () => {
    const errors = [new ModelError("it threw"), new OverloadedError("full")];
    const parts = fakes(doubles, {}, (query) => {
      const error = errors.pop();
      query.settle(
        error === undefined
          ? { kind: "ok", outputs: jsonOutputs(["1"]), index: 0 }
          : { kind: "error", error },
      );
    });
    await run(parts, [row, row, row, row]);
    const text = await parts.metrics.text();
    expect(text).toContain(
      'windjammer_queries_total{application="digits",model="digits",version="1",kind="ok",reason=""} 2',
    );
    expect(text).toContain(
      'windjammer_queries_total{application="digits",model="digits",version="1",kind="error",reason="MODEL_ERROR"} 1',
    );
    expect(text).toContain(
      'windjammer_queries_total{application="digits",model="digits",version="1",kind="error",reason="OVERLOADED"} 1',
    );
    expect(text).toContain(
      'windjammer_query_duration_seconds_count{application="digits",model="digits",version="1"} 4',
    );
  });

  test("with an objective is counted as met, late or missed; without one, and for bad inputs, not", async () => {
    const settlements: Settlement[] = [
      { kind: "error", error: new OverloadedError("full") },
      { kind: "error", error: new InvalidInputError("no number") },
      { kind: "ok", outputs: jsonOutputs(["1"]), index: 0 },
    ];
    const parts = fakes(doubles, { latencyObjectiveMs: 10_000, defaultOutput: null }, (query) => {
      const settlement = settlements.pop();
      if (settlement !== undefined) query.settle(settlement);
    });
    await run(parts, [row, row, row]);
    settlements.push({ kind: "ok", outputs: jsonOutputs(["1"]), index: 0 });
    const arrivedAt = performance.now() - 10_001;
    const target = parts.predictor.resolve("digits");
    await new Promise(
      (resolve) => void parts.predictor.predict({ target, inputs: [row], arrivedAt }, resolve),
    );
    const text = await parts.metrics.text();
    for (const result of ["met", "late", "missed"])
      expect(text).toContain(`windjammer_objective_total{application="digits",result="${result}"} 1\n`);

    const without = fakes(doubles, {});
    await run(without, [row]);
    expect(await without.metrics.text()).not.toContain("windjammer_objective_total{");
  });

  test("that is abandoned marks its queries and is counted as such", async () => {
    const parts = fakes(doubles, {}, () => undefined);
    const target = parts.predictor.resolve("digits");
    const request = { target, inputs: [row], arrivedAt: performance.now() };
    parts.predictor.predict(request, () => undefined).abandon();
    expect(parts.served.received[0]?.isAbandoned).toBe(true);
    parts.served.received[0]?.settle({ kind: "ok", outputs: jsonOutputs(["1"]), index: 0 });
    expect(await parts.metrics.text()).toContain('kind="error",reason="CALLER_GONE"} 1');
  });
});

/** Sends a query on its way, which is not settled. */
function ask(parts: Fakes): Query {
  const target = parts.predictor.resolve("digits");
  parts.predictor.predict({ target, inputs: [row], arrivedAt: performance.now() }, () => undefined);
  const [query] = parts.served.received;
  if (query === undefined) throw new Error("nothing was enqueued");
  return query;
}

describe("a query that is settled after", () => {
  test("its application was removed counts into no series", async () => {
    const parts = fakes(doubles, { latencyObjectiveMs: 1000 }, () => undefined);
    const query = ask(parts);
    parts.application = { ...parts.application, name: "other" };
    parts.changed();
    query.settle({ kind: "ok", outputs: jsonOutputs(["1"]), index: 0 });
    expect(await parts.metrics.text()).not.toContain('application="digits"');
  });

  test("its version was removed counts into no series of it", async () => {
    const parts = fakes(doubles, {}, () => undefined);
    const query = ask(parts);
    parts.metrics.removeVersion("digits", "1");
    query.settle({ kind: "ok", outputs: jsonOutputs(["1"]), index: 0 });
    expect(await parts.metrics.text()).not.toContain('version="1"');
  });
});

describe("a cache", () => {
  const cache = { maxBytes: 1_000_000, ttlMs: 60_000 };
  const other: Row = { tensors: [{ shape: [1], data: new Uint8Array(8).fill(1) }], key: "" };

  test("answers equal queries of the current version, and counts", async () => {
    const parts = fakes(doubles, { cache });
    await run(parts);
    parts.changed();
    expect(await run(parts, [row, other, row])).toMatchObject([
      { kind: "ok" },
      { kind: "ok" },
      { kind: "ok" },
    ]);
    expect(parts.served.received.length).toBe(2);
    const text = await parts.metrics.text();
    expect(text).toContain('windjammer_cache_total{application="digits",result="hit"} 2');
    expect(text).toContain('windjammer_cache_total{application="digits",result="miss"} 2');
    expect(text).toContain('kind="ok",reason=""} 4');
  });

  test("is another one after a switch, and none for an application without", async () => {
    const parts = fakes(doubles, { cache });
    await run(parts);
    const next = version(doubles, "2");
    const two = new FakeServed(next);
    parts.versions.push(next);
    parts.running.set("digits/2", two);
    parts.current = "2";
    parts.changed();
    expect(await run(parts)).toMatchObject([{ version: "2" }]);
    expect(two.received.length).toBe(1);
    const plain = fakes(doubles);
    await run(plain, [row, row]);
    expect(plain.served.received.length).toBe(2);
  });

  test("lets a query join an equal one, and none of them inherits its error", async () => {
    const held: Query[] = [];
    const parts = fakes(doubles, { cache }, (query) => held.push(query));
    const done = run(parts, [row, row]);
    expect(held.length).toBe(1);
    held[0]?.settle({ kind: "error", error: new ReplicaLostError("it went") });
    expect(held.length).toBe(2);
    held[1]?.settle({ kind: "ok", outputs: jsonOutputs(["1"]), index: 0 });
    expect(await done).toMatchObject([{ kind: "error", error: { code: "REPLICA_LOST" } }, { kind: "ok" }]);
  });
});

/** Version 1 drains when the query reaches it; version 2 has taken over. */
function switching(successor = version(doubles, "2")): { parts: Fakes; two: FakeServed } {
  const two = new FakeServed(successor);
  const parts = fakes(doubles, {}, (query) => {
    parts.current = "2";
    parts.changed();
    query.settle({ kind: "error", error: new ShuttingDownError("draining") });
  });
  parts.versions.push(successor);
  parts.running.set("digits/2", two);
  return { parts, two };
}

describe("a switch", () => {
  test("under way takes the query along to the version that took over", async () => {
    const { parts, two } = switching();
    expect(await run(parts)).toMatchObject([{ kind: "ok", version: "2" }]);
    expect(two.received.length).toBe(1);
    expect(await parts.metrics.text()).toContain('kind="ok",reason=""} 1');
  });

  test("to another contract, or away from a version the caller named, gives the error", async () => {
    const { parts } = switching(version(valueManifest("floats"), "2"));
    expect(await run(parts)).toMatchObject([{ kind: "error", error: { code: "SHUTTING_DOWN" } }]);
    const pinned = switching();
    const target = pinned.parts.predictor.resolve("digits", "1");
    const outcomes = await new Promise((resolve) => {
      pinned.parts.predictor.predict({ target, inputs: [row], arrivedAt: performance.now() }, resolve);
    });
    expect(outcomes).toMatchObject([{ kind: "error", error: { code: "SHUTTING_DOWN" } }]);
  });

  test("that drains as well is not followed for ever", async () => {
    const { parts, two } = switching();
    two.answer = (query) => query.settle({ kind: "error", error: new ShuttingDownError("draining too") });
    expect(await run(parts)).toMatchObject([{ kind: "error", error: { message: "draining too" } }]);
    expect(two.received.length).toBe(1);
  });

  test("that deleted the application gives the error", async () => {
    const { parts } = switching();
    parts.served.answer = (query) => {
      parts.application = { name: "renamed", inputType: "doubles" };
      parts.changed();
      query.settle({ kind: "error", error: new ShuttingDownError("draining") });
    };
    expect(await run(parts)).toMatchObject([{ kind: "error", error: { code: "SHUTTING_DOWN" } }]);
  });
});
