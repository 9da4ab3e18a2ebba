// Waiting that a machine which stood still does not cut short.
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { patience } from "../../core/wait.ts";

/** What was heard first, when nothing ran for longer than `wait` takes, and an event came meanwhile. */
async function heardFirst(wait: Promise<string>): Promise<string> {
  const event = new Promise<string>((resolve) => setImmediate(() => resolve("the event")));
  for (const end = performance.now() + 300; performance.now() < end;);
  return Promise.race([event, wait]);
}

test("what came while the machine stood still is heard before the patience ends, unlike a timer", async () => {
  expect(await heardFirst(sleep(100, "the timer"))).toBe("the timer");
  expect(await heardFirst(patience(100).then(() => "the end"))).toBe("the event");
  expect(await patience(10)).toBeUndefined();
});
