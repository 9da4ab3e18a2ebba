// The policies that learn nothing: fixed, none, and what the settings choose.
import { describe, expect, test } from "vitest";
import { batchingPolicy } from "../../../../core/query/batching/index.ts";
import { alike, pullerOf, ShownQueue } from "./queue-of.ts";

const fixed = batchingPolicy({ policy: "fixed", maxBatchSize: 4, maxDelayMs: 10 });

describe("fixed", () => {
  test("a full batch goes at once", () => {
    expect(fixed.cut(0, alike(6, 0, 100), pullerOf(1))).toMatchObject({ take: 4, expired: 0, shed: 0 });
  });

  test("less than a batch waits until one of its queries has waited the delay", () => {
    expect(fixed.cut(3, alike(2, 0, 100), pullerOf(1))).toMatchObject({ take: 0, askAgainMs: 7 });
    expect(fixed.cut(10, alike(2, 0, 100), pullerOf(1))).toMatchObject({ take: 2 });
  });

  test("the one that waited longest decides, wherever its deadline puts it", () => {
    const queue = new ShownQueue([
      { arrivedAt: 8, deadlineAt: 20 },
      { arrivedAt: 0, deadlineAt: 500 },
    ]);
    expect(fixed.cut(9, queue, pullerOf(1))).toMatchObject({ take: 0, askAgainMs: 1 });
    expect(fixed.cut(10, queue, pullerOf(1))).toMatchObject({ take: 2 });
  });

  test("only expired queries are dropped", () => {
    const queue = new ShownQueue([5, 10, 11, 400].map((deadlineAt) => ({ arrivedAt: 0, deadlineAt })));
    expect(fixed.cut(10, queue, pullerOf(1))).toMatchObject({ expired: 2, shed: 0, take: 2 });
    expect(fixed.cut(500, queue, pullerOf(1))).toMatchObject({ expired: 4, shed: 0, take: 0 });
  });
});

describe("none", () => {
  test("takes one query at a time, after dropping expired ones", () => {
    const queue = new ShownQueue([5, 50, 60].map((deadlineAt) => ({ arrivedAt: 0, deadlineAt })));
    expect(batchingPolicy({ policy: "none" }).cut(10, queue, pullerOf(1))).toMatchObject({
      expired: 1,
      shed: 0,
      take: 1,
    });
  });
});

describe("settings", () => {
  test("choose the policy", () => {
    expect(batchingPolicy({ policy: "slo", maxBatchSize: 8 }).name).toBe("slo");
    expect(fixed.name).toBe("fixed");
    expect(batchingPolicy({ policy: "none" }).name).toBe("none");
  });

  test("yield to a smaller batch that the contract sets", () => {
    const queue = alike(50, 0, Infinity);
    expect(batchingPolicy({ policy: "slo", maxBatchSize: 32 }, 8).cut(0, queue, pullerOf(1)).take).toBe(8);
    expect(batchingPolicy({ policy: "slo", maxBatchSize: 4 }, 8).cut(0, queue, pullerOf(1)).take).toBe(4);
    expect(
      batchingPolicy({ policy: "fixed", maxBatchSize: 32, maxDelayMs: 5 }, 1).cut(0, queue, pullerOf(1)).take,
    ).toBe(1);
  });
});
