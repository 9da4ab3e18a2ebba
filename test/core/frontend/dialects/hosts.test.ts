// Generate, KServe V1, SageMaker and Vertex AI over real HTTP.
import { describe, expect, test } from "vitest";
import { encodeBytes } from "../../../../containers/tensors.ts";
import { ModelError } from "../../../../core/errors.ts";
import { QueryServer } from "../../../../core/frontend/server.ts";
import { createLog } from "../../../../core/log.ts";
import { BatchOutputs, type Query } from "../../../../core/query/query.ts";
import { fakes, type Fakes, jsonOutputs, tensorManifest, valueManifest } from "../../query/fakes.ts";
import { startTestServer } from "../query-client.ts";

/** Answers JSON text made of the only input's element. */
function answering(type: "json" | "strings" | "bytes", answer: (text: string) => unknown): Fakes {
  return fakes(valueManifest(type), {}, (query: Query) => {
    const text = Buffer.from(query.row.tensors[0]?.data.subarray(4) ?? []).toString();
    query.settle({ kind: "ok", outputs: jsonOutputs([JSON.stringify(answer(text))]), index: 0 });
  });
}

function sums(): Fakes {
  return fakes(valueManifest("doubles"), {}, (query) => {
    const { data } = query.row.tensors[0] ?? { data: new Uint8Array() };
    const sum = new Float64Array(data.slice().buffer).reduce((a, b) => a + b, 0);
    query.settle({ kind: "ok", outputs: jsonOutputs([String(sum)]), index: 0 });
  });
}

const GENERATE = { path: "/v2/models/digits/generate" } as const;
const STREAM = { path: "/v2/models/digits/generate_stream" } as const;

describe("generate", () => {
  test("gives a text for a text", async () => {
    await using server = await startTestServer(answering("strings", (text) => `${text}!`));
    const reply = await server.post(
      { id: "1", text_input: "hello", parameters: { timeout: 1_000_000 } },
      GENERATE,
    );
    expect(reply.text).toBe('{"id":"1","model_name":"digits","model_version":"1","text_output":"hello!"}');
  });

  test("gives a JSON function the whole request, and its members back", async () => {
    await using server = await startTestServer(
      answering("json", (text) => ({
        text_output: (JSON.parse(text) as { text_input: string }).text_input,
        tokens: 3,
      })),
    );
    const reply = await server.post({ text_input: "a", max_tokens: 5 }, GENERATE);
    expect(reply.json).toEqual({ model_name: "digits", model_version: "1", text_output: "a", tokens: 3 });
  });

  test("fills tensors by name, scalars as lists of one, and unwraps outputs of one element", async () => {
    const manifest = tensorManifest(
      [
        { name: "text_input", datatype: "BYTES", shape: [1] },
        { name: "seed", datatype: "INT32", shape: [-1] },
      ],
      [
        { name: "text_output", datatype: "BYTES", shape: [1] },
        { name: "score", datatype: "FP32", shape: [2] },
      ],
    );
    const parts = fakes(manifest, {}, (query) => {
      const text = query.row.tensors[0]?.data ?? encodeBytes([]);
      const score = new Uint8Array(new Float32Array([0.5, 1]).buffer);
      const outputs = new BatchOutputs(
        [
          { name: "text_output", datatype: "BYTES", shape: [1, 1], data: text },
          { name: "score", datatype: "FP32", shape: [1, 2], data: score },
        ],
        1,
      );
      query.settle({ kind: "ok", outputs, index: 0 });
    });
    await using server = await startTestServer(parts);
    const reply = await server.post({ text_input: "a", seed: 7 }, GENERATE);
    expect(reply.json).toMatchObject({ text_output: "a", score: [0.5, 1] });
    expect((await server.post({ text_input: "a" }, GENERATE)).json.error).toContain("seed");
  });

  test("streams one event; an error is JSON with its status", async () => {
    const parts = answering("strings", (text) => text);
    await using server = await startTestServer(parts);
    const reply = await server.post({ text_input: "a" }, STREAM);
    expect(reply.headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
    expect(reply.text).toBe('data: {"model_name":"digits","model_version":"1","text_output":"a"}\n\n');
    parts.served.answer = (query) => query.settle({ kind: "error", error: new ModelError("bad") });
    const failed = await server.post({ text_input: "a" }, STREAM);
    expect([failed.status, failed.json]).toEqual([500, { error: "bad" }]);
    expect((await server.post({ text_input: 1 }, GENERATE)).status).toBe(400);
  });

  test("takes MLServer's form: the body of infer", async () => {
    await using server = await startTestServer(sums());
    const body = { inputs: [{ name: "input", datatype: "FP64", shape: [1, 2], data: [1, 2] }] };
    expect((await server.post(body, GENERATE)).json.outputs[0].data).toEqual(["3"]);
    expect((await server.post(body, STREAM)).text).toMatch(/^data: \{"model_name".*\}\n\n$/);
  });
});

describe("KServe V1", () => {
  test("predicts a list of instances", async () => {
    await using server = await startTestServer(sums());
    const path = "/v1/models/digits:predict";
    expect((await server.post({ instances: [[1, 2], [3]] }, { path })).text).toBe('{"predictions":[3,3]}');
    const versioned = { path: "/v1/models/digits/versions/1:predict" };
    expect((await server.post({ instances: [[1]] }, versioned)).json).toEqual({ predictions: [1] });
    expect((await server.post({ instances: [] }, { path })).json).toEqual({ predictions: [] });
    const bad = await server.post({ instances: [[1], ["a"]] }, { path });
    expect([bad.status, bad.json]).toEqual([400, { error: expect.stringContaining("instances[1][0]") }]);
    expect((await server.post({ inputs: 1 }, { path })).status).toBe(400);
    expect((await server.post({ instances: 1 }, { path })).status).toBe(400);
    expect((await server.post({ instances: [[1]] }, { path: "/v1/models/nobody:predict" })).status).toBe(404);
    expect((await server.get("/v1/models/digits")).json).toEqual({ name: "digits", ready: true });
    expect((await server.get("/v1/models")).json).toEqual({ models: ["digits"] });
  });

  test("bytes may be wrapped, and too many instances are refused", async () => {
    await using server = await startTestServer(
      answering("bytes", (text) => text),
      { maxInputs: 2 },
    );
    const path = "/v1/models/digits:predict";
    const reply = await server.post({ instances: [{ b64: "YQ==" }, "Yg=="] }, { path });
    expect(reply.json).toEqual({ predictions: ["a", "b"] });
    expect((await server.post({ instances: ["", "", ""] }, { path })).status).toBe(413);
  });

  test("the default output stands in", async () => {
    const parts = sums();
    parts.application = { ...parts.application, defaultOutput: -1 };
    parts.changed();
    parts.served.answer = (query) => query.settle({ kind: "error", error: new ModelError("bad") });
    await using server = await startTestServer(parts);
    const reply = await server.post({ instances: [[1]] }, { path: "/v1/models/digits:predict" });
    expect(reply.json).toEqual({ predictions: [-1] });
  });
});

describe("SageMaker", () => {
  test("is one application: instances, one input, or lines of numbers", async () => {
    await using server = await startTestServer(sums());
    const path = "/invocations";
    expect((await server.get("/ping")).status).toBe(200);
    expect((await server.post({ instances: [[1], [2]] }, { path })).json).toEqual({ predictions: [1, 2] });
    expect((await server.post("[1,2,3]", { path })).text).toBe("6");
    const headers = { "content-type": "text/csv" };
    expect((await server.post("1,2\n3.5,4\n", { path, headers })).json).toEqual({ predictions: [3, 7.5] });
    expect((await server.post("1,x\n", { path, headers })).status).toBe(400);
    const target = { "x-amzn-sagemaker-target-model": "nobody" };
    expect((await server.post("[1]", { path, headers: target })).status).toBe(404);
  });
});

describe("Vertex AI", () => {
  test("has the paths that it was told", async () => {
    const vertex = { predictRoute: "/predict", healthRoute: "/health" };
    const server = new QueryServer({
      ...sums(),
      log: createLog("silent"),
      config: {
        host: "127.0.0.1",
        port: 0,
        maxBodyBytes: 2 ** 20,
        maxInputs: 10,
        requestTimeoutMs: 5000,
        clipper: undefined,
        vertex,
      },
    });
    const url = await server.listen();
    try {
      const body = '{"instances":[[1,2]],"parameters":{}}';
      const reply = await fetch(`${url}/predict`, { method: "POST", body });
      expect(await reply.json()).toEqual({ predictions: [3] });
      expect(await (await fetch(`${url}/health`)).json()).toEqual({ ready: true });
    } finally {
      await server.close(0);
    }
  });
});
