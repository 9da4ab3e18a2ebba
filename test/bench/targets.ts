// What the figures are to be: the lines of the README's table of speed, each from one cell of the parts that were run.
import { PIXELS } from "./onnx-models.ts";
import { PEER_SERVERS } from "./peer-servers.ts";
import type { Table } from "./report.ts";

interface Target {
  /** Cells that the row has, in any column. */
  readonly row: readonly (string | number)[];
  readonly column: string;
  readonly what: string;
  /** Without a bound, the line is there to compare. */
  readonly atMost?: number;
  readonly atLeast?: number;
  readonly unit?: string;
}

const MLP = "ONNX MLP, 784 numbers";
const SMALL = "no-op function, 4 numbers";

const PATH: readonly Target[] = [
  {
    row: [MLP, 64, "windjammer"],
    column: "own CPU ÷ echo",
    what: "frontend CPU ÷ echo: ONNX MLP, 784 numbers",
    atMost: 0.9,
  },
  {
    row: [SMALL, 64, "windjammer"],
    column: "own CPU ÷ echo",
    what: "frontend CPU ÷ echo: no-op, 4 numbers",
    atMost: 1.5,
  },
  {
    row: [MLP, 64, "windjammer"],
    column: "all CPU ÷ echo",
    what: "CPU of all our processes ÷ echo: ONNX MLP",
    atMost: 1.7,
  },
  {
    row: [MLP, 64, "windjammer"],
    column: "rate ÷ echo",
    what: "rate ÷ echo: ONNX MLP, three processes and the load on two cores",
    atLeast: 0.85,
  },
  {
    row: [MLP, 64, "windjammer"],
    column: "rate ÷ ingress",
    what: "rate ÷ that of the frontend without a model container: ONNX MLP",
    atLeast: 0.9,
  },
  {
    row: [SMALL, 1, "windjammer"],
    column: "p50 − echo, ms",
    what: "median over the echo's, one caller: no-op, 4 numbers",
    atMost: 0.3,
    unit: "ms",
  },
  {
    row: [MLP, 1, "windjammer"],
    column: "p50 ms",
    what: "median, one caller: ONNX MLP",
    atMost: 0.5,
    unit: "ms",
  },
];

const BATCHING: readonly Target[] = (
  [
    ["10 ms", 20],
    ["10 ms + 0.05 ms a row", 20],
    ["1 ms a row", 0.98],
  ] as const
).map(([cost, atLeast]) => ({
  row: [cost, "slo"],
  column: "÷ none",
  what: `adaptive batching ÷ none, 64 in flight: a model of ${cost}`,
  atLeast,
}));

const GOODPUT: readonly Target[] = [0.5, 0.9, 1.1, 1.5].flatMap((load) => [
  {
    row: ["Poisson", load, "slo"],
    column: "÷ virtual time",
    what: `answered in time ÷ virtual-time bound, ${load} of capacity`,
    atLeast: 0.95,
  },
  { row: ["Poisson", load, "slo"], column: "late", what: `late, ${load} of capacity`, atMost: 2, unit: "%" },
]);

const MODEL: readonly Target[] = [
  {
    row: ["convnet", 1],
    column: "path ÷ loop",
    what: "convnet, one replica ÷ its loader in a loop",
    atLeast: 0.97,
  },
  {
    row: ["convnet", 2],
    column: "path ÷ loop at batch 1",
    what: "convnet, two replicas ÷ one thread of its loader",
    atLeast: 1.7,
  },
];

const APPLICATIONS: readonly Target[] = [
  {
    row: [1000],
    column: "frontend CPU ÷ one",
    what: "frontend CPU, 1,000 applications ÷ one",
    atMost: 1.05,
  },
  {
    row: [1000],
    column: "KiB an application",
    what: "memory of an idle application",
    atMost: 50,
    unit: "KiB",
  },
];

const STARTED = ["one ONNX MLP that runs"];
const START: readonly Target[] = [
  { row: STARTED, column: "start ms", what: "start to the first prediction", atMost: 1000, unit: "ms" },
  {
    row: STARTED,
    column: "memory MiB",
    what: "resident memory of frontend and container; two bare Nodes have 84 MiB",
    atMost: 120,
    unit: "MiB",
  },
  {
    row: STARTED,
    column: "CPU ms in an idle second",
    what: "CPU in an idle second, 15 s behind the last query: 0, to the nearest ms",
    atMost: 0.5,
    unit: "ms",
  },
];

const PIXELS_AT_INGRESS = ["784 numbers, ingress", "OIP, binary"];
const BINARY: readonly Target[] = [
  {
    row: PIXELS_AT_INGRESS,
    column: "frontend CPU ÷ OIP, JSON",
    what: "CPU of the frontend without a model container, 784 numbers in the Open Inference Protocol: binary ÷ JSON",
    atMost: 0.5,
  },
  { row: PIXELS_AT_INGRESS, column: "frontend CPU ÷ echo", what: "the same ÷ echo, which parses JSON" },
  {
    row: ["image 3×224×224, whole path", "OIP, binary"],
    column: "longest turn ms, median",
    what: "an image of 3×224×224 numbers, binary, holds the event loop at most",
    atMost: 1,
    unit: "ms",
  },
];

const ISOLATION: readonly Target[] = [
  {
    row: [PIXELS, 64, "docker-socket"],
    column: "÷ process",
    what: "rate of the Docker runtime over its socket ÷ the process runtime: no-op, 784 numbers",
    atLeast: 0.95,
  },
];

const PEERS: readonly Target[] = PEER_SERVERS.map(({ name }) => ({
  row: [name],
  column: "cells ahead of us",
  what: `${name}, same model: of rate, CPU, median, memory and start, ahead of us in`,
  atMost: 0,
}));

const TARGETS: readonly (readonly [part: string, targets: readonly Target[]])[] = [
  ["path", PATH],
  ["binary", BINARY],
  ["batching", BATCHING],
  ["goodput", GOODPUT],
  ["model", MODEL],
  ["applications", APPLICATIONS],
  ["start", START],
  ["isolation", ISOLATION],
  ["peers", PEERS],
];

/** The parts that have lines in it. */
export const TARGET_PARTS: readonly string[] = TARGETS.map(([part]) => part);

/** Markdown lines, with head, of what was measured of these. */
export function targetLines(tables: readonly Table[]): readonly string[] {
  const lines = TARGETS.flatMap(([part, targets]) => {
    const table = tables.find((one) => one.part === part);
    return table === undefined ? [] : targets.flatMap((target) => lineOf(target, table));
  });
  return ["| | measured | target |", "|---|---|---|", ...lines];
}

/** None, where the run left the row out. */
function lineOf({ row, column, what, atMost, atLeast, unit }: Target, table: Table): readonly string[] {
  const cells = table.rows.find((one) => row.every((wanted) => one.includes(wanted)));
  const cell = cells?.[table.columns.indexOf(column)];
  if (cell === undefined) return [];
  const value = typeof cell === "object" ? cell.median : Number.parseFloat(String(cell));
  const isMet = value <= (atMost ?? Infinity) && value >= (atLeast ?? -Infinity);
  const suffix = unit === undefined ? "" : ` ${unit}`;
  const shown = `${text(value)}${suffix}`;
  return [`| ${what} | ${isMet ? shown : `**${shown}**`} | ${boundOf(atMost, atLeast, suffix)} |`];
}

function boundOf(atMost: number | undefined, atLeast: number | undefined, suffix: string): string {
  if (atMost !== undefined) return `≤ ${atMost}${suffix}`;
  return atLeast === undefined ? "–" : `≥ ${atLeast}${suffix}`;
}

function text(value: number): string {
  return Math.abs(value) >= 20 ? value.toFixed(0) : String(Number(value.toFixed(2)));
}
