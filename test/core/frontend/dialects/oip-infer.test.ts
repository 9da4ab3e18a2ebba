// The Open Inference Protocol's infer call over real HTTP: every form of body both ways, and what is refused.
import { gunzipSync, gzipSync, inflateSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import type { Manifest, TensorSpec } from "../../../../containers/protocol.ts";
import { encodeBytes, sliceBinary, type Tensor, type TensorHeader } from "../../../../containers/tensors.ts";
import { DeadlineExceededError, ModelError, OverloadedError } from "../../../../core/errors.ts";
import { BatchOutputs, type Query } from "../../../../core/query/query.ts";
import { fakes, type Fakes, jsonOutputs, tensorManifest, valueManifest } from "../../query/fakes.ts";
import { startTestServer, type TestReply, type TestServer } from "../query-client.ts";

const INFER = { path: "/v2/models/digits/infer" } as const;

/** A model that gives its inputs back, row by row. */
function echo(inputs: readonly TensorSpec[], isBatched = true): Fakes {
  const manifest = tensorManifest(inputs, inputs);
  const of: Manifest = { ...manifest, contract: { ...manifest.contract, isBatched } };
  return fakes(of, {}, (query) => query.settle({ kind: "ok", outputs: echoed(of, query), index: 0 }));
}

function echoed({ contract }: Manifest, { row }: Query): BatchOutputs {
  const batch = contract.isBatched ? [1] : [];
  const tensors = contract.outputs.map(({ name, datatype, contentType }, index): Tensor => {
    const { shape = [], data = new Uint8Array() } = row.tensors[index] ?? {};
    // A copy, as any model gives: rows go with the reply.
    const tensor = { name, datatype, shape: [...batch, ...shape], data: new Uint8Array(data) };
    return contentType === undefined ? tensor : { ...tensor, contentType };
  });
  return new BatchOutputs(tensors, 1);
}

interface BinaryReply {
  readonly header: { readonly outputs: readonly TensorHeader[] };
  readonly tensors: ReadonlyMap<string, Uint8Array>;
  readonly headers: Headers;
}

/** Sends a header and tensors, and reads a reply of the same form. */
async function exchange(
  server: TestServer,
  header: object,
  tensors: readonly Uint8Array[],
): Promise<BinaryReply> {
  const json = Buffer.from(JSON.stringify(header));
  const response = await fetch(server.url + INFER.path, {
    method: "POST",
    headers: { "inference-header-content-length": String(json.length), "accept-encoding": "identity" },
    body: Buffer.concat([json, ...tensors]),
  });
  const body = new Uint8Array(await response.arrayBuffer());
  if (response.status !== 200) throw new Error(Buffer.from(body).toString());
  const length = Number(response.headers.get("inference-header-content-length"));
  const parsed = JSON.parse(Buffer.from(body.subarray(0, length)).toString()) as BinaryReply["header"];
  return { header: parsed, tensors: sliceBinary(parsed.outputs, body, length), headers: response.headers };
}

const fp32: TensorSpec = { name: "x", datatype: "FP32", shape: [2] };

function input(data: unknown, fields: object = {}): object {
  return { inputs: [{ name: "x", datatype: "FP32", shape: [2, 2], data, ...fields }] };
}

describe("JSON", () => {
  test.each([
    ["flat", [1, 2.5, -3, 0.1]],
    [
      "nested",
      [
        [1, 2.5],
        [-3, 0.1],
      ],
    ],
  ])("%s data is split into queries and joined again", async (_name, data) => {
    const parts = echo([fp32]);
    await using server = await startTestServer(parts);
    const reply = await server.post({ id: "42", model_name: "ignored", ...input(data) }, INFER);
    expect(reply.text).toBe(
      '{"model_name":"digits","model_version":"1","id":"42","outputs":[{"name":"x","datatype":"FP32","shape":[2,2],"data":[1,2.5,-3,0.1]}]}',
    );
    expect(reply.headers.get("content-type")).toBe("application/json");
    expect(reply.headers.get("inference-header-content-length")).toBe(null);
    expect(reply.headers.get("x-request-id")).toBe("1");
    expect(parts.served.received.length).toBe(2);
  });

  test("64-bit integers keep every digit", async () => {
    const specs: TensorSpec[] = [
      { name: "i", datatype: "INT64", shape: [2] },
      { name: "u", datatype: "UINT64", shape: [] },
    ];
    await using server = await startTestServer(echo(specs));
    const body =
      '{"inputs":[{"name":"i","datatype":"INT64","shape":[1,2],"data":[-9223372036854775808,9007199254740993]},{"name":"u","datatype":"UINT64","shape":[1],"data":[18446744073709551615]}]}';
    const reply = await server.post(body, INFER);
    expect(reply.text).toContain('"data":[-9223372036854775808,9007199254740993]');
    expect(reply.text).toContain('"data":[18446744073709551615]');
    const over = await server.post(body.replace("551615", "551616"), INFER);
    expect(over.status).toBe(400);
    expect(over.json.error).toContain("from 0 to 18446744073709551615");
  });

  test("NaN and infinities come bare, in quotes and as null, and go as null", async () => {
    await using server = await startTestServer(echo([fp32]));
    const body =
      '{"id":"a NaN \\" Infinity","inputs":[{"name":"x","datatype":"FP32","shape":[2,2],"data":[NaN,-Infinity,null,"Infinity"]}]}';
    const reply = await server.post(body, INFER);
    expect(reply.json.id).toBe('a NaN " Infinity');
    expect(reply.json.outputs[0].data).toEqual([null, null, null, null]);
    const binary = await server.post(body.replace("{", '{"parameters":{"binary_data_output":true},'), INFER);
    expect(binary.status).toBe(200);
  });

  test("null stands for a field that is not there", async () => {
    await using server = await startTestServer(echo([fp32]));
    const parameters = { content_type: null, binary_data_size: null, shared_memory_region: null };
    const reply = await server.post(
      {
        id: null,
        parameters: { timeout: null, priority: null, binary_data_output: null },
        inputs: [{ name: "x", datatype: "FP32", shape: [1, 2], data: [1, 2], parameters }],
        outputs: [{ name: "x", parameters: { classification: null, binary_data: null } }],
      },
      INFER,
    );
    expect(reply.json.outputs[0].data).toEqual([1, 2]);
    expect(reply.json).not.toHaveProperty("id");
  });

  test("a string that is never closed is searched once for what is bare", async () => {
    await using server = await startTestServer(echo([fp32]));
    // Searched again from each of its quotes it would keep the server from answering anybody for minutes.
    const reply = await server.post(`{"inputs":NaN,"${'\\"'.repeat(400_000)}`, INFER);
    expect(reply.status).toBe(400);
    expect(reply.json.error).toContain("it ends too early");
  });

  test("BYTES are UTF-8 strings, or base64 with that content type; what is no text comes back as base64", async () => {
    const spec: TensorSpec = { name: "x", datatype: "BYTES", shape: [], contentType: "bytes" };
    await using server = await startTestServer(echo([spec]));
    const send = async (fields: object): Promise<TestReply> =>
      server.post({ inputs: [{ name: "x", datatype: "BYTES", shape: [2], ...fields }] }, INFER);
    const text = await send({ data: ["grün", ""] });
    expect(text.json.outputs[0]).toMatchObject({ data: ["grün", ""], parameters: { content_type: "bytes" } });
    const base64 = await send({ data: ["/wA=", ""], parameters: { content_type: "base64" } });
    expect(base64.json.outputs[0]).toMatchObject({
      data: ["/wA=", ""],
      parameters: { content_type: "base64" },
    });
    expect((await send({ data: ["/wA", ""], parameters: { content_type: "base64" } })).status).toBe(400);
  });

  test("FP16 and BF16 are refused both ways", async () => {
    await using server = await startTestServer(echo([{ name: "x", datatype: "FP16", shape: [1] }]));
    const reply = await server.post(
      {
        inputs: [{ name: "x", datatype: "FP16", shape: [1, 1], data: [1] }],
        outputs: [{ name: "x", parameters: { binary_data: true } }],
      },
      INFER,
    );
    expect(reply.json.error).toContain("FP16 does not travel as JSON; send it as binary");
    const out = await server.post(
      { inputs: [{ name: "x", datatype: "FP16", shape: [1, 1], data: [1] }] },
      INFER,
    );
    expect(out.status).toBe(400);
  });
});

describe("binary", () => {
  test("goes both ways, with a header length and octet-stream", async () => {
    const parts = echo([fp32]);
    await using server = await startTestServer(parts);
    const data = new Uint8Array(new Float32Array([1, Number.NaN, 3, 4]).buffer);
    const { header, tensors, headers } = await exchange(
      server,
      {
        inputs: [{ name: "x", datatype: "FP32", shape: [2, 2], parameters: { binary_data_size: 16 } }],
        parameters: { binary_data_output: true },
      },
      [data],
    );
    expect(tensors.get("x")).toEqual(data);
    expect(headers.get("content-type")).toBe("application/octet-stream");
    expect(header.outputs[0]).toEqual({
      name: "x",
      datatype: "FP32",
      shape: [2, 2],
      parameters: { binary_data_size: 16 },
    });
    expect(parts.served.received[0]?.row.tensors[0]?.data.byteLength).toBe(8);
  });

  test("FP16 and BF16 pass unchanged, and BYTES of any bytes", async () => {
    const specs: TensorSpec[] = [
      { name: "h", datatype: "FP16", shape: [2] },
      { name: "b", datatype: "BF16", shape: [] },
      { name: "s", datatype: "BYTES", shape: [2] },
    ];
    await using server = await startTestServer(echo(specs));
    const half = new Uint8Array([1, 2, 3, 4]);
    const brain = new Uint8Array([0xff, 0x7f]);
    const bytes = encodeBytes([new Uint8Array([0, 255, 10]), new Uint8Array()]);
    const { tensors } = await exchange(
      server,
      {
        inputs: [
          { name: "s", datatype: "BYTES", shape: [1, 2], parameters: { binary_data_size: bytes.length } },
          { name: "h", datatype: "FP16", shape: [1, 2], parameters: { binary_data_size: 4 } },
          { name: "b", datatype: "BF16", shape: [1], parameters: { binary_data_size: 2 } },
        ],
        parameters: { binary_data_output: true },
      },
      [bytes, half, brain],
    );
    expect([tensors.get("h"), tensors.get("b"), tensors.get("s")]).toEqual([half, brain, bytes]);
  });

  test("mixes with JSON, input by input and output by output", async () => {
    const specs: TensorSpec[] = [
      { name: "a", datatype: "INT32", shape: [1] },
      { name: "b", datatype: "INT32", shape: [1] },
    ];
    await using server = await startTestServer(echo(specs));
    const data = new Uint8Array(new Int32Array([7]).buffer);
    const { header, tensors } = await exchange(
      server,
      {
        inputs: [
          { name: "a", datatype: "INT32", shape: [1, 1], data: [5] },
          { name: "b", datatype: "INT32", shape: [1, 1], parameters: { binary_data_size: 4 } },
        ],
        outputs: [{ name: "b", parameters: { binary_data: false } }, { name: "a" }],
        parameters: { binary_data_output: true },
      },
      [data],
    );
    expect(header.outputs[0]).toEqual({ name: "b", datatype: "INT32", shape: [1, 1], data: [7] });
    expect(tensors.get("a")).toEqual(new Uint8Array(new Int32Array([5]).buffer));
  });

  test("large inputs are views of the body, never copies", async () => {
    const parts = echo([{ name: "x", datatype: "FP32", shape: [1000] }]);
    await using server = await startTestServer(parts);
    const data = new Uint8Array(new Float32Array(3000).fill(2).buffer);
    await exchange(
      server,
      {
        inputs: [{ name: "x", datatype: "FP32", shape: [3, 1000], parameters: { binary_data_size: 12_000 } }],
        parameters: { binary_data_output: true },
      },
      [data],
    );
    const buffers = parts.served.received.map(({ row }) => row.tensors[0]?.data.buffer);
    expect(new Set(buffers).size).toBe(1);
  });

  test("an empty batch and tensors of no bytes are fine", async () => {
    const parts = echo([fp32]);
    await using server = await startTestServer(parts);
    const { header } = await exchange(
      server,
      {
        inputs: [{ name: "x", datatype: "FP32", shape: [0, 2], parameters: { binary_data_size: 0 } }],
        parameters: { binary_data_output: true },
      },
      [],
    );
    expect(header.outputs[0]).toMatchObject({ shape: [0, 2], parameters: { binary_data_size: 0 } });
    expect(parts.served.received.length).toBe(0);
  });

  test("a raw request is the only input, and is answered in binary", async () => {
    await using server = await startTestServer(echo([{ name: "x", datatype: "FP32", shape: [-1] }]));
    const send = async (body: Uint8Array<ArrayBuffer>): Promise<Response> =>
      fetch(server.url + INFER.path, {
        method: "POST",
        headers: { "inference-header-content-length": "0" },
        body,
      });
    const reply = await send(new Uint8Array(new Float32Array([1, 2, 3]).buffer));
    const body = Buffer.from(await reply.arrayBuffer());
    const length = Number(reply.headers.get("inference-header-content-length"));
    expect(JSON.parse(body.subarray(0, length).toString()).outputs[0].shape).toEqual([1, 3]);
    expect((await send(new Uint8Array(5))).status).toBe(400);
  });
});

/** Answers with the sum of a row of doubles. */
function total(query: Query): void {
  const { data } = query.row.tensors[0] ?? { data: new Uint8Array() };
  const sum = new Float64Array(data.slice().buffer).reduce((a, b) => a + b, 0);
  query.settle({ kind: "ok", outputs: jsonOutputs([JSON.stringify({ total: sum })]), index: 0 });
}

describe("values", () => {
  test("vectors of numbers come dense or ragged, and JSON goes as BYTES", async () => {
    await using server = await startTestServer(fakes(valueManifest("doubles"), {}, total));
    const send = async (fields: object): Promise<TestReply> =>
      server.post({ inputs: [{ name: "input", ...fields }] }, INFER);
    const dense = await send({ datatype: "FP64", shape: [2, 2], data: [1, 2, 3, 4] });
    expect(dense.json.outputs[0]).toEqual({
      name: "output",
      datatype: "BYTES",
      shape: [2],
      parameters: { content_type: "json" },
      data: ['{"total":3}', '{"total":7}'],
    });
    const ragged = await send({
      datatype: "BYTES",
      shape: [3],
      parameters: { content_type: "fp64" },
      data: [[1], [1, 2, 3], []],
    });
    expect(ragged.json.outputs[0].data).toEqual(['{"total":1}', '{"total":6}', '{"total":0}']);
    expect((await send({ datatype: "BYTES", shape: [1], data: ["x"] })).json.error).toContain("fp64");
    expect((await send({ datatype: "FP32", shape: [1, 1], data: [1] })).json.error).toContain("FP64");
  });

  test("strings, JSON and bytes are BYTES elements; bad ones are named", async () => {
    const json = echoValue("json");
    await using server = await startTestServer(json);
    const send = async (data: unknown, fields: object = {}): Promise<TestReply> =>
      server.post({ inputs: [{ name: "input", datatype: "BYTES", shape: [1], data, ...fields }] }, INFER);
    expect((await send(['{"a":1.0}'])).json.outputs[0].data).toEqual(['{"a":1.0}']);
    expect((await send(["1"], { shape: [1, 1] })).status).toBe(200);
    expect((await send(["{a"])).json.error).toContain('input "input[0]": expected JSON text');
    expect((await send(["[".repeat(100) + "]".repeat(100)])).json.error).toContain("64 levels");
    expect((await send(["1"], { parameters: { content_type: "str" } })).json.error).toContain("content type");
  });

  test("inputs are held to the author's schema", async () => {
    const of = {
      ...valueManifest("doubles"),
      schemas: { input: { type: "array", items: { type: "number", minimum: 5 } } },
    } as const;
    await using server = await startTestServer(fakes(of));
    const reply = await server.post(
      { inputs: [{ name: "input", datatype: "FP64", shape: [1, 1], data: [1] }] },
      INFER,
    );
    expect([reply.status, reply.json.error]).toEqual([400, expect.stringContaining("row 0")]);
  });
});

function echoValue(type: "json" | "strings" | "bytes"): Fakes {
  const manifest = valueManifest(type);
  const parts = fakes(manifest);
  parts.served.answer = (query) => {
    const text = Buffer.from(query.row.tensors[0]?.data.subarray(4) ?? []).toString();
    query.settle({ kind: "ok", outputs: jsonOutputs([text]), index: 0 });
  };
  return parts;
}

describe("compression", () => {
  test("infer bodies come and go as gzip or deflate", async () => {
    await using server = await startTestServer(echo([{ name: "x", datatype: "FP32", shape: [1000] }]));
    const body = JSON.stringify({
      inputs: [
        { name: "x", datatype: "FP32", shape: [1, 1000], data: Array.from({ length: 1000 }, () => 1.5) },
      ],
    });
    const socketReply = async (accept: string): Promise<{ head: string; body: Buffer }> => {
      const socket = await server.dial();
      const packed = gzipSync(body);
      socket.write(
        `POST ${INFER.path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Encoding: gzip\r\nAccept-Encoding: ${accept}\r\nContent-Length: ${packed.length}\r\n\r\n`,
      );
      socket.write(packed);
      const chunks: Buffer[] = [];
      for await (const chunk of socket) chunks.push(chunk as Buffer);
      const all = Buffer.concat(chunks);
      const end = all.indexOf("\r\n\r\n");
      return { head: all.subarray(0, end).toString(), body: all.subarray(end + 4) };
    };
    const gzip = await socketReply("deflate;q=0, gzip");
    expect(gzip.head).toContain("Content-Encoding: gzip");
    expect(JSON.parse(gunzipSync(gzip.body).toString()).outputs[0].data.length).toBe(1000);
    const deflate = await socketReply("deflate");
    expect(deflate.head).toContain("Content-Encoding: deflate");
    expect(JSON.parse(inflateSync(deflate.body).toString()).outputs[0].data.length).toBe(1000);
    const plain = await socketReply("br");
    expect(plain.head).not.toContain("Content-Encoding");
    expect(JSON.parse(plain.body.toString()).outputs[0].data.length).toBe(1000);
  });
});

describe("parameters and outputs", () => {
  test("timeout is in microseconds, priority a class up to 10", async () => {
    const parts = echo([fp32]);
    await using server = await startTestServer(parts);
    await server.post({ ...input([1, 2, 3, 4]), parameters: { timeout: 2_000_000, priority: 99 } }, INFER);
    await server.post({ ...input([1, 2, 3, 4]), parameters: { timeout: "0", priority: 0 } }, INFER);
    const [first, , third] = parts.served.received;
    expect((first?.deadlineAt ?? 0) - (first?.arrivedAt ?? 0)).toBeCloseTo(2000, 3);
    expect(first?.priority).toBe(10);
    expect([third?.deadlineAt, third?.priority]).toEqual([Infinity, undefined]);
    const bad = await server.post({ ...input([1, 2, 3, 4]), parameters: { timeout: -1 } }, INFER);
    expect([bad.status, bad.json.error]).toEqual([400, "timeout: expected a whole number from 0, got -1"]);
  });

  test("classification gives the k greatest as value:index", async () => {
    await using server = await startTestServer(echo([{ name: "x", datatype: "FP32", shape: [3] }]));
    const reply = await server.post(
      {
        inputs: [{ name: "x", datatype: "FP32", shape: [2, 3], data: [0.25, 0.5, 0.25, 3, 1, 2] }],
        outputs: [{ name: "x", parameters: { classification: 2 } }],
      },
      INFER,
    );
    expect(reply.json.outputs[0]).toEqual({
      name: "x",
      datatype: "BYTES",
      shape: [2, 2],
      data: ["0.500000:1", "0.250000:0", "3.000000:0", "2.000000:2"],
    });
  });

  test("classification keeps every digit of 64-bit integers, and tells close ones apart", async () => {
    await using server = await startTestServer(echo([{ name: "x", datatype: "INT64", shape: [3] }]));
    const body =
      '{"inputs":[{"name":"x","datatype":"INT64","shape":[1,3],"data":[9007199254740992,9007199254740993,-5]}],"outputs":[{"name":"x","parameters":{"classification":3}}]}';
    const reply = await server.post(body, INFER);
    expect(reply.json.outputs[0].data).toEqual(["9007199254740993:1", "9007199254740992:0", "-5:2"]);
  });

  test("a model without a batch axis is served one request at a time, whole", async () => {
    const parts = echo([{ name: "x", datatype: "INT8", shape: [-1, 2] }], false);
    await using server = await startTestServer(parts);
    const reply = await server.post(
      { inputs: [{ name: "x", datatype: "INT8", shape: [3, 2], data: [1, 2, 3, 4, 5, 6] }] },
      INFER,
    );
    expect(reply.json.outputs[0]).toMatchObject({ shape: [3, 2], data: [1, 2, 3, 4, 5, 6] });
    expect(parts.served.received.length).toBe(1);
  });

  test("rows that come back from different batches are joined in order; ragged ones as BYTES", async () => {
    const spec: TensorSpec = { name: "x", datatype: "FP32", shape: [-1] };
    const manifest = tensorManifest([fp32], [spec]);
    let count = 0;
    const parts = fakes(manifest, {}, (query) => {
      count += 1;
      const data = new Uint8Array(new Float32Array(count).fill(count).buffer);
      const outputs = new BatchOutputs([{ name: "x", datatype: "FP32", shape: [1, count], data }], 1);
      query.settle({ kind: "ok", outputs, index: 0 });
    });
    await using server = await startTestServer(parts);
    const reply = await server.post(input([1, 2, 3, 4]), INFER);
    expect(reply.json.outputs[0]).toEqual({
      name: "x",
      datatype: "BYTES",
      shape: [2],
      parameters: { content_type: "fp32" },
      data: [[1], [2, 2]],
    });
  });
});

describe("names", () => {
  test("are applications, models, and versions of either", async () => {
    const parts = echo([fp32]);
    parts.application = { ...parts.application, name: "score", latencyObjectiveMs: 5000 };
    parts.changed();
    await using server = await startTestServer(parts);
    const send = async (path: string): Promise<TestReply> => server.post(input([1, 2, 3, 4]), { path });
    expect((await send("/v2/models/score/infer")).json).toMatchObject({ model_name: "score" });
    expect((await send("/v2/models/digits/infer")).json).toMatchObject({ model_name: "digits" });
    expect((await send("/v2/models/digits/versions/1/infer")).json.model_version).toBe("1");
    expect(parts.served.received.map(({ deadlineAt }) => deadlineAt < Infinity)).toEqual([
      true,
      true,
      false,
      false,
      false,
      false,
    ]);
    const unknown = await send("/v2/models/nobody/infer");
    expect([unknown.status, unknown.json]).toEqual([
      404,
      { error: "Request for unknown model: 'nobody' is not found" },
    ]);
    const version = await send("/v2/models/digits/versions/9/infer");
    expect(version.json.error).toBe("Request for unknown model: 'digits' version 9 is not found");
    expect((await send("/v2/models/digits/versions/infer")).status).toBe(404);
  });
});

describe("errors", () => {
  test.each([
    ["not JSON", "{", "Error parsing JSON"],
    ["not an object", "[]", "expected a JSON object"],
    ["without inputs", "{}", "inputs: expected a list"],
    ["a wrong name", input([1, 2, 3, 4], { name: "y" }), 'unexpected input "y"'],
    ["no input", { inputs: [] }, 'input "x": expected FP32 [-1,2], got nothing'],
    ["a negative dimension", input([1], { shape: [-1, 2] }), "expected a shape"],
    ["a wrong shape", input([1, 2], { shape: [2] }), "expected shape [-1,2], got [2]"],
    ["a wrong datatype", input([1, 2, 3, 4], { datatype: "FP64" }), "expected datatype FP32, got FP64"],
    ["an unknown datatype", input([1], { datatype: "FLOAT" }), "expected a datatype of BOOL"],
    ["too few elements", input([1, 2, 3]), "its shape takes 4 elements, data has 3"],
    ["too many elements", input([1, 2, 3, 4, 5]), "its shape takes 4 elements, data has more"],
    ["a shape that no body holds", input([1], { shape: [500_000_000, 2] }), "data has fewer"],
    ["a wrong element", input([1, "a", 3, 4]), 'input "x[1]": expected a number'],
    ["a number beyond FP32", input([1, 1e39, 3, 4]), 'input "x[1]"'],
    ["neither data nor size", input(undefined), "expected either data or parameters.binary_data_size"],
    ["both", input([1], { parameters: { binary_data_size: 4 } }), "got both"],
    ["a size beyond the body", input(undefined, { parameters: { binary_data_size: 16 } }), "0 bytes"],
    [
      "an unknown output",
      { ...input([1, 2, 3, 4]), outputs: [{ name: "z" }] },
      'unexpected inference output "z"',
    ],
    ["shared memory", input([1], { parameters: { shared_memory_region: "a" } }), "shared memory"],
    ["an id that is no string", { ...input([1, 2, 3, 4]), id: 7 }, "id: expected a string"],
  ])("%s is refused with 400", async (_name, body, text) => {
    await using server = await startTestServer(echo([fp32]));
    const reply = await server.post(body, INFER);
    expect(reply.json.error).toContain(text);
    expect([reply.status, Object.keys(reply.json)]).toEqual([400, ["error"]]);
  });

  test.each([
    ["a header length beyond the body", "9999", "{}", "up to the body's 2"],
    ["a header length that is none", "-1", "{}", "expected a number of bytes"],
    ["bytes that are no input's", "15", '{"inputs":[]}  xyz', "take 0 bytes behind the header, and 3 came"],
  ])("%s is refused with 400", async (...[, length, body, text]) => {
    await using server = await startTestServer(echo([fp32]));
    const headers = { "inference-header-content-length": length };
    const reply = await server.post(body, { ...INFER, headers });
    expect([reply.status, reply.json.error]).toEqual([400, expect.stringContaining(text)]);
  });

  test("too many rows and bodies that are too large are refused with 413, an unknown encoding with 415", async () => {
    await using server = await startTestServer(echo([fp32]), { maxInputs: 1, maxBodyBytes: 2000 });
    expect((await server.post(input([1, 2, 3, 4]), INFER)).status).toBe(413);
    expect((await server.post("x".repeat(3000), INFER)).status).toBe(413);
    const headers = { "content-encoding": "br" };
    const encoding = await server.post("x", { ...INFER, headers });
    expect([encoding.status, typeof encoding.json.error]).toEqual([415, "string"]);
  });

  test("one bad row fails the request with its own status, and is counted", async () => {
    const parts = echo([fp32]);
    parts.served.answer = (query) =>
      query.settle({ kind: "error", error: new OverloadedError("full", { retryAfterS: 2 }) });
    await using server = await startTestServer(parts);
    const shed = await server.post(input([1, 2, 3, 4]), INFER);
    expect([shed.status, shed.headers.get("retry-after"), shed.json]).toEqual([503, "2", { error: "full" }]);
    parts.served.answer = (query) => query.settle({ kind: "error", error: new ModelError("bad row") });
    expect((await server.post(input([1, 2, 3, 4]), INFER)).status).toBe(500);
    parts.served.answer = (query) =>
      query.settle({ kind: "error", error: new DeadlineExceededError("late") });
    expect((await server.post(input([1, 2, 3, 4]), INFER)).status).toBe(504);
    expect((await server.get("/metrics")).text).toContain('reason="OVERLOADED"} 2');
  });

  test("an application's default output stands in, and the reply says so, where it fits the contract", async () => {
    const parts = echo([fp32]);
    parts.application = { ...parts.application, defaultOutput: [0, 0.5] };
    parts.changed();
    parts.served.answer = (query) =>
      query.settle({ kind: "error", error: new DeadlineExceededError("late") });
    await using server = await startTestServer(parts);
    const reply = await server.post(input([1, 2, 3, 4]), INFER);
    expect(reply.json).toMatchObject({
      parameters: { default: true, default_reason: "deadline" },
      outputs: [{ name: "x", shape: [2, 2], data: [0, 0.5, 0, 0.5] }],
    });
    parts.application = { ...parts.application, defaultOutput: "none" };
    parts.changed();
    expect((await server.post(input([1, 2, 3, 4]), INFER)).status).toBe(504);
  });
});
