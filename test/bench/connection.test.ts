import { describe, expect, test } from "vitest";
import { joinChunks } from "./connection.ts";

describe("a reply in chunks", () => {
  test("is joined without their sizes", () => {
    expect(joinChunks("head\r\n\r\n3\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n", 8)).toBe(
      "abc0123456789abcdef",
    );
  });

  test("is not there before its last chunk is", () => {
    const whole = "3\r\nabc\r\n0\r\n\r\n";
    for (let length = 0; length < whole.length; length += 1)
      expect(joinChunks(whole.slice(0, length), 0)).toBeUndefined();
  });
});
