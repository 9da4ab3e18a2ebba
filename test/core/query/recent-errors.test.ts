import { describe, expect, it } from "vitest";
import { RecentErrors } from "../../../core/query/recent-errors.ts";
import { ModelError, OverloadedError } from "../../../core/errors.ts";

describe("recent errors", () => {
  it("counts equal ones as one, the last one first", () => {
    const errors = new RecentErrors();
    errors.note(new ModelError("broken"));
    errors.note(new OverloadedError("too many"));
    errors.note(new ModelError("broken"));
    expect(errors.list()).toEqual([
      { code: "MODEL_ERROR", message: "broken", count: 2, at: expect.any(String) },
      { code: "OVERLOADED", message: "too many", count: 1, at: expect.any(String) },
    ]);
    expect(Number.isNaN(Date.parse(errors.list()[0]?.at ?? ""))).toBe(false);
  });

  it("keeps the last eight, and the beginning of each message", () => {
    const errors = new RecentErrors();
    for (let number = 0; number < 20; number++)
      errors.note(new ModelError(`${number} ${"x".repeat(10_000)}`));
    const kept = errors.list();
    expect(kept.map(({ message }) => message.split(" ")[0])).toEqual([
      "19",
      "18",
      "17",
      "16",
      "15",
      "14",
      "13",
      "12",
    ]);
    for (const { message } of kept) expect(message.length).toBe(500);
  });
});
