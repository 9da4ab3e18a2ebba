// What is kept free for the way to the container and back.
import { expect, test } from "vitest";
import { Overhead } from "../../../../core/query/batching/overhead.ts";

function after(...overheads: readonly number[]): number {
  const overhead = new Overhead();
  for (const overheadMs of overheads) overhead.observe(20 + overheadMs, 20);
  return overhead.allowanceMs;
}

const repeated = (count: number, ...values: readonly number[]): number[] =>
  Array.from({ length: count }, () => values).flat();

test("nothing is kept free before the first batch, and for containers that tell no compute time", () => {
  const overhead = new Overhead();
  expect(overhead.allowanceMs).toBe(0);
  overhead.observe(30, undefined);
  expect(overhead.allowanceMs).toBe(0);
});

test("the first batch counts whole, and a steady way costs what it takes", () => {
  expect(after(3)).toBe(3);
  expect(after(...repeated(100, 3))).toBe(3);
});

test("a way that varies gets more than its mean, so that most batches keep to it", () => {
  const allowanceMs = after(...repeated(100, 1, 1, 1, 5));
  expect(allowanceMs).toBeGreaterThan(4);
  expect(allowanceMs).toBeLessThan(7);
});

test("what was slow once is forgotten", () => {
  expect(after(50, ...repeated(100, 1))).toBeCloseTo(1, 1);
});

test("a stall of one batch is no way that all take", () => {
  const steady = repeated(50, 0.4, 0.6);
  expect(after(...steady, 200)).toBeLessThan(2);
  expect(after(...steady, 200, 0.4, 200)).toBeLessThan(3);
  expect(after(0.5, 200)).toBeLessThan(4);
});

test("a way that has become longer is believed with the third batch in a row", () => {
  expect(after(...repeated(50, 0.5), ...repeated(3, 30))).toBeGreaterThan(10);
  expect(after(...repeated(50, 0.5), ...repeated(20, 30))).toBeGreaterThan(25);
  expect(after(...repeated(50, 2), ...repeated(60, 2, 9))).toBeGreaterThan(9);
});

test("a slow first batch weighs no more than those behind it", () => {
  expect(after(60, ...repeated(9, 1))).toBeLessThan(7);
});

test("clocks that disagree, and what is no time, teach nothing wrong", () => {
  const overhead = new Overhead();
  overhead.observe(19, 20);
  expect(overhead.allowanceMs).toBe(0);
  overhead.observe(Number.NaN, 20);
  overhead.observe(20, -1);
  expect(overhead.allowanceMs).toBe(0);
});
