// What is said of nonsense, and how often.
import { expect, test } from "vitest";
import { createLog } from "../../../../core/log.ts";
import { Complaints } from "../../../../core/replicas/clipper-rpc/complaints.ts";

test("of a flood of nonsense the log says a few a minute, and how many were left out", () => {
  const lines: unknown[][] = [];
  const log = Object.assign(createLog("silent"), {
    warn: (...line: unknown[]) => void lines.push(line),
  });
  let now = 0;
  const complaints = new Complaints(log, () => now);
  for (let each = 0; each < 1000; each++) complaints.say({ each }, "nonsense");
  expect(lines).toHaveLength(20);
  now = 60_000;
  complaints.say({ each: 1000 }, "nonsense");
  expect(lines.slice(20)).toEqual([
    [{ left: 980 }, expect.stringContaining("more")],
    [{ each: 1000 }, "nonsense"],
  ]);
});
