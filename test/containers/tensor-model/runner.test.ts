// How often a model runs for a batch with bad rows, and that the runs end when nobody waits any more.
import { describe, expect, test, vi } from "vitest";
import { Runner, type RunResult, toRows } from "../../../containers/tensor-model/runner.ts";
import type { TensorModelSettings, RowTensor } from "../../../containers/tensor-model/settings.ts";

interface Run {
  /** First element of each row's output, or the message of its error. */
  readonly rows: readonly unknown[];
  /** Batch size of each session run. */
  readonly sizes: readonly number[];
}

const tensor = { datatype: "FP32", shape: [1], batchAxis: 0 } as const;

/** Runs rows 0 to `count - 1` through a model that fails on `bad`. */
async function run(
  count: number,
  settings: Partial<TensorModelSettings>,
  { bad = [], abortAfter }: { readonly bad?: readonly number[]; readonly abortAfter?: number },
): Promise<Run> {
  const log = vi.spyOn(console, "error").mockReturnValue();
  const controller = new AbortController();
  const sizes: number[] = [];
  const session = {
    runtime: "a runtime",
    run(inputs: readonly RowTensor[]): Promise<RowTensor[]> {
      const [input] = inputs;
      sizes.push(input?.dims[0] ?? 0);
      if (sizes.length === abortAfter)
        controller.abort(new DOMException("The caller has gone", "AbortError"));
      const values = Array.from((input?.data ?? []) as Float32Array);
      if (values.some((value) => bad.includes(value))) return Promise.reject(new Error("bad row"));
      return Promise.resolve(input === undefined ? [] : [input]);
    },
  };
  const runner = new Runner(session, {
    batching: "dynamic",
    inputs: [{ name: "x", ...tensor }],
    outputs: [{ name: "y", ...tensor }],
    ...settings,
  });
  const data = Float32Array.from({ length: count }, (_, row) => row);
  const result: RunResult = await runner.run([{ data, dims: [count, 1] }], count, controller);
  log.mockRestore();
  const rows = toRows(result, count).map((row) => ("code" in row ? row.message : row[0]?.data[0]));
  return { rows, sizes };
}

const numbers = (count: number): number[] => Array.from({ length: count }, (_, row) => row);

describe("a model that takes batches", () => {
  test("runs 2·log2(n) times more for one bad row", async () => {
    for (const bad of [0, 31, 63]) {
      const { rows, sizes } = await run(64, {}, { bad: [bad] });
      expect(rows).toEqual(numbers(64).map((row) => (row === bad ? "Error: bad row" : row)));
      expect(sizes.length).toBe(13);
    }
  });

  test("is not searched for bad rows when nobody waits", async () => {
    const { rows, sizes } = await run(8, {}, { bad: [1], abortAfter: 2 });
    expect(sizes).toEqual([8, 4]);
    const missed = "The caller has gone before this input could run";
    expect(rows).toEqual([...numbers(4).map(() => "Error: bad row"), missed, missed, missed, missed]);
  });
});

describe.each<[string, Partial<TensorModelSettings>]>([
  ["one by one", { batching: "one-by-one" }],
  ["with a batch fixed to 1", { fixedBatch: 1 }],
])("a model that runs %s", (_, settings) => {
  test("runs once for each row, bad or not", async () => {
    const { rows, sizes } = await run(5, settings, {});
    expect(rows).toEqual([0, 1, 2, 3, 4]);
    expect(sizes).toEqual([1, 1, 1, 1, 1]);
    expect((await run(5, settings, { bad: [2] })).rows).toEqual([0, 1, "Error: bad row", 3, 4]);
  });

  test("stops between runs when nobody waits", async () => {
    const { rows, sizes } = await run(5, settings, { abortAfter: 2 });
    const missed = "The caller has gone before this input could run";
    expect(rows).toEqual([0, 1, missed, missed, missed]);
    expect(sizes).toEqual([1, 1]);
  });
});
