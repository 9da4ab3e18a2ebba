// encode.ts: what becomes of a JavaScript value on the wire, and what is refused.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { encodeInput } from "../../../core/client/encode.ts";
import { InvalidInputError } from "../../../core/errors.ts";

function refusal(value: unknown): InvalidInputError {
  try {
    encodeInput(value, "json", "input");
  } catch (error) {
    if (error instanceof InvalidInputError) return error;
    throw error;
  }
  throw new Error("was not refused");
}

describe("encodeInput", () => {
  test("writes any JSON value as JSON.stringify does", () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 5 }), (value) => {
        expect(JSON.parse(encodeInput(value, "json", "input"))).toEqual(JSON.parse(JSON.stringify(value)));
      }),
      { numRuns: 200 },
    );
  });

  test("writes typed arrays as lists of numbers, also nested", () => {
    const image = [new Float32Array([0.5, 1]), new Float32Array([2, -0.25])];
    expect(encodeInput({ image, ids: new BigInt64Array([9007199254740993n]) }, "json", "input")).toBe(
      '{"image":[[0.5,1],[2,-0.25]],"ids":[9007199254740993]}',
    );
    expect(encodeInput(new Uint8Array([1, 255]), "tensor", "input")).toBe("[1,255]");
  });

  test("writes bytes as base64 for a bytes application, with the view's own bounds", () => {
    const view = new Uint8Array([0, 104, 105, 0]).subarray(1, 3);
    expect(encodeInput(view, "bytes", "input")).toBe('"aGk="');
    expect(encodeInput(Buffer.from("hi"), "bytes", "input")).toBe('"aGk="');
    expect(encodeInput("aGk=", "bytes", "input")).toBe('"aGk="');
  });

  test("writes a bigint as its digits", () => {
    expect(encodeInput([12345678901234567890n], "json", "input")).toBe("[12345678901234567890]");
  });

  test("uses toJSON, as JSON.stringify does", () => {
    expect(encodeInput(new Date(0), "json", "input")).toBe('"1970-01-01T00:00:00.000Z"');
  });

  test.each([
    ["undefined", undefined, "input"],
    ["a field that is undefined", { a: { b: undefined } }, "input.a.b"],
    ["a hole", [1, , 3], "input[1]"], // oxlint-disable-line no-sparse-arrays
    ["NaN", [[1, 2, Number.NaN]], "input[0][2]"],
    ["NaN in a typed array", { x: new Float64Array([1, Number.NaN]) }, "input.x[1]"],
    ["an infinity", Number.POSITIVE_INFINITY, "input"],
    ["a function", { f: () => 1 }, "input.f"],
    ["a symbol", [Symbol("s")], "input[0]"],
    ["a Map", new Map([[1, 2]]), "input"],
    ["an invalid date's null is fine, a Set is not", { s: new Set([1]) }, "input.s"],
  ])("refuses %s and names the path", (_, value, path) => {
    const error = refusal(value);
    expect(error.message.startsWith(`${path}: `)).toBe(true);
    expect(error.details["field"]).toBe(path);
  });

  test("refuses a cycle instead of overflowing the stack", () => {
    const cycle: { self?: unknown } = {};
    cycle.self = cycle;
    expect(refusal(cycle).message).toContain("circle");
  });
});
