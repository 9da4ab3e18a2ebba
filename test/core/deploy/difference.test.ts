import { describe, expect, it } from "vitest";
import { findDifference } from "../../../core/deploy/difference.ts";

const TOLERANCE = 1e-4;

describe("an output compared with the expected one", () => {
  it("passes when numbers lie within the tolerance, relative above 1 and absolute below", () => {
    expect(findDifference(1_000_000, 1_000_099, TOLERANCE)).toBeUndefined();
    expect(findDifference(1_000_000, 1_000_101, TOLERANCE)).toMatchObject({ path: "output" });
    expect(findDifference(0, 0.000_09, TOLERANCE)).toBeUndefined();
    expect(findDifference(0, 0.000_11, TOLERANCE)).toMatchObject({ expected: 0, got: 0.000_11 });
    expect(findDifference(0.1 + 0.2, 0.3, 0)).toBeDefined();
  });

  it("compares everything else exactly", () => {
    expect(findDifference("a", "a", TOLERANCE)).toBeUndefined();
    expect(findDifference("a", "b", TOLERANCE)).toEqual({ path: "output", expected: "a", got: "b" });
    expect(findDifference(null, false, TOLERANCE)).toEqual({ path: "output", expected: null, got: false });
    expect(findDifference(1, "1", TOLERANCE)).toBeDefined();
    expect(findDifference([], {}, TOLERANCE)).toBeDefined();
    expect(findDifference({}, [], TOLERANCE)).toBeDefined();
    expect(findDifference(null, {}, TOLERANCE)).toBeDefined();
  });

  it("names the place of a difference deep inside", () => {
    const expected = { scores: [[0.5, 0.25]], "top-k": ["a"] };
    expect(findDifference(expected, { scores: [[0.5, 0.25]], "top-k": ["a"] }, TOLERANCE)).toBeUndefined();
    expect(findDifference(expected, { scores: [[0.5, 0.26]], "top-k": ["a"] }, TOLERANCE)).toEqual({
      path: "output.scores[0][1]",
      expected: 0.25,
      got: 0.26,
    });
    expect(findDifference(expected, { scores: [[0.5, 0.25]], "top-k": ["b"] }, TOLERANCE)?.path).toBe(
      'output["top-k"][0]',
    );
  });

  it("takes missing and additional members for differences", () => {
    expect(findDifference([1, 2], [1], TOLERANCE)).toEqual({ path: "output[1]", expected: 2 });
    expect(findDifference([1], [1, 2], TOLERANCE)).toEqual({ path: "output[1]", got: 2 });
    expect(findDifference({ a: 1 }, {}, TOLERANCE)).toEqual({ path: "output.a", expected: 1 });
    expect(findDifference({}, { a: null }, TOLERANCE)).toEqual({ path: "output.a", got: null });
    expect(findDifference({ toString: 1 }, {}, TOLERANCE)).toEqual({ path: "output.toString", expected: 1 });
  });
});
