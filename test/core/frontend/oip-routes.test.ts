// The Open Inference Protocol's calls beside infer, over real HTTP: what each ambiguity was decided as.
import { describe, expect, test } from "vitest";
import type { Repository } from "../../../core/frontend/dialects/oip/catalog.ts";
import { QueryServer } from "../../../core/frontend/server.ts";
import { createLog } from "../../../core/log.ts";
import type { Served } from "../../../core/query/router.ts";
import { fakes, type Fakes, tensorManifest, valueManifest } from "../query/fakes.ts";
import { readAll, startTestServer } from "./query-client.ts";

const doubles = valueManifest("doubles");
const image = tensorManifest(
  [{ name: "x", datatype: "FP32", shape: [-1, 4] }],
  [{ name: "y", datatype: "INT64", shape: [] }],
);

interface Asked extends Repository {
  readonly calls: (readonly [string, number])[];
}

async function start(parts: Fakes, token?: string): Promise<Asked & AsyncDisposable & { url: string }> {
  const calls: (readonly [string, number])[] = [];
  const scale = async (model: string, replicas: number): Promise<void> => {
    calls.push([model, replicas]);
  };
  const server = new QueryServer({
    ...parts,
    log: createLog("silent"),
    config: {
      host: "127.0.0.1",
      port: 0,
      maxBodyBytes: 2 ** 20,
      maxInputs: 10,
      requestTimeoutMs: 5000,
      ...(token === undefined ? {} : { token }),
      serverName: "triton",
    },
    repository: { scale },
  });
  const url = await server.listen();
  return { url, calls, scale, [Symbol.asyncDispose]: () => server.close(0) };
}

async function post(url: string, body?: object, headers: Record<string, string> = {}): Promise<unknown[]> {
  const reply = await fetch(url, { method: "POST", headers, ...(body && { body: JSON.stringify(body) }) });
  return [reply.status, await reply.json()];
}

describe("server and models", () => {
  test("tell who they are, with and without a slash at the end", async () => {
    await using server = await startTestServer(fakes(doubles));
    for (const path of ["/v2", "/v2/"]) {
      const { status, json } = await server.get(path);
      expect(status).toBe(200);
      expect(json.name).toBe("windjammer");
      expect(json.extensions).toEqual(expect.arrayContaining(["binary_tensor_data", "statistics"]));
    }
  });

  test("health answers with JSON, which clients that want it and those that do not take", async () => {
    await using server = await startTestServer(fakes(doubles));
    expect((await server.get("/v2/health/live")).text).toBe('{"live":true}');
    expect((await server.get("/v2/health/ready")).text).toBe('{"ready":true}');
  });

  test("metadata hold the batch axis as -1", async () => {
    await using server = await startTestServer(fakes(image));
    const expected = {
      name: "digits",
      versions: ["1"],
      platform: "windjammer_fake",
      inputs: [{ name: "x", datatype: "FP32", shape: [-1, -1, 4] }],
      outputs: [{ name: "y", datatype: "INT64", shape: [-1] }],
    };
    expect((await server.get("/v2/models/digits")).json).toEqual(expected);
    expect((await server.get("/v2/models/digits/versions/1")).json).toEqual(expected);
    expect((await server.get("/v2/models")).json).toEqual({ models: ["digits"] });
  });

  test("a model that is not ready is 400 with its name", async () => {
    const parts = fakes(doubles);
    await using server = await startTestServer(parts);
    expect((await server.get("/v2/models/digits/ready")).json).toEqual({ name: "digits", ready: true });
    parts.served.readyCount = 0;
    const reply = await server.get("/v2/models/digits/versions/1/ready");
    expect([reply.status, reply.json]).toEqual([400, { name: "digits", ready: false }]);
  });

  test("config is in Triton's form", async () => {
    await using server = await startTestServer(fakes(image));
    expect((await server.get("/v2/models/digits/config")).json).toMatchObject({
      name: "digits",
      max_batch_size: 1,
      input: [{ name: "x", data_type: "TYPE_FP32", dims: [-1, 4] }],
      instance_group: [{ count: 1 }],
    });
  });

  test("statistics count queries, batches and batch sizes", async () => {
    const parts = fakes(doubles);
    const version = parts.metrics.version("digits", "1");
    version.answered(4, 10, 8);
    version.answered(4, 20, 16);
    version.answered(1, 3, undefined);
    // Those that failed are counted elsewhere.
    version.batch(2, 30, undefined);
    version.waited(2);
    const outcomes = parts.metrics.application("digits").by("digits", "1");
    outcomes.outcome("ok", "", 5);
    outcomes.outcome("error", "MODEL_ERROR", 7);
    for (const result of ["hit", "joined", "miss"] as const) outcomes.cache(result);
    await using server = await startTestServer(parts);
    const { json } = await server.get("/v2/models/digits/stats");
    expect(json.model_stats.length).toBe(1);
    expect(json.model_stats[0]).toMatchObject({
      name: "digits",
      version: "1",
      inference_count: 9,
      execution_count: 3,
      inference_stats: {
        success: { count: 1, ns: 5e6 },
        fail: { count: 1, ns: 7e6 },
        queue: { count: 1, ns: 2e6 },
        compute_infer: { count: 3, ns: 27e6 },
        cache_hit: { count: 2 },
        cache_miss: { count: 1 },
      },
      batch_stats: [
        { batch_size: 1, compute_infer: { count: 1, ns: 3e6 } },
        { batch_size: 4, compute_input: { count: 2, ns: 6e6 }, compute_infer: { count: 2, ns: 24e6 } },
      ],
    });
    expect(json.model_stats[0].last_inference).toBeGreaterThan(1.7e12);
    expect((await server.get("/v2/models/stats")).json).toEqual(json);
  });
});

test("a server that is not ready says so with 503, on every path that is asked, and its models with 400", async () => {
  const vertex = { predictRoute: "/answer", healthRoute: "/is-well" };
  await using server = await startTestServer(fakes(doubles), { isReady: () => false, vertex });
  for (const path of ["/v2/health/ready", "/health/ready", "/ping", "/is-well"]) {
    const { status, json } = await server.get(path);
    expect([path, status, json]).toEqual([path, 503, { ready: false }]);
  }
  expect((await server.get("/v2/health/live")).status).toBe(200);
  expect((await server.get("/v2/models/digits/ready")).status).toBe(400);
});

test("inference of a model that does not run is 503, in every dialect", async () => {
  const parts = fakes(doubles);
  parts.running.clear();
  await using server = await startTestServer(parts);
  const inputs = [{ name: "input", datatype: "FP64", shape: [1, 1], data: [1] }];
  for (const [path, body] of [
    ["/v2/models/digits/infer", { inputs }],
    ["/v1/models/digits:predict", { instances: [[1]] }],
    ["/invocations", { instances: [[1]] }],
    ["/digits/predict", { input: [1] }],
  ] as const)
    expect([path, (await server.post(body, { path })).status]).toEqual([path, 503]);
});

test("only inference is compressed: clients that inflate nothing else say that they take it, too", async () => {
  const parts = fakes(image);
  const [one] = parts.versions;
  const more = Array.from({ length: 60 }, (_, index) => Object.assign({}, one, { version: `${index + 2}` }));
  parts.versions.push(...more);
  await using server = await startTestServer(parts);
  for (const path of ["/v2/repository/index", "/v2/models/digits/config", "/v2/models/stats"]) {
    const socket = await server.dial();
    const method = path.endsWith("index") ? "POST" : "GET";
    socket.write(
      `${method} ${path} HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip, deflate\r\nConnection: close\r\n\r\n`,
    );
    const text = await readAll(socket);
    expect(text).toMatch(/^HTTP\/1.1 200 /);
    expect(text).not.toMatch(/content-encoding/i);
    if (method === "POST") expect(text.length).toBeGreaterThan(2048);
  }
});

describe("requests that are refused", () => {
  const bodies = [
    ["/v2/models/digits/infer", '{"inputs":[{"name":"input","datatype":"FP64","shape":[1,2],"data":[1]}]}'],
    ["/v2/models/digits/generate", '{"text_input":[[1]]}'],
    ["/v1/models/digits:predict", '{"instances":["a"]}'],
    ["/invocations", '{"instances":["a"]}'],
    ["/digits/predict", '{"input":'],
  ] as const;

  test.each(bodies)("%s: count as failures in the model's statistics", async (path, body) => {
    await using server = await startTestServer(fakes(doubles));
    expect((await server.post(body, { path })).status).toBe(400);
    const { json } = await server.get("/v2/models/digits/stats");
    expect(json.model_stats[0].inference_stats).toMatchObject({ success: { count: 0 }, fail: { count: 1 } });
  });

  test("before they came to a model are counted by their dialect and reason", async () => {
    const parts = fakes(doubles);
    await using server = await startTestServer(parts, { maxBodyBytes: 1000 });
    const large = JSON.stringify({ input: Array(2000).fill(1) });
    expect((await server.post(large)).status).toBe(413);
    expect((await server.post("{}", { path: "/v2/models/nobody/infer" })).status).toBe(404);
    const headers = { "content-encoding": "zstd" };
    expect((await server.post("{}", { path: "/v1/models/digits:predict", headers })).status).toBe(415);
    const text = await parts.metrics.text();
    expect(text).toContain('windjammer_refused_total{dialect="clipper",reason="BODY_TOO_LARGE"} 1');
    expect(text).toContain('windjammer_refused_total{dialect="oip",reason="MODEL_NOT_FOUND"} 1');
    expect(text).toContain('windjammer_refused_total{dialect="kserve-v1",reason="UNSUPPORTED_ENCODING"} 1');
  });
});

describe("refusals", () => {
  test.each([
    ["GET", "/v2/models/nobody", 404, "Request for unknown model: 'nobody' is not found"],
    [
      "GET",
      "/v2/models/digits/versions/9",
      404,
      "Request for unknown model: 'digits' version 9 is not found",
    ],
    ["GET", "/v2/nothing", 404, "no such path: /v2/nothing"],
    ["GET", "/v2/models/digits/infer", 405, "takes POST, not GET"],
    ["POST", "/v2/models/digits", 405, "takes GET, HEAD, not POST"],
    ["GET", "/v2/repository/index", 405, "takes POST, not GET"],
    ["POST", "/v2/repository/mine/index", 501, "'repository_name' specification is not supported"],
    ["POST", "/v2/repository/mine/models/m/load", 501, "'repository_name' specification is not supported"],
    ["GET", "/v2/models/%ff", 400, "the path"],
  ])("%s %s is %i in the protocol's form", async (...[method, path, status, text]) => {
    await using server = await startTestServer(fakes(doubles));
    const reply = await fetch(server.url + path, { method });
    expect(reply.headers.get("content-type")).toContain("application/json");
    const body = (await reply.json()) as { error: string };
    expect(body).toEqual({ error: expect.stringContaining(text) });
    expect(reply.status).toBe(status);
    if (status === 405) expect(reply.headers.get("allow")).toMatch(/POST|GET/);
  });
});

describe("the repository", () => {
  test("lists every version under each name, with its state; only the ready ones on demand", async () => {
    const parts = fakes(doubles);
    const [one] = parts.versions;
    if (one !== undefined) parts.versions.push({ ...one, version: "2", desiredReplicas: 0 });
    await using server = await start(parts);
    expect(await post(`${server.url}/v2/repository/index`)).toEqual([
      200,
      [
        { name: "digits", version: "1", state: "READY", reason: "" },
        { name: "digits", version: "2", state: "UNAVAILABLE", reason: "unloaded" },
      ],
    ]);
    const [, ready] = await post(`${server.url}/v2/repository/index`, { ready: true });
    expect((ready as unknown[]).length).toBe(1);
    parts.running.set("digits/2", { readyCount: 0, lastTrouble: () => "it broke" } as unknown as Served);
    const [, broken] = await post(`${server.url}/v2/repository/index`);
    expect((broken as unknown[])[1]).toMatchObject({ state: "UNAVAILABLE", reason: "it broke" });
  });

  test("loads and unloads the current version, and says why it loads no other model", async () => {
    await using server = await start(fakes(doubles));
    const models = `${server.url}/v2/repository/models`;
    expect(await post(`${models}/digits/unload`, { parameters: { unload_dependents: false } })).toEqual([
      200,
      {},
    ]);
    expect(await post(`${models}/digits/load`)).toEqual([200, {}]);
    expect(server.calls).toEqual([
      ["digits", 0],
      ["digits", 1],
    ]);
    const override = await post(`${models}/digits/load`, { parameters: { config: "{}" } });
    expect(override).toEqual([400, { error: expect.stringContaining("failed to load 'digits'") }]);
    expect((await post(`${models}/nobody/load`))[0]).toBe(404);
    expect((await post(`${models}/digits/load`, { parameters: 1 }))[0]).toBe(400);
  });

  test("wants the token of the management API, and without one answers no web page", async () => {
    const token = "a-token-of-some-length";
    await using guarded = await start(fakes(doubles), token);
    const path = `${guarded.url}/v2/repository/models/digits/unload`;
    expect((await post(path))[0]).toBe(401);
    expect((await post(path, undefined, { authorization: `Bearer ${token}` }))[0]).toBe(200);
    await using open = await start(fakes(doubles));
    const page = { origin: "http://evil.example" };
    expect((await post(`${open.url}/v2/repository/models/digits/unload`, undefined, page))[0]).toBe(400);
    expect(open.calls).toEqual([]);
  });

  test("the server goes by the name that it is given", async () => {
    await using server = await start(fakes(doubles));
    expect(await (await fetch(`${server.url}/v2`)).json()).toMatchObject({ name: "triton" });
  });
});
