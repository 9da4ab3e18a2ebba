// Clipper's own algorithm: how it finds its size, and what the reference says of it under load.
import { describe, expect, test } from "vitest";
import { AimdPolicy } from "../../../../core/query/batching/aimd.ts";
import { alike, replica, ShownQueue } from "./queue-of.ts";
import { simulate } from "./simulation.ts";
import { bursty, linear, MAX_BATCH_SIZE, poisson } from "./workloads.ts";

const OBJECTIVE_MS = 100;
const waiting = alike(200, 0, OBJECTIVE_MS);

/** Runs full batches of a model of 10 + n ms; gives their sizes. */
function sizes(policy: AimdPolicy, batches: number, latencyMs: (size: number) => number = linear): number[] {
  return Array.from({ length: batches }, () => {
    const { take } = policy.cut(0, waiting);
    policy.completed(0, { size: take, latencyMs: latencyMs(take), replica, outcome: "ok", wasFull: true });
    return take;
  });
}

describe("aimd", () => {
  test("takes one row more after each batch that met the objective, up to the largest that does", () => {
    const found = sizes(new AimdPolicy(256), 300);
    expect(found.slice(0, 6)).toEqual([1, 2, 3, 4, 5, 6]);
    const settled = found.slice(100);
    expect(Math.max(...settled)).toBe(91);
    // A tenth less after each miss, and no further.
    expect(Math.min(...settled)).toBe(81);
  });

  test("never takes more than it may, and never less than one", () => {
    expect(Math.max(...sizes(new AimdPolicy(8), 50))).toBe(8);
    const policy = new AimdPolicy(64);
    sizes(policy, 40);
    expect(sizes(policy, 100, () => 500).at(-1)).toBe(1);
  });

  test("learns nothing from small batches that had no more rows, nor from failures", () => {
    const policy = new AimdPolicy(64);
    policy.cut(0, waiting);
    policy.completed(0, { size: 1, latencyMs: 5, replica, outcome: "ok", wasFull: false });
    policy.completed(0, { size: 1, latencyMs: 900, replica, outcome: "failed", wasFull: true });
    expect(policy.describe()).toEqual({ policy: "aimd", maxBatchSize: 1 });
  });

  test("drops what has expired, and sheds nothing", () => {
    const policy = new AimdPolicy(64);
    const cut = policy.cut(
      50,
      new ShownQueue([10, 20, 90, 100].map((deadlineAt) => ({ deadlineAt, arrivedAt: 0 }))),
    );
    expect(cut).toMatchObject({ expired: 2, shed: 0, take: 1 });
  });

  // The reference on batching (3.4): 94 (5), 18 (76), 0, and 56 (35) for bursts at 0.6.
  test.each([
    { name: "Poisson 0.9", arrivals: poisson(1, 0.9), least: 85, most: 100 },
    { name: "Poisson 1.1", arrivals: poisson(1, 1.1), least: 5, most: 40 },
    { name: "Poisson 1.5", arrivals: poisson(1, 1.5), least: 0, most: 5 },
    { name: "bursty 0.6", arrivals: bursty(1, 0.6), least: 40, most: 70 },
  ])("answers in time what the reference says of it: $name", ({ arrivals, least, most }) => {
    const tally = simulate(new AimdPolicy(MAX_BATCH_SIZE), {
      arrivals,
      latencyMs: linear,
      replicas: 1,
      seed: 1,
    });
    const percent = (100 * tally.inTime) / tally.total;
    expect(percent).toBeGreaterThanOrEqual(least);
    expect(percent).toBeLessThanOrEqual(most);
  });
});
