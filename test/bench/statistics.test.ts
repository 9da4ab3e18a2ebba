import { describe, expect, test } from "vitest";
import { figureOf, quantileOf, ratio } from "./statistics.ts";

describe("figures of repeats", () => {
  test("the spread is half the quartile distance, as a share of the median", () => {
    expect(figureOf([5, 1, 3, 2, 4], (value) => value)).toEqual({ median: 3, spread: 1 / 3 });
  });

  test("a ratio is taken round by round", () => {
    expect(ratio([10, 40, 90], [10, 20, 30]).median).toBe(2);
  });

  test("a quantile may fall between two values", () => {
    expect(quantileOf([4, 1, 2, 3], 0.5)).toBe(2.5);
    expect(quantileOf([1, 2], 0)).toBe(1);
  });
});
