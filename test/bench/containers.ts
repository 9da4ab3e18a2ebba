// What a call of our servers costs over the same model in a loop of its own runtime: `node test/bench/containers.ts`.
import { execFileSync } from "node:child_process";
import type { Tensor } from "../../containers/tensors.ts";
import {
  type BundleOnDisk,
  functionBundle,
  NODE_SERVER,
  type ServerCommand,
  TestContainer,
} from "../helpers/container.ts";
import { pythonBundle, pythonServer } from "../helpers/python.ts";

const WIDTH = 784;
const CALLS = 1_500;
const WARM_UP = 300;
const ROUNDS = 3;

const contract = {
  inputs: [{ name: "input", datatype: "FP32", shape: [-1], isRagged: true }],
  outputs: [{ name: "output", datatype: "BYTES", shape: [], contentType: "json" }],
  isBatched: true,
} as const;
const arrays = {
  inputs: [{ name: "input", datatype: "FP32", shape: [WIDTH] }],
  outputs: [{ name: "output", datatype: "FP32", shape: [10] }],
  isBatched: true,
} as const;

const NODE_CODE = "export const predict = (rows) => rows.map((row) => row.reduce((a, b) => a + b, 0));";
const PYTHON_VALUES = "def predict(model, rows):\n    return [float(row.sum()) for row in rows]\n";
const PYTHON_ARRAYS = `import numpy

weights = numpy.ones((${WIDTH}, 10), "float32")

def predict(model, batch):
    return batch @ weights
`;

interface Case {
  readonly name: string;
  readonly command: ServerCommand;
  readonly bundle: () => Promise<BundleOnDisk>;
  /** Median of the model alone in a loop, µs. */
  readonly bareUs: (rows: number) => Promise<number>;
}

const CASES: readonly Case[] = [
  {
    name: "Node, rows of floats, JSON out",
    command: NODE_SERVER,
    bundle: () => functionBundle(NODE_CODE, { inputType: "floats", contract }),
    bareUs: async (rows) => {
      const { predict } = (await import(`data:text/javascript,${encodeURIComponent(NODE_CODE)}`)) as {
        predict: (rows: readonly (readonly number[])[]) => unknown;
      };
      const input = Array.from({ length: rows }, () => Array.from({ length: WIDTH }, () => 0.5));
      return median(() => predict(input));
    },
  },
  {
    name: "Python, rows of floats, JSON out",
    command: pythonServer(),
    bundle: () => pythonBundle(PYTHON_VALUES, { inputType: "floats", contract }),
    bareUs: (rows) => inPython(PYTHON_VALUES, `list(numpy.full((${rows}, ${WIDTH}), 0.5, "float32"))`),
  },
  {
    name: "Python, one array in and out",
    command: pythonServer(),
    bundle: () => pythonBundle(PYTHON_ARRAYS, { inputType: "tensor", contract: arrays }),
    bareUs: (rows) => inPython(PYTHON_ARRAYS, `numpy.full((${rows}, ${WIDTH}), 0.5, "float32")`),
  },
];

function median(call: () => unknown): number {
  const times: number[] = [];
  for (let round = 0; round < CALLS + WARM_UP; round += 1) {
    const start = performance.now();
    call();
    times.push((performance.now() - start) * 1000);
  }
  return middle(times.slice(WARM_UP));
}

function middle(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;
}

async function inPython(code: string, input: string): Promise<number> {
  const program = `import os
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
import time, numpy
${code}
batch = ${input}
times = []
for _ in range(${CALLS + WARM_UP}):
    start = time.perf_counter_ns()
    predict(None, batch)
    times.append(time.perf_counter_ns() - start)
times = sorted(times[${WARM_UP}:])
print(times[len(times) // 2] / 1000)`;
  return Number(execFileSync("python3", ["-c", program], { encoding: "utf8" }));
}

interface Served {
  readonly wallUs: number;
  readonly computeUs: number;
}

async function serve(container: TestContainer, rows: number): Promise<Served> {
  const data = new Uint8Array(new Float32Array(rows * WIDTH).fill(0.5).buffer);
  const tensor: Tensor = { name: "input", datatype: "FP32", shape: [rows, WIDTH], data };
  const walls: number[] = [];
  const computes: number[] = [];
  for (let round = 0; round < CALLS + WARM_UP; round += 1) {
    const start = performance.now();
    const { computeUs } = await container.infer([tensor]);
    walls.push((performance.now() - start) * 1000);
    computes.push(computeUs);
  }
  return { wallUs: middle(walls.slice(WARM_UP)), computeUs: middle(computes.slice(WARM_UP)) };
}

console.log("server                             rows   bare µs   in the model µs   call µs   overhead µs");
for (const { name, command, bundle, bareUs } of CASES) {
  await using files = await bundle();
  await using container = await TestContainer.start(files, {}, command);
  for (const rows of [1, 8, 64]) {
    const rounds: (Served & { readonly bare: number })[] = [];
    for (let round = 0; round < ROUNDS; round += 1)
      rounds.push({ bare: await bareUs(rows), ...(await serve(container, rows)) });
    const bare = middle(rounds.map((each) => each.bare));
    const compute = middle(rounds.map((each) => each.computeUs));
    const wall = middle(rounds.map((each) => each.wallUs));
    const figures = [rows, bare, compute, wall, wall - bare].map((figure, index) =>
      figure.toFixed(index === 0 ? 0 : 1).padStart([5, 10, 18, 10, 14][index] ?? 10),
    );
    console.log(`${name.padEnd(34)}${figures.join("")}`);
  }
}
