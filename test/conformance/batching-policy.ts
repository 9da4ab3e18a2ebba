// What every batching policy keeps to, whatever its rule.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { BatchingPolicy, Completion, Cut, PolicyState } from "../../core/query/batching/policy.ts";
import { crewOf, pullerOf, replica, ShownQueue } from "../core/query/batching/queue-of.ts";

export interface PolicyCase {
  readonly maxBatchSize: number;
  /** The policy may let a batch wait for more queries. */
  readonly mayWait: boolean;
}

/** Something that happens to a policy, `afterMs` after what happened before. */
type Happening =
  | {
      readonly kind: "cut";
      readonly afterMs: number;
      readonly replicas: number;
      readonly queries: readonly Due[];
    }
  | {
      readonly kind: "admit";
      readonly afterMs: number;
      readonly replicas: number;
      readonly queries: readonly Due[];
    }
  | { readonly kind: "completed"; readonly afterMs: number; readonly completion: Completion };

/** A waiting query, relative to now. */
interface Due {
  readonly waitedMs: number;
  readonly leftMs: number;
}

const dues = fc.array(
  fc.record({
    waitedMs: fc.double({ min: 0, max: 500, noNaN: true }),
    leftMs: fc.oneof(fc.double({ min: -20, max: 400, noNaN: true }), fc.constant(Infinity)),
  }),
  { minLength: 1, maxLength: 60 },
);
// Clocks stand still and sometimes go back.
const afterMs = fc.oneof(fc.constant(0), fc.double({ min: 0, max: 80, noNaN: true }), fc.constant(-5));
const replicas = fc.integer({ min: 1, max: 4 });
const oddLatency = fc.constantFrom(NaN, 0, -1, Infinity, 1e300, 5e-324);
const latencyMs = fc.oneof(
  { weight: 8, arbitrary: fc.double({ min: 0.01, max: 300, noNaN: true }) },
  { weight: 1, arbitrary: oddLatency },
);
const completion: fc.Arbitrary<Completion> = fc.record(
  {
    replica: fc.constantFrom(...crewOf(4)),
    size: fc.integer({ min: 1, max: 64 }),
    latencyMs,
    computeMs: latencyMs,
    outcome: fc.constantFrom("ok", "ok", "ok", "failed", "out-of-memory"),
    wasFull: fc.boolean(),
  },
  { requiredKeys: ["replica", "size", "latencyMs", "outcome", "wasFull"] },
);
const happenings: fc.Arbitrary<Happening[]> = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constant("cut"), afterMs, replicas, queries: dues }),
    fc.record({ kind: fc.constant("admit"), afterMs, replicas, queries: dues }),
    fc.record({ kind: fc.constant("completed"), afterMs, completion }),
  ),
  { maxLength: 60 },
);

function shown(now: number, queries: readonly Due[]): ShownQueue {
  return new ShownQueue(
    queries.map(({ waitedMs, leftMs }) => ({ arrivedAt: now - waitedMs, deadlineAt: now + leftMs })),
  );
}

/** Lets it all happen, and returns what the policy said. */
function play(
  policy: BatchingPolicy,
  all: readonly Happening[],
  check: (cut: Cut, queue: ShownQueue, isSlow: boolean) => void,
): (Cut | boolean | number | PolicyState)[] {
  const said: (Cut | boolean | number | PolicyState)[] = [];
  let now = 1000;
  for (const happening of all) {
    now += happening.afterMs;
    if (happening.kind === "completed") {
      policy.completed(now, happening.completion);
      const retryAfterS = policy.retryAfterS(1000, crewOf(2));
      expect(Number.isInteger(retryAfterS) && retryAfterS >= 1).toBe(true);
      said.push(policy.describe(), retryAfterS);
      continue;
    }
    const queue = shown(now, happening.queries);
    if (happening.kind === "admit") {
      said.push(
        policy.admit(now, now + (happening.queries[0]?.leftMs ?? 0), queue, crewOf(happening.replicas)),
      );
    } else {
      const puller = pullerOf(happening.replicas);
      const cut = policy.cut(now, queue, puller);
      check(cut, queue, (policy.pace?.(puller) ?? 1) > 1);
      said.push(cut);
    }
  }
  return said;
}

/** Holds `make` to the contract in core/query/batching/policy.ts. */
export function batchingPolicySuite(name: string, make: () => BatchingPolicy, policyCase: PolicyCase): void {
  const { maxBatchSize, mayWait } = policyCase;

  function isSound(cut: Cut, queue: ShownQueue, isSlow: boolean): void {
    const left = cut.left ?? 0;
    for (const count of [cut.expired, cut.shed, left, cut.take]) {
      expect(Number.isInteger(count) && count >= 0).toBe(true);
    }
    expect(cut.expired + cut.shed + left + cut.take).toBeLessThanOrEqual(queue.length);
    // What a slow one does not take, is left to the others.
    expect(isSlow ? cut.expired + cut.shed : left).toBe(0);
    expect(cut.take).toBeLessThanOrEqual(maxBatchSize);
    if (cut.expired + cut.shed < queue.length && !isSlow)
      expect(cut.take > 0 || cut.askAgainMs !== undefined).toBe(true);
    if (!mayWait) expect(cut.askAgainMs).toBeUndefined();
    if (cut.askAgainMs !== undefined) expect(cut.askAgainMs).toBeGreaterThan(0);
  }

  describe(`${name}: conformance of a batching policy`, () => {
    test("a cut stays within the queue and the largest batch, and is never idle, whatever happened before", () => {
      fc.assert(fc.property(happenings, (all) => void play(make(), all, isSound)));
    });

    test("who is refused may come again when as many are answered as wait now", () => {
      const policy = make();
      expect(policy.retryAfterS(200, crewOf(1))).toBe(1);
      for (let now = 0; now < 5000; now += 50)
        policy.completed(now, { size: 1, latencyMs: 50, replica, outcome: "ok", wasFull: false });
      expect([
        policy.retryAfterS(200, crewOf(1)),
        policy.retryAfterS(200, crewOf(3)),
        policy.retryAfterS(1, crewOf(1)),
      ]).toEqual([10, 4, 1]);
    });

    test("the same story gives the same decisions", () => {
      fc.assert(
        fc.property(happenings, (all) => {
          const [one, other] = [play(make(), all, isSound), play(make(), all, isSound)];
          expect(one).toEqual(other);
        }),
      );
    });

    test("a cut changes nothing: asked again, the policy says the same", () => {
      fc.assert(
        fc.property(happenings, dues, (all, queries) => {
          const policy = make();
          play(policy, all, () => {});
          const ask = (): Cut => policy.cut(5000, shown(5000, queries), pullerOf(4));
          expect(ask()).toEqual(ask());
        }),
      );
    });

    test("queries without a deadline are never dropped or refused", () => {
      fc.assert(
        fc.property(happenings, fc.integer({ min: 1, max: 200 }), (all, count) => {
          const policy = make();
          play(policy, all, () => {});
          const queue = shown(
            5000,
            Array.from({ length: count }, () => ({ waitedMs: 1e6, leftMs: Infinity })),
          );
          expect(policy.admit(5000, Infinity, queue, crewOf(1))).toBe(true);
          expect(policy.cut(5000, queue, pullerOf(1))).toMatchObject({ expired: 0, shed: 0 });
        }),
      );
    });

    test("every query is taken or dropped in the end", () => {
      fc.assert(
        fc.property(happenings, dues, (all, queries) => {
          const policy = make();
          play(policy, all, () => {});
          let now = 5000;
          let left = queries.map(({ waitedMs, leftMs }) => ({
            arrivedAt: now - waitedMs,
            deadlineAt: now + leftMs,
          }));
          for (let round = 0; left.length > 0; round += 1) {
            expect(round).toBeLessThanOrEqual(2 * queries.length);
            const queue = new ShownQueue(left);
            const cut = policy.cut(now, queue, pullerOf(1));
            const rest = Array.from({ length: queue.length }, (_, index) => ({
              arrivedAt: queue.arrivedAt(index),
              deadlineAt: queue.deadlineAt(index),
            }));
            left = rest.slice(cut.expired + cut.shed + cut.take);
            now += cut.askAgainMs ?? 10;
            if (cut.take > 0)
              policy.completed(now, { size: cut.take, latencyMs: 10, replica, outcome: "ok", wasFull: true });
          }
        }),
      );
    });

    test("a batch that runs out of memory is never cut as large again", () => {
      const policy = make();
      policy.completed(0, { size: 3, latencyMs: 5, replica, outcome: "out-of-memory", wasFull: true });
      expect(policy.describe().maxBatchSize).toBeLessThanOrEqual(2);
      policy.completed(0, { size: 1, latencyMs: 5, replica, outcome: "out-of-memory", wasFull: true });
      for (let round = 0; round < 20; round += 1) {
        policy.completed(round, { size: 1, latencyMs: 5, replica, outcome: "ok", wasFull: true });
      }
      const queue = shown(
        100,
        Array.from({ length: 50 }, () => ({ waitedMs: 1000, leftMs: Infinity })),
      );
      expect(policy.cut(100, queue, pullerOf(1)).take).toBe(1);
    });

    test("a queue of 10,000 is looked at in few places", () => {
      const policy = make();
      for (let size = 1; size <= 32; size += 1) {
        policy.completed(size, { size, latencyMs: 10 + size, replica, outcome: "ok", wasFull: true });
        policy.admit(size, size + 100, shown(size, [{ waitedMs: 0, leftMs: 100 }]), crewOf(1));
      }
      const queue = shown(
        1000,
        Array.from({ length: 10_000 }, (_, index) => ({ waitedMs: 100, leftMs: index / 100 })),
      );
      policy.admit(1000, 1100, queue, crewOf(1));
      policy.cut(1000, queue, pullerOf(1));
      expect(queue.looks).toBeLessThan(4 * maxBatchSize + 150);
    });
  });
}
