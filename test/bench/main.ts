// `npm run bench [-- --seconds 2 --rounds 3]`: the whole path against a bare echo, as ratios within one run.
// With `--runtimes` (and `--base-image`) it compares the Docker runtime with the process runtime instead.
import { readFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { connect, deployFunction, deployOnnxModel, type Windjammer } from "windjammer";
import { load, type LoadResult } from "./load.ts";
import { cpuMs, startServer } from "./processes.ts";
import { compareRuntimes } from "./runtimes.ts";

const { values: flags } = parseArgs({
  options: {
    seconds: { type: "string", default: "2" },
    rounds: { type: "string", default: "3" },
    runtimes: { type: "boolean" },
    "base-image": { type: "string" },
  },
});
const seconds = Number(flags.seconds);
const rounds = Number(flags.rounds);
const file = (path: string): string => new URL(path, import.meta.url).pathname;

interface Row {
  readonly name: string;
  readonly application: string;
  readonly body: (index: number) => string;
  readonly check: (index: number, reply: string) => void;
}

interface Sample extends LoadResult {
  /** Of the frontend, or of the echo server. */
  readonly cpuUs: number;
  /** Of frontend and replicas together. */
  readonly allCpuUs: number;
}

const images = JSON.parse(await readFile(file("../../examples/digits/digits-cases.json"), "utf8")) as {
  images: unknown[];
  digits: number[];
};
const flat = images.images.map((image) => (image as number[][][]).flat(2));

function first(values: readonly number[], index: number): string {
  // Every body differs in its first number, so that no cache could answer it.
  return `{"input":[${[values[0] ?? 0, ...values.slice(1)].map((value, at) => (at === 0 ? value + (index % 1000) / 1e6 : value)).join(",")}]}`;
}

const rows: readonly Row[] = [
  {
    name: "function, 4 numbers",
    application: "first",
    body: (index) => `{"input":[${index},2.5,3.25,4]}`,
    check: (index, reply) => expectOutput(reply, index),
  },
  {
    name: "function, 784 numbers",
    application: "first",
    body: (index) => `{"input":[${index},${"0.123456,".repeat(782)}1]}`,
    check: (index, reply) => expectOutput(reply, index),
  },
  {
    name: "ONNX digits, 64 numbers",
    application: "digits",
    body: (index) => first(flat[index % flat.length] ?? [], index),
    check: (index, reply) => {
      const { output } = JSON.parse(reply) as { output: { digit: number } };
      if (output.digit !== images.digits[index % flat.length]) throw new Error(`wrong digit: ${reply}`);
    },
  },
];

function expectOutput(reply: string, value: number): void {
  const { output, length } = JSON.parse(reply) as { output?: number; length?: number };
  if (length === undefined && output !== value) throw new Error(`expected ${value}, got ${reply}`);
}

async function deploy(wj: Windjammer): Promise<void> {
  await deployFunction(wj, { name: "first", version: "1", inputType: "doubles", module: file("first.ts") });
  await deployOnnxModel(wj, {
    name: "digits",
    version: "1",
    model: file("../../examples/digits/digits.onnx"),
    inputType: "floats",
  });
}

/** A server under load: where, and its processes, the one that answers first. */
interface Target {
  readonly url: string;
  readonly pids: readonly number[];
}

async function sample(row: Row, { url, pids }: Target, connections: number): Promise<Sample> {
  const own = pids.slice(0, 1);
  const [before, allBefore] = [await cpuMs(own), await cpuMs(pids)];
  const check = url.includes("predict") ? row.check : () => undefined;
  const result = await load({ url, connections, seconds, body: row.body, check });
  const perRequest = (ms: number): number => (ms * 1000) / result.requests;
  return {
    ...result,
    cpuUs: perRequest((await cpuMs(own)) - before),
    allCpuUs: perRequest((await cpuMs(pids)) - allBefore),
  };
}

function median(samples: readonly Sample[], key: keyof Sample): number {
  const sorted = samples.map((one) => one[key]).toSorted((one, other) => one - other);
  return sorted[sorted.length >> 1] ?? Number.NaN;
}

interface Servers {
  readonly echo: Target;
  readonly queryUrl: string;
  /** The frontend, then its replicas. */
  readonly pids: readonly number[];
}

async function measure(row: Row, connections: number, servers: Servers): Promise<string> {
  const bare: Sample[] = [];
  const whole: Sample[] = [];
  for (let round = -1; round < rounds; round++) {
    const echo = await sample(row, servers.echo, connections);
    const path = await sample(
      row,
      { url: `${servers.queryUrl}/${row.application}/predict`, pids: servers.pids },
      connections,
    );
    // The first round warms up.
    if (round >= 0) {
      bare.push(echo);
      whole.push(path);
    }
  }
  const ratio = (key: keyof Sample): string =>
    (median(whole, key) / median(bare, key === "allCpuUs" ? "cpuUs" : key)).toFixed(2);
  const ms = (samples: readonly Sample[]): string => median(samples, "p50Ms").toFixed(2);
  return `| ${row.name} | ${connections} | ${Math.round(median(whole, "perSecond"))} | ${ratio("perSecond")} | ${ratio("cpuUs")} | ${ratio("allCpuUs")} | ${ms(whole)} (${ms(bare)}) |`;
}

if (flags.runtimes === true) await compareRuntimes({ seconds, rounds, baseImage: flags["base-image"] });
else await compareWithEcho();

async function compareWithEcho(): Promise<void> {
  await using echo = await startServer([file("echo-server.ts")], /http:\S+/);
  await using wj = await startServer(
    [
      file("../../dist/core/cli/main.js"),
      "start",
      "--port",
      "0",
      "--admin-port",
      "0",
      "--state-dir",
      `${process.env["TMPDIR"] ?? "/tmp"}/windjammer-bench-${process.pid}`,
      "--log-level",
      "warn",
    ],
    /management API\s+(http:\S+)/,
  );
  await using client = await connect(wj.url);
  await deploy(client);
  const replicas = await client.replicas();
  const servers: Servers = {
    echo: { url: `${echo.url}/`, pids: [echo.pid] },
    queryUrl: client.url,
    pids: [wj.pid, ...replicas.map((replica) => Number(replica.handle))],
  };
  console.log(
    "| row | connections | requests/s | × echo | frontend CPU ÷ echo's | all CPU ÷ echo's | p50 ms (echo) |\n|---|---|---|---|---|---|---|",
  );
  for (const row of rows)
    for (const connections of [1, 64]) console.log(await measure(row, connections, servers));
}
