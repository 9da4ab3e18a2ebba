// A short fuzz run of every dialect, with seeds that stay: `npm run fuzz` goes on from here.
import { expect, test } from "vitest";
import { clipperTarget } from "../fuzz/clipper.ts";
import { grpcTarget } from "../fuzz/grpc.ts";
import { hostsTarget } from "../fuzz/hosts.ts";
import { oipTarget } from "../fuzz/oip.ts";
import { fuzz, type FuzzTarget } from "../fuzz/runner.ts";

const TARGETS: readonly (readonly [string, () => Promise<FuzzTarget>])[] = [
  ["clipper", clipperTarget],
  ["oip", oipTarget],
  ["hosts", hostsTarget],
  ["grpc", grpcTarget],
];

test.each(TARGETS)("6,000 requests of any kind leave %s as it was", { timeout: 900_000 }, async (_, open) => {
  await using target = await open();
  const report = await fuzz(target, { requests: 6000, seconds: 800, seed: 20_261_122 });
  expect(report.failures).toEqual([]);
  expect(report.requests).toBe(6000);
  expect(report.statuses["200"]).toBeGreaterThan(500);
});
