// `windjammer describe` and `windjammer top`: what is known of a model, and what it does now, with real traffic.
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { deployFunction } from "windjammer";
import { buckets, difference, parseMetrics, quantile, total } from "../../../core/cli/metrics-text.ts";
import { cli, cliJson, startCli } from "../../helpers/cli.ts";
import { commandServer } from "../../helpers/command-server.ts";

const server = commandServer(async (wj) => {
  await deployFunction(wj, {
    name: "half",
    version: "1",
    application: "halves",
    inputType: "doubles",
    latencyObjectiveMs: 50_000,
    memoryMb: 512,
    fn: (inputs) => inputs.map(([first = 0]) => (first < 0 ? refuse(first) : first / 2)),
  });
});

function refuse(first: number): never {
  throw new Error(`${first} is below zero`);
}

describe("windjammer describe", () => {
  test("shows contract, curve, replicas and the last errors", async () => {
    const halves = await server.wj.application<number[], number>("halves");
    await halves.predictBatch(Array.from({ length: 50 }, (_, index) => [index]));
    for (let count = 0; count < 3; count++) await expect(halves.predict([-1])).rejects.toThrow("below zero");
    for (const target of ["half", "halves"]) {
      const { code, stdout } = await cli(["describe", target], server);
      expect(code).toBe(0);
      expect(stdout).toMatch(/^model +half 1, current, by function \(function\), .* ago\n/);
      expect(stdout).toMatch(/^applications +halves \(within 50\.0 s\)$/m);
      expect(stdout).toMatch(/^inputs +input FP64 \[any\]$/m);
      expect(stdout).toMatch(/^a replica +1 CPU, at most 512 MiB$/m);
      expect(stdout).toMatch(/^batching +slo, at most 256 queries, now up to \d+$/m);
      expect(stdout).toMatch(
        /^learned curve +\S+ ms \+ \S+ m?s a query \(a batch of 1: .*, of 16: .*, of 256: .*\), learned from \d+ batches$/m,
      );
      expect(stdout).toMatch(/^half-1-r1 +ready +\d+ .* MiB +.*%/m);
      expect(stdout).toMatch(/^ {2}3 × MODEL_ERROR, last .* ago: .*-1 is below zero/m);
    }
  });

  test("is a document for programs", async () => {
    const description = await cliJson<Record<string, unknown>>(["describe", "half", "1"], server);
    expect(description).toMatchObject({
      model: "half",
      isCurrent: true,
      applications: [{ name: "halves" }],
      version: { running: { policy: { policy: "slo" }, errors: [{ code: "MODEL_ERROR", count: 3 }] } },
      replicas: [
        { id: "half-1-r1", state: "ready", memoryBytes: expect.any(Number), cpuShare: expect.any(Number) },
      ],
      failures: [],
    });
  });

  test("shows deployments that failed, with their step and cause", async () => {
    const failed = deployFunction(server.wj, {
      name: "half",
      version: "2",
      application: "halves",
      inputType: "doubles",
      examples: [{ input: [4], output: 3 }],
      fn: (inputs) => inputs.map(([first = 0]) => first / 2),
    });
    await expect(failed).rejects.toThrow();
    const { stdout } = await cli(["describe", "half"], server);
    expect(stdout).toMatch(/^failed deployments\n {2}2, .* ago: GATE_FAILED in step gate: /m);
  });

  test("says what was meant", async () => {
    expect((await cli(["describe", "hlaf"], server)).stderr).toContain('did you mean "half"?');
    expect((await cli(["describe", "half", "9"], server)).stderr).toContain('has no version "9"');
    await deployFunction(server.wj, {
      name: "single",
      version: "1",
      inputType: "doubles",
      fn: (inputs) => inputs,
    });
    await server.wj.unlink("single", "single");
    await server.wj.deleteModel("single");
    expect((await cli(["describe", "single"], server)).stderr).toContain("windjammer link single MODEL");
  });
});

describe("windjammer top", () => {
  test("shows what came within an interval, once where no terminal is watched", async () => {
    const halves = await server.wj.application<number[], number>("halves");
    const stop = new AbortController();
    const load = (async () => {
      while (!stop.signal.aborted) await halves.predict([2]);
    })();
    try {
      const { code, stdout } = await cli(["top"], server);
      expect(code).toBe(0);
      expect(stdout).toMatch(
        /^MODEL +VERSION +RATE\/S +FAILED +P50 +P99 +BATCH +QUEUE +REPLICAS +MEMORY +CPU\n/,
      );
      expect(stdout).toMatch(/^half +1 +[1-9]\S* +- +\S+ m?s +\S+ m?s +1\.0 +\d +1\/1 +\S+ MiB +\S+%$/m);
      const snapshot = await cliJson(["top", "--once", "--interval-ms", "500"], server);
      expect(snapshot).toMatchObject({
        intervalMs: expect.any(Number),
        versions: [{ model: "half", version: "1", failedShare: 0, meanBatchSize: 1, readyReplicas: 1 }],
      });
      const { versions } = snapshot as { versions: readonly { ratePerS: number; p50Ms: number }[] };
      expect(versions[0]?.ratePerS).toBeGreaterThan(0);
      expect(versions[0]?.p50Ms).toBeGreaterThan(0);
    } finally {
      stop.abort();
      await load;
    }
  });

  test("gives a line of JSON an interval until Ctrl-C", async () => {
    const run = startCli(["top", "--json", "--interval-ms", "100"], server);
    await expect.poll(() => run.stdout().split("\n").length).toBeGreaterThan(3);
    run.child.kill("SIGINT");
    expect(await run.exited).toBe(130);
    for (const line of run.stdout().trim().split("\n")) expect(JSON.parse(line)).toHaveProperty("versions");
  });

  test("redraws the terminal's other screen until Ctrl-C, and gives the first one back", async () => {
    const main = join(import.meta.dirname, "../../../core/cli/main.ts");
    const script = `
import os, pty, select, signal, sys, time
pid, fd = pty.fork()
if pid == 0: os.execvp(sys.argv[1], sys.argv[1:])
seen, until = b"", time.time() + 40
while seen.count(b"MODEL") < 2 and time.time() < until:
    if select.select([fd], [], [], 1)[0]: seen += os.read(fd, 65536)
os.write(fd, b"\\x03")
try:
    while time.time() < until: seen += os.read(fd, 65536)
except OSError: pass
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
sys.stdout.flush()
os.write(1, seen)
`;
    const { stdout } = await promisify(execFile)(
      "python3",
      ["-c", script, process.execPath, main, "top", "--interval-ms", "100"],
      { env: { ...process.env, ...server.env, TERM: "xterm" } },
    );
    expect(stdout.startsWith("130\n")).toBe(true);
    expect(stdout).toContain("\u001B[?1049h\u001B[?25l");
    expect(stdout).toContain(`windjammer top`);
    expect(stdout).toMatch(/half/);
    expect(stdout.trimEnd().endsWith("\u001B[?25h\u001B[?1049l")).toBe(true);
  });

  test("refuses an interval that is none", async () => {
    const { code, stderr } = await cli(["top", "--interval-ms", "1"], server);
    expect([code, stderr]).toEqual([2, expect.stringContaining("--interval-ms: expected 100 or more")]);
  });
});

describe("metrics that are read back", () => {
  const text = `# HELP x y
requests_total{model="a",reason="say \\"no\\""} 3
requests_total{model="b",reason=""} 4
took_bucket{model="a",le="1"} 2
took_bucket{model="a",le="2"} 6
took_bucket{model="a",le="+Inf"} 8
took_sum{model="a"} 20
took_count{model="a"} 8
`;
  const samples = parseMetrics(text);

  test("are summed by label", () => {
    expect(total(samples, "requests_total", () => true)).toBe(7);
    expect(total(samples, "requests_total", ({ reason }) => reason === 'say "no"')).toBe(3);
  });

  test("give quantiles within their buckets", () => {
    const took = buckets(samples, "took", ({ model }) => model === "a");
    expect(took).toEqual({ bounds: [1, 2, Infinity], counts: [2, 6, 8], sum: 20, count: 8 });
    expect(quantile(took, 0.125)).toBe(0.5);
    expect(quantile(took, 0.5)).toBe(1.5);
    expect(quantile(took, 0.99)).toBe(2);
    expect(quantile(difference(took, took), 0.5)).toBeUndefined();
    expect(difference(took, { ...took, count: 9 })).toBe(took);
  });
});
