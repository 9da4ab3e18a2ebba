// `windjammer bench`: how fast an application answers under load, with inputs made up from its contract.
import { readFile } from "node:fs/promises";
import type { Command } from "commander";
import type { JsonValue } from "../../containers/protocol.ts";
import type { VersionDetail, Windjammer } from "../client/interface.ts";
import { InvalidInputError, InvalidOptionsError, ModelFileNotFoundError } from "../errors.ts";
import { untilInterrupted } from "./interrupt.ts";
import { bars, type LatencyRow, type LatencySummary } from "./latencies.ts";
import type { LoadResult } from "./load.ts";
import { buckets, difference, parseMetrics } from "./metrics-text.ts";
import { fields, oneLine, Output, paint } from "./output.ts";
import { serverCommand, type ServerFlags, withServer } from "./server.ts";
import { servedVersion } from "./served.ts";
import { durationText, percentText, threeDigits } from "./units.ts";
import { parseWhole } from "./values.ts";

const MAX_SECONDS = 600;
const MAX_CALLERS = 1_000;
const PROGRESS_EVERY_MS = 500;
/** Different made-up inputs, so that neither a cache nor a branch predictor makes the work less than it is. */
const VARIANTS = 64;

interface BenchFlags extends ServerFlags {
  readonly seconds: number;
  readonly callers: number;
  readonly batch: number;
  readonly inputs?: string;
  readonly version?: string;
}

interface Report {
  readonly application: string;
  readonly model: string;
  readonly version: string;
  /** Where the inputs come from. */
  readonly inputs: string;
  readonly callers: number;
  readonly batch: number;
  readonly seconds: number;
  readonly requests: number;
  readonly requestsPerS: number;
  readonly predictionsPerS: number;
  readonly ok: number;
  readonly defaults: number;
  readonly errors: Readonly<Record<string, number>>;
  readonly messages: Readonly<Record<string, string>>;
  readonly latency: LatencySummary | null;
  readonly histogram: readonly LatencyRow[];
  /** Queries in a batch that went to a replica; null: there were none, as with a cache. */
  readonly meanBatchSize: number | null;
  /** CPU time that this command took itself, of one CPU. */
  readonly ownCpuShare: number;
}

export function benchCommand(): Command {
  return serverCommand("bench", "measure an application under load, with inputs made up from its contract")
    .argument("<application>", "name of the application")
    .option("--seconds <seconds>", `how long, at most ${MAX_SECONDS}`, parseWhole, 5)
    .option("--callers <count>", "callers, each with one request at a time", parseWhole, 16)
    .option("--batch <inputs>", "inputs in one request", parseWhole, 1)
    .option(
      "--inputs <file>",
      "JSON list of inputs to send in turn (default: the version's examples, else made up)",
    )
    .option("--version <version>", "this version in place of the current one")
    .action(async (application: string, flags: BenchFlags) => {
      checkBounds(flags);
      const output = new Output(flags);
      await withServer(flags, (wj) =>
        untilInterrupted(async (signal) => {
          const report = await bench(wj, application, { flags, output, signal });
          output.result(report, () => textOf(report));
          if (report.ok + report.defaults === 0) process.exitCode = 1;
        }),
      );
    });
}

interface Running {
  readonly flags: BenchFlags;
  readonly output: Output;
  readonly signal: AbortSignal;
}

async function bench(
  wj: Windjammer,
  application: string,
  { flags, output, signal }: Running,
): Promise<Report> {
  const detail = await servedVersion(wj, application, flags.version);
  const { source, inputs } = await inputsOf(detail, flags.inputs);
  const { bodiesOf, Load } = await import("./load.ts");
  const load = new Load({
    url: `${wj.url}/${encodeURIComponent(application)}/predict`,
    bodies: bodiesOf(inputs, flags.batch, flags.version),
    batch: flags.batch,
    callers: flags.callers,
    durationMs: flags.seconds * 1000,
    signal,
  });
  const before = await batchSizes(wj, detail);
  const cpu = process.cpuUsage();
  const begun = performance.now();
  const timer = setInterval(() => {
    const seconds = (performance.now() - begun) / 1000;
    output.progress(`${seconds.toFixed(0)} of ${flags.seconds} s, ${load.requests} requests`);
  }, PROGRESS_EVERY_MS);
  try {
    const result = await load.run();
    const { user, system } = process.cpuUsage(cpu);
    const sizes = difference(await batchSizes(wj, detail), before);
    const meanBatchSize = sizes.count === 0 ? null : sizes.sum / sizes.count;
    const ownCpuShare = (user + system) / 1000 / result.tookMs;
    return { ...reportOf({ application, detail, source, flags }, result), meanBatchSize, ownCpuShare };
  } finally {
    clearInterval(timer);
    output.done();
  }
}

interface Inputs {
  readonly source: string;
  readonly inputs: readonly JsonValue[];
}

async function inputsOf({ settings, manifest }: VersionDetail, file: string | undefined): Promise<Inputs> {
  if (file !== undefined) return { source: file, inputs: await readInputs(file) };
  const examples = settings.examples.map(({ input }) => input);
  if (examples.length > 0)
    return { source: `examples of the version (${examples.length})`, inputs: examples };
  const { variedInput } = await import("../deploy/made-up-input.ts");
  const inputs = Array.from({ length: VARIANTS }, (_, number) => variedInput(manifest, number));
  return { source: "made up from the contract", inputs };
}

/** @throws InvalidInputError, ModelFileNotFoundError */
async function readInputs(file: string): Promise<readonly JsonValue[]> {
  const text = await readFile(file, "utf8").catch((error: unknown) => {
    throw new ModelFileNotFoundError(`${file} cannot be read: ${(error as Error).message}`, {
      cause: error,
      details: { file },
    });
  });
  let inputs: unknown;
  try {
    inputs = JSON.parse(text);
  } catch (error) {
    throw new InvalidInputError(`${file} is not JSON: ${oneLine((error as Error).message)}`, {
      cause: error,
    });
  }
  if (Array.isArray(inputs) && inputs.length > 0) return inputs as JsonValue[];
  throw new InvalidInputError(`${file} is no list of inputs; expected [input, input, …]`, {
    details: { file },
  });
}

async function batchSizes(
  wj: Windjammer,
  { model, version }: VersionDetail,
): Promise<ReturnType<typeof buckets>> {
  const samples = parseMetrics(await wj.metrics());
  return buckets(
    samples,
    "windjammer_batch_size",
    (labels) => labels["model"] === model && labels["version"] === version,
  );
}

interface Subject {
  readonly application: string;
  readonly detail: VersionDetail;
  readonly source: string;
  readonly flags: BenchFlags;
}

function reportOf(
  { application, detail, source, flags }: Subject,
  result: LoadResult,
): Omit<Report, "meanBatchSize" | "ownCpuShare"> {
  const { tookMs, requests, ok, defaults, errors, messages, latencies } = result;
  return {
    application,
    model: detail.model,
    version: detail.version,
    inputs: source,
    callers: flags.callers,
    batch: flags.batch,
    seconds: tookMs / 1000,
    requests,
    requestsPerS: (requests * 1000) / tookMs,
    predictionsPerS: ((ok + defaults) * 1000) / tookMs,
    ok,
    defaults,
    errors,
    messages,
    latency: latencies.summary() ?? null,
    histogram: latencies.rows(),
  };
}

function textOf(report: Report): string {
  const { latency, histogram, errors, messages, meanBatchSize, batch, callers, seconds } = report;
  const failed = Object.entries(errors).map(([code, count]) =>
    paint("red", `${count} × ${code}: ${oneLine(messages[code] ?? "")}`),
  );
  const facts = fields([
    ["application", `${report.application}, model ${report.model} ${report.version}`],
    [
      "load",
      `${callers} callers, ${batch === 1 ? "one input" : `${batch} inputs`} a request, ${threeDigits(seconds)} s; inputs: ${report.inputs}`,
    ],
    [
      "rate",
      `${paint("bold", threeDigits(report.predictionsPerS))} predictions/s, ${threeDigits(report.requestsPerS)} requests/s`,
    ],
    ["latency", latency === null ? undefined : latencyText(latency)],
    ["batches", meanBatchSize === null ? undefined : `${threeDigits(meanBatchSize)} queries on average`],
    [
      "defaults",
      report.defaults === 0
        ? undefined
        : paint("yellow", `${report.defaults} answers were the default output`),
    ],
    [
      "this command",
      `took ${percentText(report.ownCpuShare)} of a CPU itself; on the server's machine that is missing there`,
    ],
  ]);
  const picture = histogram.length === 0 ? [] : ["", bars(histogram, durationText)];
  return [facts, ...failed, ...picture].join("\n");
}

function latencyText({ p50Ms, p90Ms, p99Ms, maxMs, meanMs }: LatencySummary): string {
  const parts = [
    ["p50", p50Ms],
    ["p90", p90Ms],
    ["p99", p99Ms],
    ["max", maxMs],
    ["mean", meanMs],
  ] as const;
  return parts.map(([name, ms]) => `${name} ${durationText(ms)}`).join(", ");
}

/** @throws InvalidOptionsError */
function checkBounds({ seconds, callers, batch }: BenchFlags): void {
  const bounds = [
    ["--seconds", seconds, MAX_SECONDS],
    ["--callers", callers, MAX_CALLERS],
    ["--batch", batch, 10_000],
  ] as const;
  for (const [option, value, most] of bounds) {
    if (value < 1 || value > most)
      throw new InvalidOptionsError(`${option}: expected 1 to ${most}, got ${value}`, {
        details: { option },
      });
  }
}
