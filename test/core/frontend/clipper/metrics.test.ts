import { describe, expect, test } from "vitest";
import { ClipperMetrics } from "../../../../core/frontend/clipper/metrics.ts";
import { Metrics } from "../../../../core/metrics.ts";
import { fakes, valueManifest } from "../../query/fakes.ts";
import { startTestServer } from "../query-client.ts";

type Report = Readonly<Record<string, readonly Readonly<Record<string, Readonly<Record<string, string>>>>[]>>;

function read(metrics: Metrics, now = 0, clipper: ClipperMetrics = new ClipperMetrics(metrics, 0)): Report {
  return JSON.parse(clipper.text(["app"], now)) as Report;
}

function named(report: Report, kind: string, name: string): Readonly<Record<string, string>> | undefined {
  return report[kind]?.find((entry) => name in entry)?.[name];
}

describe("metrics as Clipper's JSON", () => {
  test("hold every name of Clipper's, under its kind, with strings for values", () => {
    const metrics = new Metrics();
    metrics.version("m", "1");
    const report = read(metrics);
    expect(
      Object.entries(report).map(([kind, entries]) => [kind, entries.flatMap((entry) => Object.keys(entry))]),
    ).toEqual([
      [
        "counters",
        [
          "app:app:num_predictions",
          "model:m:1:num_predictions",
          "internal:aggregate_num_predictions",
          "internal:prediction_cache_lookups",
        ],
      ],
      [
        "ratio_counters",
        [
          "app:app:default_prediction_ratio",
          "model:m:1:cache_hit_ratio",
          "internal:prediction_cache_hit_ratio",
        ],
      ],
      [
        "meters",
        [
          "app:app:prediction_throughput",
          "model:m:1:prediction_throughput",
          "internal:aggregate_model_throughput",
        ],
      ],
      [
        "histograms",
        [
          "app:app:prediction_latency",
          "model:m:1:prediction_latency",
          "model:m:1:batch_size",
          "internal:rpc_request_queueing_delay",
        ],
      ],
    ]);
    const fields = ["unit", "size", "min", "max", "mean", "std_dev", "p50", "p95", "p99"];
    expect(Object.keys(named(report, "histograms", "app:app:prediction_latency") ?? {})).toEqual(fields);
    expect(named(report, "ratio_counters", "app:app:default_prediction_ratio")).toEqual({ ratio: "nan" });
    for (const entries of Object.values(report))
      for (const entry of entries.flatMap((one) => Object.values(one)))
        for (const value of Object.values(entry)) expect(value).toBeTypeOf("string");
  });

  test("count answers and defaults, not errors, and rows by version", () => {
    const metrics = new Metrics();
    const application = metrics.application("app");
    application.by("m", "1").outcome("ok", "", 10);
    application.by("m", "1").outcome("ok", "", 30);
    application.outcome("default", "no-model", 20);
    application.outcome("error", "INVALID_JSON", 1);
    application.by("digits", "1").cache("hit");
    application.by("digits", "1").cache("miss");
    const version = metrics.version("m", "1");
    version.batch(3, 40, undefined);
    version.batch(5, 40, undefined);
    const report = read(metrics);
    expect(named(report, "counters", "app:app:num_predictions")).toEqual({ count: "3" });
    expect(named(report, "ratio_counters", "app:app:default_prediction_ratio")).toEqual({
      ratio: String(1 / 3),
    });
    expect(named(report, "counters", "model:m:1:num_predictions")).toEqual({ count: "8" });
    expect(named(report, "ratio_counters", "model:m:1:cache_hit_ratio")).toEqual({ ratio: "0.5" });
    const sizes = named(report, "histograms", "model:m:1:batch_size");
    expect(sizes).toMatchObject({ unit: "queries", size: "2", min: "2", max: "8", mean: "4" });
    const latency = named(report, "histograms", "model:m:1:prediction_latency");
    expect(latency).toMatchObject({ unit: "microseconds", size: "2" });
    expect(Number(latency?.["p50"])).toBeGreaterThan(25_000);
    expect(Number(latency?.["p99"])).toBeLessThanOrEqual(50_000);
  });

  test("average rates over minutes, brought up to date when they are read", () => {
    const metrics = new Metrics();
    const clipper = new ClipperMetrics(metrics, 0);
    const meter = (now: number): Readonly<Record<string, string>> | undefined =>
      named(read(metrics, now, clipper), "meters", "app:app:prediction_throughput");
    for (let count = 0; count < 100; count++) metrics.application("app").outcome("ok", "", 1);
    expect(meter(1000)).toEqual({
      unit: "events per second",
      rate: "100",
      rate_1min: "-1",
      rate_5min: "-1",
      rate_15min: "-1",
    });
    expect(meter(10_000)).toMatchObject({ rate: "10", rate_1min: "10", rate_15min: "10" });
    const later = meter(70_000);
    expect(Number(later?.["rate_1min"])).toBeCloseTo(10 * Math.exp(-1), 6);
    expect(Number(later?.["rate_15min"])).toBeCloseTo(10 * Math.exp(-1 / 15), 6);
  });

  test("an application that was deleted and made again counts from zero, and no rate is negative", () => {
    const metrics = new Metrics();
    const clipper = new ClipperMetrics(metrics, 0);
    const rate = (now: number): number =>
      Number(named(read(metrics, now, clipper), "meters", "app:app:prediction_throughput")?.["rate_1min"]);
    for (let count = 0; count < 100; count++) metrics.application("app").outcome("ok", "", 1);
    expect(rate(10_000)).toBe(10);
    metrics.removeApplication("app");
    for (let count = 0; count < 50; count++) metrics.application("app").outcome("ok", "", 1);
    expect(rate(15_000)).toBe(10);
  });
});

describe("GET /metrics", () => {
  test.each([
    ["", "*/*", false, "text/plain"],
    ["", "application/json", false, "application/json"],
    ["?format=clipper", "*/*", false, "application/json"],
    ["", "*/*", true, "application/json"],
    ["", "text/plain;version=0.0.4", true, "text/plain"],
    ["", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5", true, "text/plain"],
    ["?format=prometheus", "application/json", true, "text/plain"],
  ])(
    "%s with Accept %s, of a server that speaks Clipper %s, is %s",
    async (...[query, accept, isOn, type]) => {
      const clipper = isOn
        ? { clipper: { host: "127.0.0.1", allowUnauthenticated: false, adminPort: 0, rpcPort: null } }
        : {};
      await using server = await startTestServer(fakes(valueManifest("doubles")), clipper);
      const response = await fetch(`${server.url}/metrics${query}`, { headers: { accept } });
      expect(response.headers.get("content-type")).toContain(type);
      expect(await response.text()).toContain(
        type === "text/plain" ? "# TYPE" : '"app:digits:num_predictions"',
      );
    },
  );
});
