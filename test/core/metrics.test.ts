// The Prometheus text: names, labels, buckets, and what is removed.
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { Metrics } from "../../core/metrics.ts";

describe("metrics", () => {
  test("of an application are counted by outcome, and its latency by bucket", async () => {
    const metrics = new Metrics();
    const digits = metrics.application("digits");
    expect(metrics.application("digits")).toBe(digits);
    const first = digits.by("digits", "1");
    expect(digits.by("digits", "1")).toBe(first);
    first.outcome("ok", "", 3);
    first.outcome("default", "deadline", 60_000);
    first.outcome("error", "MODEL_ERROR", 0.4);
    digits.by("digits", "2").outcome("error", "MODEL_ERROR", 1);
    digits.outcome("error", "INVALID_JSON", 1);
    digits.by("digits", "1").cache("hit");
    const lines = (await metrics.text()).split("\n");
    expect(lines).toEqual(
      expect.arrayContaining([
        "# TYPE windjammer_queries_total counter",
        'windjammer_queries_total{application="digits",model="digits",version="1",kind="ok",reason=""} 1',
        'windjammer_queries_total{application="digits",model="digits",version="1",kind="default",reason="deadline"} 1',
        'windjammer_queries_total{application="digits",model="digits",version="1",kind="error",reason="MODEL_ERROR"} 1',
        "# TYPE windjammer_query_duration_seconds histogram",
        'windjammer_query_duration_seconds_bucket{application="digits",model="digits",version="1",le="0.0005"} 1',
        'windjammer_query_duration_seconds_bucket{application="digits",model="digits",version="1",le="0.005"} 2',
        'windjammer_query_duration_seconds_bucket{application="digits",model="digits",version="1",le="30"} 2',
        'windjammer_query_duration_seconds_bucket{application="digits",model="digits",version="1",le="+Inf"} 3',
        'windjammer_query_duration_seconds_count{application="digits",model="digits",version="1"} 3',
        'windjammer_queries_total{application="digits",model="digits",version="2",kind="error",reason="MODEL_ERROR"} 1',
        'windjammer_queries_total{application="digits",model="",version="",kind="error",reason="INVALID_JSON"} 1',
        'windjammer_query_duration_seconds_count{application="digits",model="digits",version="2"} 1',
        'windjammer_cache_total{application="digits",result="hit"} 1',
      ]),
    );
    const sum = lines.find((line) =>
      line.startsWith(
        'windjammer_query_duration_seconds_sum{application="digits",model="digits",version="1"}',
      ),
    );
    expect(Number(sum?.split(" ")[1])).toBeCloseTo(60.0034, 9);
  });

  test("of a version cover batches, waiting, drops and exits", async () => {
    const metrics = new Metrics();
    const version = metrics.version("digits", "1");
    expect(metrics.version("digits", "1")).toBe(version);
    version.batch(8, 12, 9);
    version.batch(3, 5, undefined);
    version.predicted(1.04);
    version.waited(2);
    version.dropped("shed");
    version.replicaExit("out-of-memory");
    const text = await metrics.text();
    for (const line of [
      'windjammer_batch_size_bucket{model="digits",version="1",le="4"} 1',
      'windjammer_batch_size_bucket{model="digits",version="1",le="8"} 2',
      'windjammer_batch_size_sum{model="digits",version="1"} 11',
      'windjammer_batch_duration_seconds_count{model="digits",version="1"} 2',
      'windjammer_compute_seconds_count{model="digits",version="1"} 1',
      'windjammer_batch_prediction_ratio_bucket{model="digits",version="1",le="1"} 0',
      'windjammer_batch_prediction_ratio_bucket{model="digits",version="1",le="1.05"} 1',
      'windjammer_queue_wait_seconds_count{model="digits",version="1"} 1',
      'windjammer_dropped_total{model="digits",version="1",reason="shed"} 1',
      'windjammer_replica_exits_total{model="digits",version="1",reason="out-of-memory"} 1',
    ]) {
      expect(text).toContain(line);
    }
  });

  test("read gauges at each scrape", async () => {
    const metrics = new Metrics();
    let ready = 1;
    const curve = { fixedMs: 10, perRowMs: 0.5 };
    metrics.setGauges(() => [
      { model: "digits", version: "1", ready, starting: 2, inFlight: 2, queueLength: 7, curve },
    ]);
    expect(await metrics.text()).toContain('windjammer_replicas{model="digits",version="1",state="ready"} 1');
    ready = 3;
    const text = await metrics.text();
    expect(text).toContain('windjammer_replicas{model="digits",version="1",state="ready"} 3');
    expect(text).toContain('windjammer_replicas{model="digits",version="1",state="starting"} 2');
    expect(text).toContain('windjammer_queue_length{model="digits",version="1"} 7');
    expect(text).toContain('windjammer_batches_in_flight{model="digits",version="1"} 2');
    expect(text).toContain('windjammer_batch_curve_seconds{model="digits",version="1",part="fixed"} 0.01');
    expect(text).toContain('windjammer_batch_curve_seconds{model="digits",version="1",part="row"} 0.0005');
    metrics.setGauges(() => []);
    expect(await metrics.text()).not.toContain("windjammer_queue_length{");
  });

  test("of what is removed are gone, and only those", async () => {
    const metrics = new Metrics();
    for (const name of ["a", "b"]) {
      metrics.application(name).outcome("ok", "", 1);
      metrics.application(name).objective("met");
      metrics.application(name).by(name, "1").outcome("ok", "", 1);
      metrics.application(name).by(name, "2").outcome("ok", "", 1);
      metrics.application(name).by("digits", "2").cache("miss");
      metrics.version(name, "1").dropped("deadline");
      metrics.version(name, "2").waited(1);
    }
    metrics.removeApplication("a");
    metrics.removeVersion("b", "1");
    const text = await metrics.text();
    expect(text).not.toContain('application="a"');
    expect(text).toContain('windjammer_cache_total{application="b",result="miss"} 1');
    expect(text).not.toContain('model="b",version="1"');
    expect(text).toContain('model="b",version="2"');
    expect(text).toContain('model="a",version="1"');
  });

  test("of a version that is removed and comes back start at 0", async () => {
    const metrics = new Metrics();
    const digits = metrics.application("digits");
    digits.by("digits", "1").outcome("ok", "", 1);
    digits.by("digits", "1").outcome("ok", "", 1);
    metrics.removeVersion("digits", "1");
    expect(await metrics.text()).not.toContain('version="1"');
    digits.by("digits", "1").outcome("ok", "", 1);
    expect(await metrics.text()).toContain(
      'windjammer_queries_total{application="digits",model="digits",version="1",kind="ok",reason=""} 1',
    );
  });

  test("include those of the process, and servers do not share theirs", async () => {
    const [one, two] = [new Metrics(), new Metrics()];
    one.application("digits").outcome("ok", "", 1);
    const text = await one.text();
    expect(text).toContain("process_cpu_user_seconds_total");
    // Before its first sample the watch over the event loop would say 292 years.
    expect(text).toMatch(/^nodejs_eventloop_lag_min_seconds \d{1,3}(?:\.\d+)?$/m);
    expect(await two.text()).not.toContain("digits");
    expect(one.contentType).toContain("version=0.0.4");
  });

  test("of another process add up with these, in every form they are shown in", async () => {
    const [own, other] = [new Metrics(), new Metrics()];
    for (const [count, metrics] of [own, other].entries()) {
      const application = metrics.application("digits");
      application.outcome("error", "INVALID_JSON", 1);
      const answers = application.by("digits", "1");
      answers.outcome("ok", "", 3);
      answers.outcome("default", "deadline", 100 * (count + 1));
      answers.cache(count === 0 ? "hit" : "miss");
      const version = metrics.version("digits", "1");
      version.waited(4);
      version.batch(2, 10, 8);
      version.answered(2, 10, 8);
      version.dropped("deadline");
    }
    // Only the other one knows of these: the first of their kind here.
    other.application("digits").by("digits", "1").outcome("error", "MODEL_ERROR", 7);
    other.version("digits", "1").answered(5, 20, undefined);
    other.application("gone").by("gone", "1").outcome("ok", "", 1);
    other.version("gone", "1").batch(1, 1, 1);
    // As it comes over a channel.
    own.add(structuredClone(other.take()));
    const text = await own.text();
    for (const line of [
      'windjammer_queries_total{application="digits",model="digits",version="1",kind="ok",reason=""} 2',
      'windjammer_queries_total{application="digits",model="digits",version="1",kind="default",reason="deadline"} 2',
      'windjammer_queries_total{application="digits",model="digits",version="1",kind="error",reason="MODEL_ERROR"} 1',
      'windjammer_queries_total{application="digits",model="",version="",kind="error",reason="INVALID_JSON"} 2',
      'windjammer_query_duration_seconds_bucket{application="digits",model="digits",version="1",le="0.005"} 2',
      'windjammer_cache_total{application="digits",result="miss"} 1',
      'windjammer_batch_size_sum{model="digits",version="1"} 4',
      'windjammer_dropped_total{model="digits",version="1",reason="deadline"} 2',
    ])
      expect(text).toContain(line);
    expect(text).not.toContain("gone");
    const { lastBatchAt, ...statistics } = own.statistics("digits", "1");
    expect(lastBatchAt).toBeGreaterThan(0);
    expect(statistics).toEqual({
      success: { count: 2, ms: expect.closeTo(6) },
      failure: { count: 3, ms: expect.closeTo(307) },
      queue: { count: 2, ms: expect.closeTo(8) },
      cacheHits: 1,
      cacheMisses: 1,
      batches: [
        { size: 2, count: 2, transferMs: 4, computeMs: 16 },
        { size: 5, count: 1, transferMs: 0, computeMs: 20 },
      ],
    });
    // Taken once, and counted on from there by the handles that were there before.
    expect(other.take()).toEqual({ series: [], answers: [], batches: [] });
    other.application("digits").by("digits", "1").outcome("ok", "", 3);
    own.add(other.take());
    expect(own.statistics("digits", "1").success.count).toBe(3);
  });

  test("that are gathered from elsewhere are there before anything is shown", async () => {
    const [own, other] = [new Metrics(), new Metrics()];
    own.version("digits", "1");
    other.version("digits", "1").dropped("shed");
    own.setSource(
      async () => own.add(other.take()),
      () => [{ pid: 7, cpuSeconds: 1.5, residentBytes: 2048 }],
    );
    const text = await own.text();
    expect(text).toContain('windjammer_dropped_total{model="digits",version="1",reason="shed"} 1');
    expect(text).toContain('windjammer_worker_cpu_seconds{pid="7"} 1.5');
    expect(text).toContain('windjammer_worker_resident_memory_bytes{pid="7"} 2048');
  });
});

test("the text that could not be loaded is loaded by the next scrape", async () => {
  const metrics = new Metrics();
  onTestFinished(() => {
    vi.doUnmock("../../core/metric-text.ts");
  });
  vi.doMock("../../core/metric-text.ts", () => {
    throw new Error("EMFILE: too many open files");
  });
  await expect(metrics.text()).rejects.toThrow();
  vi.doUnmock("../../core/metric-text.ts");
  expect(await metrics.text()).toContain("# TYPE windjammer_queries_total counter");
});

test("the first scrape on a busy event loop does not report a delay of centuries", async () => {
  const busy = setInterval(() => {
    const end = performance.now() + 30;
    while (performance.now() < end);
  });
  try {
    expect(await new Metrics().text()).toMatch(/^nodejs_eventloop_lag_min_seconds \d{1,3}(?:\.\d+)?$/m);
  } finally {
    clearInterval(busy);
  }
});
