// `windjammer bench` against real replicas: what it measures, and what it says when nothing can be measured.
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { deployFunction, deployOnnxModel } from "windjammer";
import { bars, Latencies } from "../../../core/cli/latencies.ts";
import { Load, type LoadResult } from "../../../core/cli/load.ts";
import { parseMetrics, total } from "../../../core/cli/metrics-text.ts";
import { cli, cliJson, startCli } from "../../helpers/cli.ts";
import { commandServer } from "../../helpers/command-server.ts";
import { tempFolder } from "../../helpers/temp.ts";

const DIGITS = join(import.meta.dirname, "../../../examples/digits");
const server = commandServer(async (wj) => {
  await deployOnnxModel(wj, { name: "digits", version: "1", model: join(DIGITS, "digits.onnx") });
  await deployFunction(wj, {
    name: "picky",
    version: "1",
    inputType: "strings",
    examples: [{ input: "fine" }],
    fn: (texts) => texts.map((text) => (text === "fine" ? text.length : refuse(text))),
  });
});

function refuse(text: string): never {
  throw new Error(`no ${text} here`);
}

async function answered(): Promise<number> {
  const samples = parseMetrics(await server.wj.metrics());
  return total(samples, "windjammer_queries_total", ({ model }) => model === "digits");
}

interface Report {
  readonly requests: number;
  readonly ok: number;
  readonly latency: { readonly p50Ms: number; readonly p99Ms: number; readonly count: number };
  readonly histogram: readonly { readonly count: number }[];
  readonly meanBatchSize: number;
}

describe("windjammer bench", () => {
  test("sends made-up inputs of the contract and shows rate, latency and their histogram", async () => {
    const { code, stdout, stderr } = await cli(["bench", "digits", "--seconds", "1", "--callers", "4"], {
      env: server.env,
    });
    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout).toMatch(/^application +digits, model digits 1\n/);
    expect(stdout).toMatch(
      /^load +4 callers, one input a request, .* s; inputs: made up from the contract$/m,
    );
    expect(stdout).toMatch(/^rate +\d+\S* predictions\/s, \d+\S* requests\/s$/m);
    expect(stdout).toMatch(/^latency +p50 \S+ m?s, p90 \S+ m?s, p99 \S+ m?s, max \S+ m?s, mean \S+ m?s$/m);
    expect(stdout).toMatch(/^batches +\S+ queries on average$/m);
    expect(stdout).toMatch(/^ *\S+ m?s █+ \d+$/m);
  });

  test("is a document for programs whose numbers add up", async () => {
    const args = ["bench", "digits", "--seconds", "1", "--callers", "2", "--batch", "5"];
    const report = await cliJson<Report>(args, server);
    expect(report).toMatchObject({
      application: "digits",
      version: "1",
      callers: 2,
      batch: 5,
      defaults: 0,
      errors: {},
    });
    expect(report.ok).toBe(report.requests * 5);
    expect(report.latency.count).toBe(report.requests);
    expect(report.histogram.reduce((sum, { count }) => sum + count, 0)).toBe(report.requests);
    expect(report.latency.p50Ms).toBeLessThanOrEqual(report.latency.p99Ms);
    expect(report.meanBatchSize).toBeGreaterThanOrEqual(1);
  });

  test("takes the version's examples, or inputs of a file", async () => {
    const examples = await cli(["bench", "picky", "--seconds", "1", "--callers", "1"], server);
    expect([examples.code, examples.stdout]).toEqual([
      0,
      expect.stringContaining("inputs: examples of the version (1)"),
    ]);
    const file = join(await tempFolder(), "inputs.json");
    await writeFile(file, '["fine", "wrong"]');
    const mixed = await cliJson<Report & { errors: Record<string, number> }>(
      ["bench", "picky", "--seconds", "1", "--callers", "1", "--inputs", file],
      server,
    );
    expect(mixed.ok).toBeGreaterThan(0);
    expect(Math.abs((mixed.errors["MODEL_ERROR"] ?? 0) - mixed.ok)).toBeLessThanOrEqual(1);
  });

  test("fails when nothing was answered, with the error", async () => {
    const file = join(await tempFolder(), "inputs.json");
    await writeFile(file, '["wrong"]');
    const { code, stdout } = await cli(
      ["bench", "picky", "--seconds", "1", "--callers", "1", "--inputs", file],
      server,
    );
    expect(code).toBe(1);
    expect(stdout).toMatch(/^\d+ × MODEL_ERROR: .*no wrong here/m);
  });

  test("ends with what it has on Ctrl-C", async () => {
    const before = await answered();
    const run = startCli(["bench", "digits", "--seconds", "60"], server);
    await expect.poll(answered).toBeGreaterThan(before);
    run.child.kill("SIGINT");
    expect(await run.exited).toBe(130);
    expect(run.stderr()).toBe("");
    expect(run.stdout()).toMatch(/^rate +/m);
  });

  test.each([
    [["digist"], 1, 'did you mean "digits"?'],
    [["digits", "--seconds", "601"], 2, "--seconds: expected 1 to 600, got 601"],
    [["digits", "--callers", "0"], 2, "--callers: expected 1 to 1000, got 0"],
    [["digits", "--inputs", "nowhere.json"], 1, "MODEL_FILE_NOT_FOUND: nowhere.json"],
  ])("says what is wrong: %j", async (args, code, message) => {
    const result = await cli(["bench", ...args], server);
    expect([result.code, result.stderr]).toEqual([code, expect.stringContaining(message)]);
  });
});

/** Three callers of a server that never answers; without time for that they are told to end at the first request. */
async function loadOn(options: { readonly graceMs?: number }): Promise<LoadResult> {
  const silent = createServer(() => {});
  onTestFinished(() => void silent.close());
  await once(silent.listen(0, "127.0.0.1"), "listening");
  const { port } = silent.address() as AddressInfo;
  const signal = new AbortController();
  const load = new Load({
    url: `http://127.0.0.1:${port}/`,
    bodies: ["{}"],
    batch: 2,
    callers: 3,
    durationMs: 50,
    signal: signal.signal,
    ...options,
  });
  if (options.graceMs === undefined) silent.once("request", () => signal.abort());
  return load.run();
}

describe("requests without an answer", () => {
  test("are errors when they had their time", async () => {
    const { requests, ok, errors } = await loadOn({ graceMs: 100 });
    expect(requests).toBeGreaterThan(0);
    expect([ok, errors]).toEqual([0, { SERVER_UNREACHABLE: 2 * requests }]);
  });

  test("are left out when the test is ended early", async () => {
    expect(await loadOn({})).toMatchObject({ requests: 0, ok: 0, errors: {} });
  });
});

describe("latencies", () => {
  test("are right within two percent", () => {
    const latencies = new Latencies();
    for (let ms = 1; ms <= 1000; ms++) latencies.add(ms);
    const { p50Ms = 0, p90Ms = 0, p99Ms = 0, ...rest } = latencies.summary() ?? {};
    for (const [got, expected] of [
      [p50Ms, 500],
      [p90Ms, 900],
      [p99Ms, 990],
    ] as const)
      expect(Math.abs(got - expected) / expected).toBeLessThan(0.02);
    expect(rest).toEqual({ count: 1000, meanMs: 500.5, minMs: 1, maxMs: 1000 });
    expect(latencies.rows().length).toBeLessThanOrEqual(14);
    expect(new Latencies().summary()).toBeUndefined();
  });

  test("are drawn so that one among many is seen", () => {
    const picture = bars(
      [
        { fromMs: 1, toMs: 2, count: 400 },
        { fromMs: 2, toMs: 4, count: 1 },
      ],
      (ms) => `${ms} ms`,
    );
    expect(picture).toBe(`1 ms ${"█".repeat(40)} 400\n2 ms ▏ 1`);
  });
});
