// Finding the bad rows of a batch: who gets which result, how often the function is called, and when the search ends.
import { describe, expect, test, vi } from "vitest";
import { callForRows } from "../../containers/call-rows.ts";

interface Run {
  /** A value, or the message of the row's error. */
  readonly results: readonly unknown[];
  readonly isWrongCount: readonly boolean[];
  /** Rows of each call. */
  readonly calls: readonly (readonly number[])[];
}

type ListFunction = (rows: readonly number[]) => unknown;

async function run(count: number, predict: ListFunction, signal?: AbortSignal): Promise<Run> {
  const log = vi.spyOn(console, "error").mockReturnValue();
  const calls: (readonly number[])[] = [];
  const results = await callForRows(
    Array.from({ length: count }, (_, row) => row),
    {
      name: "predict",
      signal: () => signal ?? new AbortController().signal,
      call: (rows) => {
        calls.push(rows);
        return predict(rows);
      },
    },
  );
  log.mockRestore();
  return {
    results: results.map((result) => ("error" in result ? result.error.message : result.value)),
    isWrongCount: results.map((result) => "error" in result && result.error.isWrongCount === true),
    calls,
  };
}

function throwsOn(...bad: readonly number[]): ListFunction {
  return (rows) => {
    const found = rows.find((row) => bad.includes(row));
    if (found !== undefined) throw new Error(`bad ${found}`);
    return rows;
  };
}

function leavesOut(...bad: readonly number[]): ListFunction {
  return (rows) => rows.filter((row) => !bad.includes(row));
}

const numbers = (count: number): number[] => Array.from({ length: count }, (_, row) => row);

describe("a bad row", () => {
  test.each([
    ["throws", throwsOn, "Error: bad"],
    ["spoils the count", leavesOut, "predict returned 0 outputs for 1 input"],
  ] as const)("that %s fails alone, wherever it is, for 2·log2(n) calls more", async (_, make, message) => {
    for (let bad = 0; bad < 64; bad += 1) {
      const { results, calls } = await run(64, make(bad));
      expect(results[bad]).toContain(message);
      expect(results.toSpliced(bad, 1)).toEqual(numbers(64).toSpliced(bad, 1));
      expect(calls.length).toBe(13);
      expect(calls.findLast((rows) => rows.includes(bad))).toEqual([bad]);
    }
  });

  test.each([1, 2, 3, 5, 7, 12, 33])("is found among %i rows, also with others", async (count) => {
    for (let seed = 0; seed < 20; seed += 1) {
      const bad = numbers(count).filter((row) => (row * 7 + seed * 5) % 11 < seed % 6);
      const { results, calls } = await run(count, throwsOn(...bad));
      expect(results).toEqual(numbers(count).map((row) => (bad.includes(row) ? `Error: bad ${row}` : row)));
      expect(calls.length).toBeLessThanOrEqual(2 * count - 1);
    }
  });
});

describe("a wrong count that is no row's fault fails every row with the batch's error", () => {
  test.each<[string, ListFunction, string]>([
    ["one output for all", (rows) => [rows.length], "1 output for %i inputs"],
    ["no list", () => 7, "returned 7 for a list of %i inputs"],
    ["one too few", (rows) => rows.slice(1), "outputs for %i inputs"],
    ["two at most", (rows) => rows.slice(0, 2), "2 outputs for %i inputs"],
    // Right by chance for a half of four.
    ["always four", () => [0, 0, 0, 0], "4 outputs for %i inputs"],
    ["an even number", (rows) => [...rows, ...rows].slice(0, rows.length + (rows.length % 2)), "%i inputs"],
  ])("%s", async (_, predict, message) => {
    for (const count of [3, 5, 7, 13]) {
      const { results, isWrongCount } = await run(count, predict);
      expect(new Set(results).size).toBe(1);
      expect(results[0]).toContain(message.replace("%i", String(count)));
      expect(isWrongCount).toEqual(results.map(() => true));
    }
  });

  test("also when every row throws alone", async () => {
    const { isWrongCount } = await run(4, (rows) => {
      if (rows.length === 1) throw new Error("takes lists only");
      return [];
    });
    expect(isWrongCount).toEqual([true, true, true, true]);
  });

  test("a batch that throws gives each row what it gets alone", async () => {
    const { results } = await run(4, (rows) => {
      if (rows.length === 4) throw new Error("too many");
      return [rows[0]];
    });
    expect(results).toEqual([0, 1, 2, 3]);
  });
});

describe("when nobody waits any more", () => {
  test("the search ends: rows that ran keep their results, others say why they have none", async () => {
    const controller = new AbortController();
    const { results, calls } = await run(
      8,
      (rows) => {
        if (rows.length === 4) controller.abort(new DOMException("The deadline has passed", "TimeoutError"));
        return throwsOn(5)(rows);
      },
      controller.signal,
    );
    expect(calls.map(({ length }) => length)).toEqual([8, 4]);
    const missed = "The deadline has passed before this input could run";
    expect(results).toEqual([0, 1, 2, 3, missed, missed, missed, missed]);
  });

  test("a batch that fails is not searched", async () => {
    const signal = AbortSignal.abort();
    const thrown = await run(4, throwsOn(1), signal);
    expect(thrown.results).toEqual(numbers(4).map(() => "Error: bad 1"));
    const short = await run(4, leavesOut(1), signal);
    expect(short.isWrongCount).toEqual([true, true, true, true]);
    expect([thrown.calls.length, short.calls.length]).toEqual([1, 1]);
  });

  test("an abort that waits in the event loop reaches a function that never waits", async () => {
    const controller = new AbortController();
    const { calls } = await run(
      64,
      () => {
        setImmediate(() => controller.abort());
        throw new Error("bad");
      },
      controller.signal,
    );
    expect(calls.length).toBeLessThan(4);
  });
});
