import { describe, expect, test } from "vitest";
import type { Table } from "./report.ts";
import { targetLines } from "./targets.ts";

const BATCHING: Table = {
  part: "batching",
  yardstick: "",
  columns: ["model costs", "policy", "÷ none"],
  rows: [
    ["10 ms", "slo", { median: 27.6, spread: 0 }],
    ["1 ms a row", "slo", 0.5],
  ],
};

describe("the README's table of speed", () => {
  test("has the lines of the parts that were run, and only these", () => {
    const [, , ...lines] = targetLines([BATCHING]);
    expect(lines).toEqual([
      "| adaptive batching ÷ none, 64 in flight: a model of 10 ms | 28 | ≥ 20 |",
      "| adaptive batching ÷ none, 64 in flight: a model of 1 ms a row | **0.5** | ≥ 0.98 |",
    ]);
  });

  test("a column that was not measured gives no line; one without a target is shown all the same", () => {
    const rows = [["784 numbers, ingress", "OIP, binary", 0.56]];
    const table = {
      part: "binary",
      yardstick: "",
      columns: ["input", "sent as", "frontend CPU ÷ echo"],
      rows,
    };
    const [, , ...lines] = targetLines([table]);
    expect(lines).toEqual(["| the same ÷ echo, which parses JSON | 0.56 | – |"]);
  });
});
