// What more than one batch in flight is worth, in virtual time: the figures behind the default for servers elsewhere.
import { afterAll, expect, test } from "vitest";
import { SloPolicy } from "../../../../core/query/batching/slo.ts";
import { simulate } from "./simulation.ts";
import { linear, MAX_BATCH_SIZE, poisson } from "./workloads.ts";

const SEED = 1;
const MOST = [1, 2, 4, 8];
const rows: string[] = [];

afterAll(() => {
  const head = [
    "in time (late), %, by batches in flight".padEnd(42),
    ...MOST.map((most) => String(most).padEnd(14)),
  ];
  console.log([head.join(""), ...rows].join("\n"));
});

/** Shares of queries in time, %, with 1, 2, 4 and 8 batches in flight; late ones are 2 % at most. */
function inTime(
  name: string,
  load: number,
  server: { readonly places: number; readonly wayMs: number },
): readonly number[] {
  const cells: string[] = [];
  const shares = MOST.map((most) => {
    const workload = {
      arrivals: poisson(SEED, load),
      latencyMs: linear,
      wayMsOf: () => server.wayMs,
      replicas: 1,
      seed: SEED,
    };
    const tally = simulate(new SloPolicy(MAX_BATCH_SIZE), workload, {
      inFlight: { places: server.places, most },
    });
    const [share, late] = [tally.inTime, tally.late].map((count) => (100 * count) / tally.total);
    cells.push(`${share?.toFixed(1)} (${late?.toFixed(1)})`);
    expect(late).toBeLessThan(2);
    return share ?? 0;
  });
  rows.push([`${name}, load ${load}`.padEnd(42), ...cells.map((cell) => cell.padEnd(14))].join(""));
  return shares;
}

test.each([0.5, 0.9, 1.3])(
  "a server that computes one after the other loses little by two, load %d",
  (load) => {
    const [one = 0, two = 0, , eight = 0] = inTime("one after the other", load, { places: 1, wayMs: 0 });
    expect(two).toBeGreaterThan(one - 12);
    // What waits there waits in small batches, whose fixed cost is paid each time.
    expect(eight).toBeLessThan(two);
  },
);

test.each([0.5, 0.9, 1.3])(
  "the same 10 ms away gains by two: it computes while the next comes, load %d",
  (load) => {
    const [one = 0, two = 0] = inTime("one after the other, 10 ms away", load, { places: 1, wayMs: 10 });
    expect(two).toBeGreaterThan(one);
  },
);

test.each([1, 1.8, 2.6])(
  "one that computes four side by side answers nearly all with four, load %d",
  (load) => {
    const [one = 0, two = 0, four = 0] = inTime("four side by side, 10 ms away", load, {
      places: 4,
      wayMs: 10,
    });
    expect(two).toBeGreaterThan(1.3 * one);
    expect(four).toBeGreaterThan(98);
  },
);
