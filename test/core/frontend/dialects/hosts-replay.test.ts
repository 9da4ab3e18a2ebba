// Exchanges of KServe V1, SageMaker, Vertex AI and generate, byte for byte, and the exact replies.
import { expect, test } from "vitest";
import { fakes, type Fakes, jsonOutputs, valueManifest } from "../../query/fakes.ts";
import { startTestServer } from "../query-client.ts";

/** Gives 1.50 for every list of numbers, and a text for a text. */
function model(inputType: "doubles" | "strings"): Fakes {
  return fakes(valueManifest(inputType), {}, (query) => {
    const text = inputType === "doubles" ? "1.50" : '"hi"';
    query.settle({ kind: "ok", outputs: jsonOutputs([text]), index: 0 });
  });
}

interface Case {
  readonly inputType?: "doubles" | "strings";
  readonly path: string;
  readonly type?: string;
  readonly body: string;
  /** Head of the reply behind the status, without its length, date and connection. */
  readonly head: readonly string[];
  readonly reply: string;
}

const JSON_HEAD = ["Content-Type: application/json"];
const CASES: Readonly<Record<string, Case>> = {
  "KServe V1": {
    path: "/v1/models/digits:predict",
    body: '{"signature_name":"serving_default","instances":[[1.0,2.0],[3.0]]}',
    head: JSON_HEAD,
    reply: '{"predictions":[1.50,1.50]}',
  },
  "SageMaker in JSON": {
    path: "/invocations",
    type: "application/json",
    body: "[1,2]",
    head: JSON_HEAD,
    reply: "1.50",
  },
  "SageMaker in CSV": {
    path: "/invocations",
    type: "text/csv",
    body: "1,2\r\n3,4\r\n",
    head: JSON_HEAD,
    reply: '{"predictions":[1.50,1.50]}',
  },
  "Vertex AI": {
    path: "/vertex/predict",
    type: "application/json",
    body: '{"instances":[[0]],"parameters":{}}',
    head: JSON_HEAD,
    reply: '{"predictions":[1.50]}',
  },
  generate: {
    inputType: "strings",
    path: "/v2/models/digits/generate",
    body: '{"text_input":"hello","parameters":{"stream":false}}',
    head: [...JSON_HEAD, "x-request-id: 1"],
    reply: '{"model_name":"digits","model_version":"1","text_output":"hi"}',
  },
  generate_stream: {
    inputType: "strings",
    path: "/v2/models/digits/generate_stream",
    body: '{"text_input":"hello"}',
    head: ["Content-Type: text/event-stream; charset=utf-8", "x-request-id: 1"],
    reply: 'data: {"model_name":"digits","model_version":"1","text_output":"hi"}\n\n',
  },
};

for (const [what, { inputType = "doubles", path, type, body, head, reply }] of Object.entries(CASES)) {
  test(`${what} is answered byte for byte`, async () => {
    const vertex = { predictRoute: "/vertex/predict", healthRoute: "/vertex/health" };
    await using server = await startTestServer(model(inputType), { vertex });
    const socket = await server.dial();
    const lines = [
      `POST ${path} HTTP/1.1`,
      "Host: 127.0.0.1",
      ...(type === undefined ? [] : [`Content-Type: ${type}`]),
      `Content-Length: ${body.length}`,
      "Connection: close",
    ];
    socket.write([...lines, "", body].join("\r\n"));
    const chunks: Buffer[] = [];
    for await (const chunk of socket) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks)
      .toString()
      .replace(/Date: [^\r]*\r\n/, "");
    const [first = "", ...more] = head;
    const expected = [
      "HTTP/1.1 200 OK",
      first,
      `Content-Length: ${reply.length}`,
      ...more,
      "Connection: close",
      "",
      reply,
    ];
    expect(text).toBe(expected.join("\r\n"));
  });
}
