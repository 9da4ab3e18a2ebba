// Exchanges as clients of the protocol send them, byte for byte, and the exact replies.
import { deflateSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import type { TensorSpec } from "../../../../containers/protocol.ts";
import type { Tensor } from "../../../../containers/tensors.ts";
import { BatchOutputs } from "../../../../core/query/query.ts";
import { fakes, type Fakes, tensorManifest } from "../../query/fakes.ts";
import { startTestServer, type TestServer } from "../query-client.ts";

const spec: TensorSpec = { name: "IN", datatype: "BYTES", shape: [1] };

/** A model that gives its inputs back. */
function echoing(specs: readonly TensorSpec[]): Fakes {
  const parts = fakes(tensorManifest(specs, specs));
  parts.served.answer = (query) => {
    const tensors = specs.map(({ name, datatype }, index): Tensor => {
      const { shape = [], data = new Uint8Array() } = query.row.tensors[index] ?? {};
      return { name, datatype, shape: [1, ...shape], data };
    });
    query.settle({ kind: "ok", outputs: new BatchOutputs(tensors, 1), index: 0 });
  };
  return parts;
}

/** Sends bytes on a connection of their own; gives the reply without its Date. */
async function replay(server: TestServer, head: readonly string[], body: Buffer): Promise<string> {
  const socket = await server.dial();
  const text = [...head, "Connection: close", "", ""].join("\r\n");
  socket.write(Buffer.concat([Buffer.from(text), body]));
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks)
    .toString("latin1")
    .replace(/Date: [^\r]*\r\n/, "");
}

function lines(...all: readonly string[]): string {
  return all.join("\r\n");
}

describe("Triton's Python client", () => {
  test("binary BYTES [2,1] without a content type, answered in binary", async () => {
    await using server = await startTestServer(echoing([spec]));
    const header =
      '{"id":"7","inputs":[{"name":"IN","shape":[2,1],"datatype":"BYTES","parameters":{"binary_data_size":11}}],"parameters":{"binary_data_output":true}}';
    const tail = Buffer.from("\u0002\0\0\0ab\u0001\0\0\0c", "latin1");
    const reply = await replay(
      server,
      [
        "POST /v2/models/digits/infer HTTP/1.1",
        "Host: 127.0.0.1",
        "accept-encoding: identity",
        `Inference-Header-Content-Length: ${header.length}`,
        `Content-Length: ${header.length + tail.length}`,
      ],
      Buffer.concat([Buffer.from(header), tail]),
    );
    const expected =
      '{"model_name":"digits","model_version":"1","id":"7","outputs":[{"name":"IN","datatype":"BYTES","shape":[2,1],"parameters":{"binary_data_size":11}}]}';
    expect(reply).toBe(
      lines(
        "HTTP/1.1 200 OK",
        "Content-Type: application/octet-stream",
        `Content-Length: ${expected.length + 11}`,
        "x-request-id: 1",
        `inference-header-content-length: ${expected.length}`,
        "Connection: close",
        "",
        `${expected}${tail.toString("latin1")}`,
      ),
    );
  });

  test("the repository's index, asked with no body and no length", async () => {
    await using server = await startTestServer(echoing([spec]));
    const reply = await replay(
      server,
      ["POST /v2/repository/index HTTP/1.1", "Host: 127.0.0.1"],
      Buffer.alloc(0),
    );
    const expected = '[{"name":"digits","version":"1","state":"READY","reason":""}]';
    expect(reply).toBe(
      lines(
        "HTTP/1.1 200 OK",
        "Content-Type: application/json; charset=utf-8",
        `Content-Length: ${expected.length}`,
        "Connection: close",
        "",
        expected,
      ),
    );
  });
});

describe("KServe's Python client", () => {
  test("JSON with an id and the model's name in the body", async () => {
    const fp32: TensorSpec = { name: "x", datatype: "FP32", shape: [2] };
    await using server = await startTestServer(echoing([fp32]));
    const body =
      '{"id":"a-b","model_name":"other","inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[0.1,2]}]}';
    const reply = await replay(
      server,
      [
        "POST /v2/models/digits/infer HTTP/1.1",
        "host: 127.0.0.1",
        "content-type: application/json",
        `content-length: ${body.length}`,
      ],
      Buffer.from(body),
    );
    const expected =
      '{"model_name":"digits","model_version":"1","id":"a-b","outputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[0.1,2]}]}';
    expect(reply).toBe(
      lines(
        "HTTP/1.1 200 OK",
        "Content-Type: application/json",
        `Content-Length: ${expected.length}`,
        "x-request-id: 1",
        "Connection: close",
        "",
        expected,
      ),
    );
  });

  test("an unknown model", async () => {
    await using server = await startTestServer(echoing([spec]));
    const expected = '{"error":"Request for unknown model: \'nobody\' is not found"}';
    const reply = await replay(
      server,
      ["POST /v2/models/nobody/infer HTTP/1.1", "Host: x", "Content-Length: 2"],
      Buffer.from("{}"),
    );
    expect(reply).toBe(
      lines(
        "HTTP/1.1 404 Not Found",
        "Content-Type: application/json",
        `Content-Length: ${expected.length}`,
        "Connection: close",
        "",
        expected,
      ),
    );
  });
});

interface Recorded {
  readonly request: string;
  readonly headers?: readonly string[];
  readonly body?: string | Buffer;
  readonly status?: string;
  readonly reply: string;
  /** Behind the content length. */
  readonly more?: readonly string[];
  readonly type?: string;
}

const EXPRESS = "application/json; charset=utf-8";
const BY_NAME = "/v2/models/digits";
const INPUT = '{"name":"x","shape":[2,2],"datatype":"FP32","data":[1,2,4,3]}';
const HEADER = '{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","parameters":{"binary_data_size":8}}]';
const TWO = Buffer.from(new Float32Array([0.5, 1]).buffer);
const MIXED = `${HEADER},"outputs":[{"name":"x","parameters":{"binary_data":true}}]}`;
const MIXED_REPLY =
  '{"model_name":"digits","model_version":"1","outputs":[{"name":"x","datatype":"FP32","shape":[1,2],"parameters":{"binary_data_size":8}}]}';
const NO_TIME = '{"count":0,"ns":0}';

/** Triton's names in what clients ask beside inference, and inference in every form. */
const RECORDED: Readonly<Record<string, Recorded>> = {
  "the server lives": { request: "GET /v2/health/live", type: EXPRESS, reply: '{"live":true}' },
  "the server is ready": { request: "GET /v2/health/ready", type: EXPRESS, reply: '{"ready":true}' },
  "the model is ready": {
    request: `GET ${BY_NAME}/versions/1/ready`,
    type: EXPRESS,
    reply: '{"name":"digits","ready":true}',
  },
  "the model's metadata": {
    request: `GET ${BY_NAME}`,
    type: EXPRESS,
    reply:
      '{"name":"digits","versions":["1"],"platform":"windjammer_fake","inputs":[{"name":"x","datatype":"FP32","shape":[-1,2]}],"outputs":[{"name":"x","datatype":"FP32","shape":[-1,2]}]}',
  },
  "the model's statistics": {
    request: `GET ${BY_NAME}/stats`,
    type: EXPRESS,
    reply: `{"model_stats":[{"name":"digits","version":"1","last_inference":0,"inference_count":0,"execution_count":0,"inference_stats":{"success":${NO_TIME},"fail":${NO_TIME},"queue":${NO_TIME},"compute_input":${NO_TIME},"compute_infer":${NO_TIME},"compute_output":${NO_TIME},"cache_hit":${NO_TIME},"cache_miss":${NO_TIME}},"batch_stats":[]}]}`,
  },
  "names of models": { request: "GET /v2/models", type: EXPRESS, reply: '{"models":["digits"]}' },
  "the index of what is ready": {
    request: "POST /v2/repository/index",
    body: '{"ready":true}',
    type: EXPRESS,
    reply: '[{"name":"digits","version":"1","state":"READY","reason":""}]',
  },
  load: { request: "POST /v2/repository/models/digits/load", body: "{}", type: EXPRESS, reply: "{}" },
  "load with another configuration": {
    request: "POST /v2/repository/models/digits/load",
    body: '{"parameters":{"config":"{}","file:1/x.onnx":"AAEC"}}',
    type: EXPRESS,
    status: "400 Bad Request",
    reply:
      '{"error":"failed to load \'digits\', versions do not change: deploy what \\"config\\" holds as a version of its own, through the management API"}',
  },
  unload: {
    request: "POST /v2/repository/models/digits/unload",
    body: '{"parameters":{"unload_dependents":false}}',
    type: EXPRESS,
    reply: "{}",
  },
  "JSON, two rows of one version": {
    request: `POST ${BY_NAME}/versions/1/infer`,
    body: `{"inputs":[${INPUT}]}`,
    more: ["x-request-id: 1"],
    reply:
      '{"model_name":"digits","model_version":"1","outputs":[{"name":"x","datatype":"FP32","shape":[2,2],"data":[1,2,4,3]}]}',
  },
  classification: {
    request: `POST ${BY_NAME}/infer`,
    body: `{"inputs":[${INPUT}],"outputs":[{"name":"x","parameters":{"classification":1,"binary_data":false}}]}`,
    more: ["x-request-id: 1"],
    reply:
      '{"model_name":"digits","model_version":"1","outputs":[{"name":"x","datatype":"BYTES","shape":[2,1],"data":["2.000000:1","4.000000:0"]}]}',
  },
  "binary in, JSON out": {
    request: `POST ${BY_NAME}/infer`,
    headers: [`Inference-Header-Content-Length: ${HEADER.length + 1}`],
    body: Buffer.concat([Buffer.from(`${HEADER}}`), TWO]),
    more: ["x-request-id: 1"],
    reply:
      '{"model_name":"digits","model_version":"1","outputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[0.5,1]}]}',
  },
  "binary both ways": {
    request: `POST ${BY_NAME}/infer`,
    headers: [`Inference-Header-Content-Length: ${MIXED.length}`],
    body: Buffer.concat([Buffer.from(MIXED), TWO]),
    type: "application/octet-stream",
    more: ["x-request-id: 1", `inference-header-content-length: ${MIXED_REPLY.length}`],
    reply: MIXED_REPLY + TWO.toString("latin1"),
  },
  "a raw request": {
    request: `POST ${BY_NAME}/infer`,
    headers: ["Inference-Header-Content-Length: 0"],
    body: TWO,
    type: "application/octet-stream",
    more: ["x-request-id: 1", `inference-header-content-length: ${MIXED_REPLY.length}`],
    reply: MIXED_REPLY + TWO.toString("latin1"),
  },
  "a deflated body": {
    request: `POST ${BY_NAME}/infer`,
    headers: ["Content-Encoding: deflate"],
    body: deflateSync(`{"inputs":[${INPUT}]}`),
    more: ["x-request-id: 1"],
    reply:
      '{"model_name":"digits","model_version":"1","outputs":[{"name":"x","datatype":"FP32","shape":[2,2],"data":[1,2,4,3]}]}',
  },
  "a tensor that lacks elements": {
    request: `POST ${BY_NAME}/infer`,
    body: '{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1]}]}',
    status: "400 Bad Request",
    reply: '{"error":"input \\"x\\": its shape takes 2 elements, data has 1"}',
  },
};

describe("recorded", () => {
  test.each(Object.entries(RECORDED))("%s", async (_, recorded) => {
    const { request, headers = [], body = "", status = "200 OK", reply, more = [], type } = recorded;
    const parts = echoing([{ name: "x", datatype: "FP32", shape: [2] }]);
    await using server = await startTestServer(parts, { repository: { scale: async () => undefined } });
    const bytes = Buffer.from(body);
    const lengthLine = body === "" ? [] : [`Content-Length: ${bytes.length}`];
    const head = [`${request} HTTP/1.1`, "Host: 127.0.0.1", ...headers, ...lengthLine];
    expect(await replay(server, head, bytes)).toBe(
      lines(
        `HTTP/1.1 ${status}`,
        `Content-Type: ${type ?? "application/json"}`,
        `Content-Length: ${Buffer.byteLength(reply, "latin1")}`,
        ...more,
        "Connection: close",
        "",
        reply,
      ),
    );
  });
});
