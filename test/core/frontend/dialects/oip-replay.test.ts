// Exchanges as clients of the protocol send them, byte for byte, and the exact replies.
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
