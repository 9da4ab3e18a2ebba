// The Open Inference Protocol over gRPC, with a real client: typed and raw tensors, streams, errors, health, reflection.
import { once } from "node:events";
import { connect } from "node:http2";
import * as grpc from "@grpc/grpc-js";
import { load } from "@grpc/proto-loader";
import { afterEach, describe, expect, test } from "vitest";
import type { Manifest, TensorSpec } from "../../../../containers/protocol.ts";
import type { Tensor } from "../../../../containers/tensors.ts";
import { ModelError, OverloadedError } from "../../../../core/errors.ts";
import { Catalog } from "../../../../core/frontend/dialects/oip/catalog.ts";
import { GrpcServer } from "../../../../core/frontend/grpc/server.ts";
import { BatchOutputs, type Query } from "../../../../core/query/query.ts";
import { fakes, type Fakes, tensorManifest } from "../../query/fakes.ts";

const definition = await load(
  ["inference.proto", "health.proto"].map(
    (name) => new URL(`../../../../core/frontend/grpc/${name}`, import.meta.url).pathname,
  ),
  { keepCase: true, longs: String, enums: String, defaults: true, oneofs: true },
);
// oxlint-disable-next-line typescript/no-explicit-any -- clients made at run time have no types
const services = grpc.loadPackageDefinition(definition) as any;

const open: { close(): Promise<void> | void }[] = [];
afterEach(async () => {
  for (const one of open.splice(0).toReversed()) await one.close();
});

// oxlint-disable-next-line typescript/no-explicit-any -- replies of every shape
type Any = any;

interface Client {
  call(method: string, message: object, metadata?: grpc.Metadata, options?: grpc.CallOptions): Promise<Any>;
  readonly raw: Any;
  readonly health: Any;
  readonly address: string;
  readonly server: GrpcServer;
}

interface StartOptions {
  readonly token?: string;
  readonly maxBodyBytes?: number;
  readonly scale?: (model: string, replicas: number) => Promise<void>;
}

async function start(parts: Fakes, options: StartOptions = {}): Promise<Client> {
  const repository = { scale: options.scale ?? (async () => undefined) };
  const catalog = new Catalog({ ...parts, serverName: "windjammer", isReady: () => true, repository });
  const { token, maxBodyBytes = 2 ** 20 } = options;
  const server = new GrpcServer({
    predictor: parts.predictor,
    catalog,
    port: 0,
    config: { host: "127.0.0.1", maxBodyBytes, maxInputs: 10, token, grpcReflection: true },
  });
  const address = await server.listen();
  open.push({ close: () => server.close(1000) });
  const credentials = grpc.credentials.createInsecure();
  const raw = new services.inference.GRPCInferenceService(address, credentials);
  const health = new services.grpc.health.v1.Health(address, credentials);
  open.push(raw, health);
  const call: Client["call"] = async (...[method, message, metadata, callOptions]) =>
    new Promise((resolve, reject) => {
      raw[method](
        message,
        metadata ?? new grpc.Metadata(),
        callOptions ?? {},
        (error: grpc.ServiceError | null, reply: Any) => (error === null ? resolve(reply) : reject(error)),
      );
    });
  return { call, raw, health, address, server };
}

function echo(specs: readonly TensorSpec[]): Fakes {
  const manifest = tensorManifest(specs, specs);
  return fakes(manifest, {}, (query) =>
    query.settle({ kind: "ok", outputs: echoed(manifest, query), index: 0 }),
  );
}

function echoed({ contract }: Manifest, { row }: Query): BatchOutputs {
  const tensors = contract.outputs.map(({ name, datatype }, index): Tensor => {
    const { shape = [], data = new Uint8Array() } = row.tensors[index] ?? {};
    // A copy, as any model gives: rows go with the reply.
    return { name, datatype, shape: [1, ...shape], data: new Uint8Array(data) };
  });
  return new BatchOutputs(tensors, 1);
}

const fp32: TensorSpec = { name: "x", datatype: "FP32", shape: [2] };
const request = {
  model_name: "digits",
  id: "7",
  inputs: [
    { name: "x", datatype: "FP32", shape: [2, 2], contents: { fp32_contents: [1, 2.5, -3, Number.NaN] } },
  ],
};

describe("ModelInfer", () => {
  test("takes typed contents and answers with typed ones, rows split into queries", async () => {
    const parts = echo([fp32]);
    const client = await start(parts);
    const reply = await client.call("ModelInfer", request);
    expect(reply).toMatchObject({
      model_name: "digits",
      model_version: "1",
      id: "7",
      raw_output_contents: [],
    });
    expect(reply.outputs[0]).toMatchObject({ name: "x", datatype: "FP32", shape: ["2", "2"] });
    expect(reply.outputs[0].contents.fp32_contents).toEqual([1, 2.5, -3, Number.NaN]);
    expect(parts.served.received.length).toBe(2);
  });

  test("takes raw contents and answers with raw ones", async () => {
    const client = await start(echo([fp32]));
    const data = Buffer.from(new Float32Array([1, 2]).buffer);
    const reply = await client.call("ModelInfer", {
      model_name: "digits",
      inputs: [{ name: "x", datatype: "FP32", shape: [1, 2] }],
      raw_input_contents: [data],
    });
    expect(reply.raw_output_contents).toEqual([data]);
    expect(reply.outputs[0].contents).toBe(null);
  });

  test("keeps its rows until the last one is answered", async () => {
    const width = 512;
    const spec: TensorSpec = { name: "x", datatype: "FP32", shape: [width] };
    const parts = fakes(tensorManifest([spec], [spec]), {}, () => {});
    const client = await start(parts);
    const numbers = Array.from({ length: 2 * width }, (_, index) => index / 8);
    const tensor = { name: "x", datatype: "FP32", shape: [2, width] };
    const typed = { model_name: "digits", inputs: [{ ...tensor, contents: { fp32_contents: numbers } }] };
    const bytes = Buffer.from(new Float32Array(numbers).buffer);
    const raw = { model_name: "digits", inputs: [tensor], raw_input_contents: [bytes] };
    const replies = [client.call("ModelInfer", typed), client.call("ModelInfer", raw)];
    const { received } = parts.served;
    await expect.poll(() => received.length).toBe(4);
    const manifest = tensorManifest([spec], [spec]);
    for (const query of received) query.settle({ kind: "ok", outputs: echoed(manifest, query), index: 0 });
    const [typedReply, rawReply] = await Promise.all(replies);
    expect(typedReply.outputs[0].contents.fp32_contents).toEqual(numbers);
    expect(rawReply.raw_output_contents).toEqual([bytes]);
    // Those of one request went at once; raw ones are parts of its message.
    const left = received
      .map(({ row }) => row.tensors[0]?.data.byteLength)
      .toSorted((one = 0, other = 0) => one - other);
    expect(left).toEqual([0, 0, width * 4, width * 4]);
  });

  test.each([
    ["BOOL", "bool_contents", [true, false]],
    ["INT8", "int_contents", [-128, 127]],
    ["UINT16", "uint_contents", [0, 65_535]],
    ["INT32", "int_contents", [-(2 ** 31), 2 ** 31 - 1]],
    ["INT64", "int64_contents", ["-9223372036854775808", "9007199254740993"]],
    ["UINT64", "uint64_contents", ["18446744073709551615", "0"]],
    ["FP64", "fp64_contents", [Infinity, -0.1]],
    ["BYTES", "bytes_contents", [Buffer.from([0, 255]), Buffer.alloc(0)]],
  ] as const)("%s keeps its elements", async (datatype, field, values) => {
    const client = await start(echo([{ name: "x", datatype, shape: [2] }]));
    const inputs = [{ name: "x", datatype, shape: [1, 2], contents: { [field]: values } }];
    const reply = await client.call("ModelInfer", { model_name: "digits", inputs });
    expect(reply.outputs[0].contents[field]).toEqual(values);
  });

  test("FP16 travels raw", async () => {
    const client = await start(echo([{ name: "x", datatype: "FP16", shape: [1] }]));
    const inputs = [{ name: "x", datatype: "FP16", shape: [1, 1] }];
    const reply = await client.call("ModelInfer", {
      model_name: "digits",
      inputs,
      raw_input_contents: [Buffer.from([1, 2])],
    });
    expect(reply.raw_output_contents).toEqual([Buffer.from([1, 2])]);
    await expect(client.call("ModelInfer", { model_name: "digits", inputs })).rejects.toMatchObject({
      code: grpc.status.INVALID_ARGUMENT,
      details: expect.stringContaining("send raw_input_contents"),
    });
  });

  test("parameters, chosen outputs and classification are those of REST", async () => {
    const parts = echo([fp32]);
    const client = await start(parts);
    const reply = await client.call("ModelInfer", {
      ...request,
      parameters: { timeout: { int64_param: 3_000_000 }, priority: { uint64_param: 2 } },
      outputs: [{ name: "x", parameters: { classification: { int64_param: 1 } } }],
    });
    expect(reply.outputs[0].contents.bytes_contents.map(String)).toEqual(["2.500000:1", "-3.000000:0"]);
    const [query] = parts.served.received;
    expect(query?.priority).toBe(2);
    expect((query?.deadlineAt ?? 0) - (query?.arrivedAt ?? 0)).toBeCloseTo(3000, 0);
  });

  test("a caller's deadline is the query's, and one who cancels is waited for no longer", async () => {
    const parts = echo([fp32]);
    parts.served.answer = () => undefined;
    const client = await start(parts);
    const call = client.raw.ModelInfer(
      request,
      new grpc.Metadata(),
      { deadline: Date.now() + 60_000 },
      () => undefined,
    );
    await expect.poll(() => parts.served.received.length).toBe(2);
    const [query] = parts.served.received;
    expect((query?.deadlineAt ?? 0) - (query?.arrivedAt ?? 0)).toBeLessThanOrEqual(60_000);
    call.cancel();
    await expect.poll(() => query?.isAbandoned).toBe(true);
  });
});

describe("errors", () => {
  test.each([
    ["NOT_FOUND", { ...request, model_name: "nobody" }, "Request for unknown model: 'nobody' is not found"],
    ["NOT_FOUND", { ...request, model_version: "9" }, "Request for unknown model: 'digits' version 9"],
    ["INVALID_ARGUMENT", { ...request, inputs: [] }, 'input "x": expected'],
    [
      "INVALID_ARGUMENT",
      { ...request, raw_input_contents: [Buffer.alloc(1), Buffer.alloc(1)] },
      "for each of the 1",
    ],
    ["INVALID_ARGUMENT", { ...request, outputs: [{ name: "z" }] }, "unexpected inference output"],
    ["RESOURCE_EXHAUSTED", { ...request, id: "x".repeat(2_000_000) }, "larger"],
  ] as const)("%s", async (code, message, text) => {
    const client = await start(echo([fp32]));
    await expect(client.call("ModelInfer", message)).rejects.toMatchObject({
      code: grpc.status[code],
      details: expect.stringContaining(text),
    });
  });

  test("those of the server have their codes, and say when to try again", async () => {
    const parts = echo([fp32]);
    const client = await start(parts);
    parts.served.answer = (query) =>
      query.settle({ kind: "error", error: new OverloadedError("full", { retryAfterS: 2 }) });
    const shed = (await client
      .call("ModelInfer", request)
      .catch((error: unknown) => error)) as grpc.ServiceError;
    expect([shed.code, shed.metadata.get("retry-after"), shed.metadata.get("windjammer-code")]).toEqual([
      grpc.status.UNAVAILABLE,
      ["2"],
      ["OVERLOADED"],
    ]);
    parts.served.answer = (query) => query.settle({ kind: "error", error: new ModelError("bad") });
    await expect(client.call("ModelInfer", request)).rejects.toMatchObject({ code: grpc.status.INTERNAL });
  });
});

test("ModelStreamInfer answers in order, and an error is one answer", async () => {
  const client = await start(echo([fp32]));
  const stream = client.raw.ModelStreamInfer();
  for (let index = 0; index < 100; index += 1)
    stream.write({ ...request, id: String(index), model_name: index === 1 ? "nobody" : "digits" });
  stream.end();
  const replies: Any[] = [];
  for await (const reply of stream) replies.push(reply);
  expect(replies.map(({ infer_response: reply }) => reply.id)).toEqual(
    Array.from({ length: 100 }, (_, index) => String(index)),
  );
  expect(replies[1].error_message).toBe("Request for unknown model: 'nobody' is not found");
  expect(replies[2].error_message).toBe("");
});

test("a stream whose client takes no answers is read no further", async () => {
  const parts = echo([{ name: "x", datatype: "UINT8", shape: [100_000] }]);
  const client = await start(parts);
  // Not grpc-js's own client, which takes whatever comes.
  const session = connect(`http://${client.address}`);
  const stream = session.request({
    ":method": "POST",
    ":path": "/inference.GRPCInferenceService/ModelStreamInfer",
    "content-type": "application/grpc",
    te: "trailers",
  });
  stream.on("error", () => undefined);
  const inputs = [{ name: "x", datatype: "UINT8", shape: [1, 100_000] }];
  const message = { model_name: "digits", inputs, raw_input_contents: [Buffer.alloc(100_000)] };
  const bytes = services.inference.GRPCInferenceService.service.ModelStreamInfer.requestSerialize(message);
  const head = Buffer.alloc(5);
  head.writeUInt32BE(bytes.length, 1);
  let sent = 0;
  // Stuck when nothing more goes: the bound is on what the test could send, not on time.
  while (sent < 400) {
    sent += 1;
    if (stream.write(Buffer.concat([head, bytes]))) continue;
    const hasRoom = await Promise.race([once(stream, "drain"), new Promise((go) => setTimeout(go, 1000))]);
    if (hasRoom === undefined) break;
  }
  expect(sent).toBeLessThan(400);
  expect(parts.served.received.length).toBeLessThan(200);
  session.destroy();
});

test("closing answers what a stream has asked, ends it and waits for no more", async () => {
  const parts = echo([fp32]);
  const answer = parts.served.answer;
  parts.served.answer = () => undefined;
  const client = await start(parts);
  const stream = client.raw.ModelStreamInfer();
  const replies: Any[] = [];
  stream.on("data", (reply: Any) => replies.push(reply.infer_response.id));
  const ended = new Promise<grpc.ServiceError>((resolve) => stream.on("error", resolve));
  stream.write(request);
  await expect.poll(() => parts.served.received.length).toBe(2);
  const closed = client.server.close(600_000);
  for (const query of parts.served.received) answer(query);
  expect((await ended).code).toBe(grpc.status.UNAVAILABLE);
  expect(replies).toEqual(["7"]);
  await closed;
});

test("many requests of one stream wait without a warning", async () => {
  const warnings: Error[] = [];
  const note = (warning: Error): number => warnings.push(warning);
  process.on("warning", note);
  const parts = echo([fp32]);
  const answer = parts.served.answer;
  parts.served.answer = () => undefined;
  const client = await start(parts);
  const stream = client.raw.ModelStreamInfer();
  for (let index = 0; index < 30; index += 1) stream.write(request);
  await expect.poll(() => parts.served.received.length).toBe(60);
  for (const query of parts.served.received) answer(query);
  stream.end();
  let count = 0;
  for await (const _ of stream) count += 1;
  process.off("warning", note);
  expect(count).toBe(30);
  expect(warnings).toEqual([]);
});

test("server, models, repository, statistics and configuration are those of REST", async () => {
  const scaled: (readonly [string, number])[] = [];
  const parts = echo([fp32]);
  const client = await start(parts, { scale: async (...call) => void scaled.push(call) });
  expect(await client.call("ServerLive", {})).toEqual({ live: true });
  expect(await client.call("ServerReady", {})).toEqual({ ready: true });
  expect((await client.call("ServerMetadata", {})).name).toBe("windjammer");
  expect(await client.call("ModelReady", { name: "digits" })).toEqual({ ready: true });
  expect((await client.call("ModelMetadata", { name: "digits" })).inputs).toEqual([
    { name: "x", datatype: "FP32", shape: ["-1", "2"] },
  ]);
  expect((await client.call("ModelConfig", { name: "digits" })).config.input[0]).toEqual({
    name: "x",
    data_type: "TYPE_FP32",
    dims: ["2"],
  });
  parts.metrics.version("digits", "1").answered(4, 2, 1);
  expect((await client.call("ModelStatistics", { name: "digits" })).model_stats[0]).toMatchObject({
    inference_count: "4",
    execution_count: "1",
    batch_stats: [{ batch_size: "4", compute_infer: { count: "1", ns: "1000000" } }],
  });
  expect((await client.call("RepositoryIndex", { ready: true })).models).toEqual([
    { name: "digits", version: "1", state: "READY", reason: "" },
  ]);
  await client.call("RepositoryModelUnload", { model_name: "digits" });
  // KServe's clients have the name as field 1.
  expect(await client.call("RepositoryModelLoad", { repository_name: "digits" })).toEqual({
    model_name: "digits",
    isLoaded: true,
  });
  expect(scaled).toEqual([
    ["digits", 0],
    ["digits", 1],
  ]);
  await expect(client.call("RepositoryIndex", { repository_name: "mine" })).rejects.toMatchObject({
    code: grpc.status.UNIMPLEMENTED,
  });
});

test("loading wants the token where there is one", async () => {
  const client = await start(echo([fp32]), { token: "a-token-of-some-length" });
  await expect(client.call("RepositoryModelLoad", { model_name: "digits" })).rejects.toMatchObject({
    code: grpc.status.UNAUTHENTICATED,
  });
  const metadata = new grpc.Metadata();
  metadata.set("authorization", "Bearer a-token-of-some-length");
  expect((await client.call("RepositoryModelLoad", { model_name: "digits" }, metadata)).isLoaded).toBe(true);
});

async function next(watched: AsyncIterator<Any>): Promise<string> {
  return (await watched.next()).value?.status ?? "ended";
}

test("a watch of health follows the readiness of what it names, until the server closes", async () => {
  const parts = echo([fp32]);
  const client = await start(parts);
  const watch = (service: string): AsyncIterator<Any> =>
    client.health.Watch({ service })[Symbol.asyncIterator]();
  const [server, model, nobody] = [watch(""), watch("digits"), watch("nobody")];
  expect(await Promise.all([server, model, nobody].map(next))).toEqual([
    "SERVING",
    "SERVING",
    "SERVICE_UNKNOWN",
  ]);
  parts.served.readyCount = 0;
  expect(await next(model)).toBe("NOT_SERVING");
  parts.served.readyCount = 1;
  expect(await next(model)).toBe("SERVING");
  const closed = client.server.close(1000);
  expect(await Promise.all([server, model, nobody].map(next))).toEqual(Array(3).fill("NOT_SERVING"));
  expect(await Promise.all([server, model, nobody].map(next))).toEqual(Array(3).fill("ended"));
  await closed;
});

test("health and reflection are gRPC's own", async () => {
  const client = await start(echo([fp32]));
  const check = async (service: string): Promise<Any> =>
    new Promise((resolve) => {
      client.health.Check({ service }, (error: grpc.ServiceError | null, reply: Any) =>
        resolve(error ?? reply),
      );
    });
  expect(await check("")).toEqual({ status: "SERVING" });
  expect(await check("digits")).toEqual({ status: "SERVING" });
  expect((await check("nobody")).code).toBe(grpc.status.NOT_FOUND);
  const reflection = await load(
    new URL(
      "../../../../node_modules/@grpc/reflection/build/proto/grpc/reflection/v1/reflection.proto",
      import.meta.url,
    ).pathname,
    { keepCase: true },
  );
  const loaded = grpc.loadPackageDefinition(reflection) as Any;
  const asker = new loaded.grpc.reflection.v1.ServerReflection(
    client.address,
    grpc.credentials.createInsecure(),
  );
  open.push(asker);
  const stream = asker.ServerReflectionInfo();
  stream.write({ list_services: "" });
  const names: string[] = [];
  for await (const reply of stream) {
    for (const { name } of reply.list_services_response.service) names.push(name);
    stream.end();
  }
  expect(names).toContain("inference.GRPCInferenceService");
});
