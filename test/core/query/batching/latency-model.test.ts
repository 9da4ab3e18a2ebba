// The learned latency curve: the fit, its band, and what must not mislead it.
import { describe, expect, test } from "vitest";
import { LatencyModel } from "../../../../core/query/batching/latency-model.ts";
import { normal, randomNumbers } from "./random.ts";

function fitted(batches: Iterable<readonly [size: number, latencyMs: number]>): LatencyModel {
  const model = new LatencyModel();
  for (const [size, latencyMs] of batches) model.observe(size, latencyMs);
  return model;
}

function* noisy(count: number, latencyMs: (size: number) => number): Generator<readonly [number, number]> {
  const random = randomNumbers(7);
  for (let i = 0; i < count; i += 1) {
    const size = 1 + Math.floor(random() * 60);
    yield [size, latencyMs(size) * Math.exp(0.08 * normal(random))];
  }
}

describe("the fitted line", () => {
  test("finds fixed and per-row cost under noise, with a band that 95 % stay under", () => {
    const model = fitted(noisy(300, (size) => 10 + size));
    expect(model.fixedMs).toBeGreaterThan(8);
    expect(model.fixedMs).toBeLessThan(12);
    expect(model.perRowMs).toBeGreaterThan(0.9);
    expect(model.perRowMs).toBeLessThan(1.1);
    const batches = [...noisy(1000, (size) => 10 + size)];
    const under = batches.filter(([size, latencyMs]) => latencyMs <= model.upper(size)).length;
    expect(under / batches.length).toBeGreaterThan(0.88);
    expect(model.band).toBeLessThan(1.25);
  });

  test("takes the first batch as fixed cost, so that a larger one is tried", () => {
    const model = fitted([[1, 60]]);
    expect(model.largestWithin(100)).toBeGreaterThan(1000);
    model.observe(2, 61);
    expect(model.mean(2)).toBeCloseTo(61, 0);
  });

  test("has no negative fixed cost and no negative cost per row", () => {
    const convex = fitted(noisy(200, (size) => 0.02 * size * size));
    expect(convex.fixedMs).toBeGreaterThanOrEqual(0);
    expect(convex.perRowMs).toBeGreaterThan(0);
    const falling = fitted(noisy(200, (size) => 100 - size));
    expect(falling.fixedMs).toBeGreaterThan(0);
    expect(falling.perRowMs).toBeGreaterThan(0);
  });

  test("scales with the level while all batches are of one size", () => {
    const model = fitted(noisy(200, (size) => 10 + size));
    for (let i = 0; i < 100; i += 1) model.observe(20, 60);
    expect(model.mean(20) / 60).toBeCloseTo(1, 1);
    expect(model.fixedMs).toBeGreaterThan(15);
    expect(model.perRowMs).toBeGreaterThan(1.5);
  });
});

describe("surprises", () => {
  test("one stall hardly moves the line", () => {
    const model = fitted(noisy(200, (size) => 10 + size));
    const before = model.mean(30);
    model.observe(30, 30_000);
    expect(model.mean(30) / before).toBeLessThan(1.1);
    expect(model.band).toBeLessThan(1.3);
  });

  test("a lasting change by a factor of five is known after ten batches, in both directions", () => {
    const model = fitted(noisy(200, (size) => 10 + size));
    for (const [size, latencyMs] of noisy(10, (n) => 5 * (10 + n))) model.observe(size, latencyMs);
    expect(model.mean(30) / 200).toBeGreaterThan(0.7);
    for (const [size, latencyMs] of noisy(10, (n) => 10 + n)) model.observe(size, latencyMs);
    expect(model.mean(30) / 40).toBeLessThan(1.3);
  });

  test("the band forgets a bad phase after 64 batches", () => {
    const model = fitted(noisy(100, (size) => 10 + size));
    for (let i = 0; i < 6; i += 1) model.observe(30, i % 2 === 0 ? 200 : 40);
    for (const [size, latencyMs] of noisy(64, (n) => 10 + n)) model.observe(size, latencyMs);
    expect(model.band).toBeLessThan(1.3);
  });

  test.each([NaN, -1, Infinity, -Infinity, 1e300])("a latency of %s teaches nothing", (latencyMs) => {
    const model = fitted([[1, 11]]);
    model.observe(5, latencyMs);
    expect(model.mean(5)).toBeCloseTo(11, 3);
    expect(fitted([[1, latencyMs]]).isTaught).toBe(false);
  });

  test("latencies of 0 are survived, and do not hide a model that becomes slow", () => {
    const model = fitted(Array.from({ length: 20 }, () => [4, 0] as const));
    expect(model.largestWithin(1)).toBeGreaterThan(4);
    for (let i = 0; i < 20; i += 1) model.observe(4, 40);
    expect(model.mean(4)).toBeGreaterThan(30);
  });
});

test("largestWithin agrees with upper", () => {
  const model = fitted(noisy(200, (size) => 10 + size));
  for (const budgetMs of [5, 20, 33.3, 50, 100, 250]) {
    const size = model.largestWithin(budgetMs);
    if (size > 0) expect(model.upper(size)).toBeLessThanOrEqual(budgetMs + 1e-6);
    expect(model.upper(size + 1)).toBeGreaterThan(budgetMs);
  }
});
