// The rules of the slo policy, one by one.
import { describe, expect, test } from "vitest";
import { SloPolicy } from "../../../../core/query/batching/slo.ts";
import { alike, crewOf, pullerOf, replica, ShownQueue } from "./queue-of.ts";
import { simulate } from "./simulation.ts";
import { linear, poisson, type Workload } from "./workloads.ts";

const MAX = 64;

/** A policy that knows latency(n) = 10 + n exactly, has tried sizes up to the maximum, and saw `perMs` arrivals. */
function taught(perMs: number = 0.01, latencyMs: (size: number) => number = linear): SloPolicy {
  const policy = new SloPolicy(MAX);
  for (let round = 0; round < 4; round += 1) {
    for (const size of [1, 3, 6, 10, 16, 25, 39, 60]) {
      policy.completed(0, { size, latencyMs: latencyMs(size), replica, outcome: "ok", wasFull: true });
    }
  }
  for (let arrival = 0; arrival < 65; arrival += 1) {
    policy.admit(-(65 - arrival) / perMs, Infinity, alike(0, 0, 0), crewOf(1));
  }
  return policy;
}

/** Queries with so much time left, at time 0. */
function left(...leftMs: number[]): ShownQueue {
  return new ShownQueue(leftMs.map((deadlineAt) => ({ arrivedAt: deadlineAt - 100, deadlineAt })));
}

/** `count` queries, the first with `from` ms left, each with `step` more. */
function rising(count: number, from: number, step: number): ShownQueue {
  return left(...Array.from({ length: count }, (_, index) => from + index * step));
}

describe("size of a batch", () => {
  test("is the largest that the head's deadline allows", () => {
    // 1.02 × (10 + n) ≤ 40
    expect(taught().cut(0, left(...Array.from({ length: 50 }, () => 40)), pullerOf(1))).toMatchObject({
      take: 29,
      shed: 0,
    });
  });

  test("is never more than waits", () => {
    expect(taught().cut(0, alike(5, 0, 90), pullerOf(1)).take).toBe(5);
  });

  test("is never more than the configured maximum", () => {
    expect(taught().cut(0, alike(500, 0, 10_000), pullerOf(1)).take).toBe(MAX);
  });

  test("is all that waits up to the maximum when there is no deadline, from the first batch on", () => {
    expect(new SloPolicy(MAX).cut(0, alike(40, 0, Infinity), pullerOf(1))).toMatchObject({
      take: 40,
      expired: 0,
      shed: 0,
    });
    expect(new SloPolicy(MAX).cut(0, alike(400, 0, Infinity), pullerOf(1)).take).toBe(MAX);
  });

  test("keeps to the most urgent query when others have no deadline", () => {
    expect(taught().cut(0, left(30, ...Array.from({ length: 40 }, () => Infinity)), pullerOf(1)).take).toBe(
      19,
    );
  });

  test("is one at first, and grows by half and one for each full batch of the size tried", () => {
    const policy = new SloPolicy(MAX);
    const sizes: number[] = [];
    for (let round = 0; round < 8; round += 1) {
      const { take } = policy.cut(round, alike(200, round, 1000), pullerOf(1));
      sizes.push(take);
      policy.completed(round, { size: take, latencyMs: linear(take), replica, outcome: "ok", wasFull: true });
    }
    expect(sizes).toEqual([1, 3, 6, 10, 16, 25, 39, 60]);
  });

  test("does not grow by batches that were not full, or smaller than tried before", () => {
    const policy = new SloPolicy(MAX);
    policy.completed(0, { size: 1, latencyMs: 11, replica, outcome: "ok", wasFull: true });
    expect(policy.describe().maxBatchSize).toBe(3);
    policy.completed(1, { size: 3, latencyMs: 13, replica, outcome: "ok", wasFull: false });
    policy.completed(2, { size: 2, latencyMs: 12, replica, outcome: "ok", wasFull: true });
    expect(policy.describe().maxBatchSize).toBe(3);
  });

  test("leaves time for the way to the container and back, twice", () => {
    const policy = new SloPolicy(MAX);
    for (let round = 0; round < 4; round += 1) {
      for (const size of [1, 3, 6, 10, 16, 25]) {
        const completion = { size, latencyMs: 8 + linear(size), computeMs: linear(size) };
        policy.completed(0, { ...completion, replica, outcome: "ok", wasFull: true });
      }
    }
    // 8 + 1.02 × (8 + 10 + n) ≤ 40: the round trip has 8 ms of overhead, and as much is kept in reserve.
    expect(policy.cut(0, alike(50, 0, 40), pullerOf(1)).take).toBe(13);
  });
});

describe("drops", () => {
  test("heads that cannot be in time even alone are expired, and no others", () => {
    expect(taught().cut(0, left(-5, 3, 11, 90, 95), pullerOf(1))).toMatchObject({
      expired: 3,
      shed: 0,
      take: 2,
    });
  });

  test("when all are hopeless, all are expired", () => {
    expect(taught().cut(0, left(1, 2, 3), pullerOf(1))).toMatchObject({ expired: 3, shed: 0, take: 0 });
  });

  test("the fewest heads are shed when they force batches that fall behind", () => {
    const queue = rising(60, 15, 1.5);
    const { expired, shed, take } = taught(0.8).cut(0, queue, pullerOf(1));
    expect(expired).toBe(0);
    // The head alone allows 4. The 24th has 49.5 ms left, enough for itself and all 36 behind it; the one before not.
    expect({ shed, take }).toEqual({ shed: 23, take: 37 });
  });

  test("heads are shed only until the rate is that of the arrivals, if more wait than one batch takes", () => {
    // 9 in 19 ms keep up with 0.45 a ms: they need 19.4 ms, and the first query with so much left is the 4th.
    expect(taught(0.45).cut(0, rising(60, 15, 1.5), pullerOf(1))).toMatchObject({ shed: 3, take: 9 });
  });

  test("nobody is shed while small batches keep up with what arrives", () => {
    // Alone with the head 4 go in 14 ms: 0.28 a ms.
    expect(taught(0.2).cut(0, rising(60, 15, 1.5), pullerOf(1))).toMatchObject({ shed: 0, take: 4 });
  });

  test("nobody is shed when the batch takes all that waits", () => {
    expect(taught(5).cut(0, rising(4, 15, 1), pullerOf(1))).toMatchObject({ shed: 0, take: 4 });
  });

  test("several replicas share the arrivals, so that fewer are shed", () => {
    expect(taught(0.8).cut(0, rising(60, 15, 1.5), pullerOf(4))).toMatchObject({ shed: 0 });
  });

  test("a policy that has learned nothing drops nobody whose time is not over", () => {
    expect(new SloPolicy(MAX).cut(0, left(-1, 0.5, 1, 2), pullerOf(1))).toMatchObject({
      expired: 1,
      shed: 0,
      take: 1,
    });
  });

  test("the looser class lives longer under overload, and the sum stays near the bound", () => {
    const objectives = [50, 200];
    const workload: Workload = {
      arrivals: poisson(1, 1.5),
      latencyMs: linear,
      replicas: 1,
      seed: 1,
      objectiveMs: (index) => objectives[index % 2] ?? 0,
    };
    const { isInTime, inTime, late, total } = simulate(new SloPolicy(MAX), workload);
    const loose = isInTime.filter((_, index) => index % 2 === 1);
    const sum = loose.reduce((count, one) => count + one, 0);
    expect(sum / loose.length).toBeGreaterThan(0.95);
    expect(inTime / total).toBeGreaterThan(0.55);
    expect(late / total).toBeLessThan(0.02);
  });
});

describe("admission", () => {
  test("refuses a query that would be late behind those that wait, and says when to come again", () => {
    // Batches of at most 64 in 74 ms: 500 take 7 of them.
    expect(taught().admit(0, 300, alike(500, 0, 300), crewOf(1))).toBe(false);
    expect(taught().admit(0, 2000, alike(9000, 0, 2000), crewOf(1))).toBe(false);
    expect([500, 9000].map((length) => taught().retryAfterS(length, crewOf(1)))).toEqual([1, 11]);
    expect(taught().retryAfterS(9000, crewOf(4))).toBe(3);
  });

  test("lets the same query in when replicas share the queue", () => {
    expect(taught().admit(0, 300, alike(500, 0, 300), crewOf(4))).toBe(true);
  });

  test("lets a more urgent query in, since it goes first", () => {
    expect(taught().admit(0, 100, alike(500, 0, 300), crewOf(1))).toBe(true);
  });

  test("lets a looser query in, since all before it are gone by their deadlines", () => {
    expect(taught().admit(0, 300, alike(5000, 0, 100), crewOf(1))).toBe(true);
  });

  test("does not count those that are hopeless already", () => {
    expect(taught().admit(0, 300, alike(5000, -295, 300), crewOf(1))).toBe(true);
  });

  test("lets everyone in before anything is learned", () => {
    expect(new SloPolicy(MAX).admit(0, 1, alike(5000, 0, 1), crewOf(1))).toBe(true);
  });
});

function slowFor30s(size: number, nowMs: number): number {
  return linear(size) * (nowMs > 20_000 && nowMs < 50_000 ? 12 : 1);
}

describe("learning", () => {
  test("failed batches teach nothing", () => {
    const policy = taught();
    const before = policy.describe();
    policy.completed(0, { size: 40, latencyMs: 30_000, replica, outcome: "failed", wasFull: true });
    policy.completed(0, { size: 40, latencyMs: 0.1, replica, outcome: "failed", wasFull: true });
    expect(policy.describe()).toEqual(before);
  });

  test("the state names the curve, its band and the arrivals a second", () => {
    const state = taught(0.5).describe();
    expect(state).toMatchObject({ policy: "slo", maxBatchSize: MAX });
    expect(state.curve?.fixedMs).toBeCloseTo(10, 6);
    expect(state.curve?.perRowMs).toBeCloseTo(1, 6);
    expect(state.curve?.upperFactor).toBeCloseTo(1.02, 6);
    expect(state.curve?.batches).toBe(32);
    expect(state.arrivalRate).toBeCloseTo(500, 6);
    expect(new SloPolicy(8).describe()).toEqual({ policy: "slo", maxBatchSize: 1 });
  });

  test("a policy begins with what another one has learned of the version, and soon knows itself", () => {
    const learned = taught(0.5).describe();
    const policy = new SloPolicy(MAX, learned);
    expect(policy.describe()).toMatchObject({ maxBatchSize: MAX, curve: learned.curve });
    expect(policy.cut(0, left(...Array.from({ length: 50 }, () => 40)), pullerOf(1))).toMatchObject({
      take: 29,
    });
    expect(policy.admit(0, 300, alike(500, 0, 300), crewOf(1))).toBe(false);
    for (let batch = 0; batch < 12; batch += 1) {
      const [size, pace] = [1 + 3 * batch, 2];
      policy.completed(0, { size, latencyMs: pace * linear(size), replica, outcome: "ok", wasFull: false });
    }
    expect((policy.predictedMs(20, pullerOf(1)) ?? 0) / (2 * linear(20))).toBeGreaterThan(0.85);
    // Nothing was learned there either.
    expect(new SloPolicy(MAX, new SloPolicy(MAX).describe()).describe().maxBatchSize).toBe(1);
  });

  test("a model too slow for any deadline is tried now and then, and serves again once it is fast", () => {
    const policy = taught(0.1, (size) => 20 * linear(size));
    const at = (now: number): number => policy.cut(now, alike(3, now, 100), pullerOf(1)).take;
    policy.completed(1000, { size: 1, latencyMs: 220, replica, outcome: "ok", wasFull: true });
    expect(policy.cut(1001, alike(3, 1001, 100), pullerOf(1))).toMatchObject({ expired: 3, take: 0 });
    // After four predicted latencies without news: the query with the most time left.
    expect(policy.cut(1900, alike(3, 1900, 100), pullerOf(1))).toMatchObject({ expired: 2, take: 1 });
    let tries = 0;
    for (let now = 1900; at(now) < 3; now += 11) {
      policy.completed(now, { size: 1, latencyMs: 11, replica, outcome: "ok", wasFull: true });
      tries += 1;
    }
    expect(tries).toBeLessThan(10);
  });

  test("a first batch that was slow does not refuse those behind it", () => {
    const policy = new SloPolicy(MAX);
    policy.completed(400, { size: 1, latencyMs: 400, replica, outcome: "ok", wasFull: true });
    for (let now = 410; now < 600; now += 10) {
      expect(policy.cut(now, alike(1, now, 100), pullerOf(1))).toMatchObject({ expired: 0, take: 1 });
      policy.completed(now + 5, { size: 1, latencyMs: 5, replica, outcome: "ok", wasFull: true });
    }
  });

  test.each([
    { stallMs: 200, objectiveMs: 50 },
    { stallMs: 60, objectiveMs: 20 },
    { stallMs: 400, objectiveMs: 100 },
  ])("one stall of $stallMs ms on the way refuses nobody behind it", ({ stallMs, objectiveMs }) => {
    const policy = new SloPolicy(MAX);
    for (let now = 0, batch = 1; batch < 200; batch += 1) {
      expect(policy.cut(now, alike(1, now, objectiveMs), pullerOf(1))).toMatchObject({ expired: 0, take: 1 });
      const latencyMs = batch === 100 ? stallMs : 5.5;
      now += latencyMs;
      policy.completed(now, { size: 1, latencyMs, computeMs: 5, replica, outcome: "ok", wasFull: true });
    }
  });

  test("a slow phase of half a minute costs the queries of that phase, and only those", () => {
    const arrivals = poisson(3, 0.1);
    const { isInTime, late, total } = simulate(new SloPolicy(MAX), {
      arrivals,
      latencyMs: slowFor30s,
      replicas: 1,
      seed: 3,
    });
    const after = isInTime.filter((_, index) => (arrivals[index] ?? 0) > 52_000);
    expect(after.reduce((sum, one) => sum + one, 0) / after.length).toBeGreaterThan(0.97);
    expect(late / total).toBeLessThan(0.01);
  });

  test("a query with less time than the model takes is not run again and again while others are served", () => {
    const policy = taught();
    policy.completed(0, { size: 1, latencyMs: 11, replica, outcome: "ok", wasFull: true });
    const hopeless = new ShownQueue([{ arrivedAt: 0, deadlineAt: 5 }]);
    expect(policy.cut(1, hopeless, pullerOf(1))).toMatchObject({ expired: 1, take: 0 });
  });
});
