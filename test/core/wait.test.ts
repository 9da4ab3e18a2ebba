// Waiting that a machine which stood still does not cut short.
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { patience } from "../../core/wait.ts";

test("what came while the machine stood still is heard before the patience ends", async () => {
  // From a timer's turn on, so that the event comes behind the timers that are due by then.
  await sleep(1);
  const ends: string[] = [];
  const waited = patience(100).then(() => ends.push("the patience"));
  const event = new Promise((resolve) => setImmediate(() => setImmediate(resolve))).then(() =>
    ends.push("the event"),
  );
  for (const end = performance.now() + 300; performance.now() < end;);
  await Promise.all([waited, event]);
  expect(ends).toEqual(["the event", "the patience"]);
  expect(await patience(10)).toBeUndefined();
});

test("patience for what has come ends at once", async () => {
  const isHere = new AbortController();
  const waited = patience(3_600_000, isHere.signal);
  isHere.abort();
  expect(await waited).toBeUndefined();
  expect(await patience(3_600_000, isHere.signal)).toBeUndefined();
});
