// The arrival rate: a span over the last arrivals.
import { expect, test } from "vitest";
import { ArrivalRate } from "../../../../core/query/batching/arrival-rate.ts";

function after(...times: number[]): number | undefined {
  const rate = new ArrivalRate();
  for (const time of times) rate.arrived(time);
  return rate.perMs;
}

test("needs two arrivals", () => {
  expect(after()).toBeUndefined();
  expect(after(5)).toBeUndefined();
  expect(after(5, 7)).toBe(0.5);
});

test("is that of the last 64 arrivals, so that a pause is forgotten", () => {
  const steady = Array.from({ length: 64 }, (_, index) => 600_000 + 2 * index);
  expect(after(0, 1, 2, ...steady)).toBeCloseTo(0.5, 6);
});

test("arrivals at one instant are infinitely fast, and a clock that goes back counts as standing still", () => {
  expect(after(5, 5, 5)).toBe(Infinity);
  expect(after(0, 10, 4, 4)).toBeCloseTo(0.3, 6);
  expect(after(0, NaN, 10)).toBeCloseTo(0.1, 6);
});
