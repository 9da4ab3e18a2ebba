// Model containers of Clipper's at a whole server: they connect, serve, go and come back, over real sockets.
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Dealer } from "zeromq";
import { manifest } from "../../../../core/deploy/deployer.ts";
import { createLog } from "../../../../core/log.ts";
import { RpcService } from "../../../../core/replicas/clipper-rpc/service.ts";
import { type RunningServer, startServer } from "../../../../core/windjammer.ts";
import { long, TestContainer, word } from "../../../helpers/clipper-container.ts";
import { modelOf, openClipper } from "../../../helpers/clipper-server.ts";

const OUTPUT = /"output":(.*),"default":false/;

function outputOf(reply: string): string | undefined {
  return OUTPUT.exec(reply)?.[1];
}

test.each([
  [
    "integers",
    1,
    [1, -2],
    (raw: Buffer) => [...new Int32Array(raw.buffer.slice(raw.byteOffset, raw.byteOffset + raw.length))],
  ],
  ["floats", 2, [1.5, -2], (raw: Buffer) => [raw.readFloatLE(0), raw.readFloatLE(4)]],
  ["doubles", 3, [0.1, 1e300], (raw: Buffer) => [raw.readDoubleLE(0), raw.readDoubleLE(8)]],
  ["strings", 4, "käse", (raw: Buffer) => raw.toString()],
  ["bytes", 0, "/wA=", (raw: Buffer) => raw.toString("base64")],
] as const)("%s reach a container as raw data", async (...[inputType, code, input, read]) => {
  const lab = await openClipper();
  await lab.register("app", inputType);
  const seen: unknown[] = [];
  lab.container({
    model: "app",
    inputType: code,
    predict: (inputs) => inputs.map((raw) => String(seen.push(read(raw)))),
  });
  await lab.untilContainers(1);
  expect(outputOf(await lab.query("/app/predict", { input }))).toBe("1");
  expect(seen).toEqual([input]);
});

test("rows of unequal length go out as they are, and outputs are embedded as JSON where they are JSON", async () => {
  const lab = await openClipper();
  await lab.register("app", "doubles");
  const outputs = ["1.0", '{"a":[1]}', "cat", "", "NaN", '"q"'];
  const lengths: number[] = [];
  const predict = (inputs: readonly Buffer[]): readonly string[] =>
    inputs.map((raw) => {
      lengths.push(raw.length);
      return outputs[raw.length === 0 ? 5 : raw.readDoubleLE(0)] ?? "";
    });
  lab.container({ model: "app", inputType: 3, predict });
  await lab.untilContainers(1);
  const reply = await lab.query("/app/predict", { input_batch: [[0], [1, 7], [2], [3, 7, 7], [4], []] });
  expect(reply).toBe(
    '200 {"batch_predictions":[{"query_id":1,"output":1.0,"default":false},{"query_id":2,"output":{"a":[1]},"default":false},' +
      '{"query_id":3,"output":"cat","default":false},{"query_id":4,"output":"","default":false},' +
      '{"query_id":5,"output":"NaN","default":false},{"query_id":6,"output":"q","default":false}]}',
  );
  expect(lengths.toSorted((a, b) => a - b)).toEqual([0, 8, 8, 8, 16, 24]);
});

test("the first word is a heartbeat; metadata are asked for once, and heartbeats are answered from then on", async () => {
  const lab = await openClipper();
  await lab.register("app", "doubles");
  const container = lab.container({ model: "app", inputType: 3, pollMs: 60_000 });
  await lab.untilContainers(1);
  for (let beats = 0; beats < 3; beats++) await container.heartbeat();
  await expect.poll(() => container.received.length).toBe(4);
  const kinds = container.received.map((frames) => frames.map((frame) => frame.toString("hex")).join(" "));
  expect(kinds[0]).toBe(" 03000000 02000000 01000000");
  expect(new Set(kinds.slice(1))).toEqual(new Set([" 03000000 02000000 00000000"]));
  expect(container.metadataSent).toBe(1);
});

test("a container that comes before its model waits, and serves as soon as it is registered", async () => {
  const lab = await openClipper();
  const container = lab.container({ model: "app", inputType: 3 });
  await expect.poll(() => container.metadataSent).toBe(1);
  await lab.register("app", "doubles");
  await lab.untilContainers(1);
  expect(outputOf(await lab.query("/app/predict", { input: [1] }))).toBe("1");
});

test.each([
  ["another input type", { inputType: 4 }],
  ["an input type that does not exist", { inputType: "7" }],
  ["another version of the protocol", { inputType: 3, rpcVersion: 2 }],
  ["no version of the protocol", { inputType: 3, rpcVersion: null }],
  ["another model", { inputType: 3, model: "other" }],
])("a container of %s gets no query", async (_, options) => {
  const lab = await openClipper();
  await lab.register("app", "doubles");
  const stranger = lab.container({ model: "app", pollMs: 20, ...options });
  await expect.poll(() => stranger.received.length).toBeGreaterThan(2);
  expect(await lab.query("/app/predict", { input: [1] })).toContain(
    '"default":true,"default_explanation":"No connected models found for query"',
  );
});

test("two replicas share the work, and versions answer for themselves", async () => {
  const lab = await openClipper();
  await lab.register("app", "doubles");
  const gate = Promise.withResolvers<void>();
  let waiting = 0;
  const predict = async (all: readonly Buffer[]): Promise<readonly string[]> => {
    waiting++;
    await gate.promise;
    return all.map(() => "1");
  };
  lab.container({ model: "app", inputType: 3, predict });
  lab.container({ model: "app", inputType: 3, predict });
  await lab.untilContainers(2);
  const replies = [lab.query("/app/predict", { input: [1] }), lab.query("/app/predict", { input: [2] })];
  await expect.poll(() => waiting).toBe(2);
  gate.resolve();
  expect((await Promise.all(replies)).map(outputOf)).toEqual(["1", "1"]);

  expect(await lab.admin("add_model", modelOf("app", "2", "doubles"))).toContain("200 Successfully added");
  expect(await lab.query("/app/predict", { input: [1] })).toContain('"default":true');
  lab.container({ model: "app", version: "2", inputType: 3, predict: (all) => all.map(() => '"two"') });
  await lab.untilContainers(3);
  expect(outputOf(await lab.query("/app/predict", { input: [1] }))).toBe('"two"');
  expect(outputOf(await lab.query("/app/predict", { input: [1], version: "1" }))).toBe("1");
  const back = await lab.admin("set_model_version", { model_name: "app", model_version: "1" });
  expect(back).toBe("200 Successfully set model with name 'app' to version '1'");
  expect(outputOf(await lab.query("/app/predict", { input: [1] }))).toBe("1");
});

test("a container that dies with a batch costs nothing while there is another one", async () => {
  const lab = await openClipper();
  await lab.register("app", "doubles");
  const taken = Promise.withResolvers<void>();
  const dying = lab.container({
    model: "app",
    inputType: 3,
    predict: () => {
      taken.resolve();
      return new Promise(() => undefined);
    },
  });
  await lab.untilContainers(1);
  const reply = lab.query("/app/predict", { input: [1] });
  await taken.promise;
  lab.container({ model: "app", inputType: 3, predict: (all) => all.map(() => '"saved"') });
  await lab.untilContainers(2);
  void dying.close();
  expect(outputOf(await reply)).toBe('"saved"');
  await lab.untilContainers(1);
});

test("the last container that dies is named in the default output, and its successor has a new id", async () => {
  const lab = await openClipper();
  await lab.register("app", "doubles");
  const first = lab.container({ model: "app", inputType: 3 });
  await lab.untilContainers(1);
  expect(await lab.admin("get_all_containers", { verbose: false })).toBe('200 ["app:1:1"]');
  await first.close();
  await lab.untilContainers(0);
  expect(await lab.query("/app/predict", { input: [1] })).toMatch(
    /"default_explanation":"No connected models found for query".*replica app-1-r1 closed its connection/,
  );
  lab.container({ model: "app", inputType: 3 });
  await lab.untilContainers(1);
  expect(await lab.admin("get_container", { model_name: "app", model_version: "1", replica_id: 2 })).toBe(
    '200 {"model_id":"app:1","model_name":"app","model_version":"1","model_replica_id":2,"input_type":"doubles"}',
  );
});

test("a wrong count and a broken answer are model errors of that batch; the container goes on", async () => {
  const lab = await openClipper();
  await lab.register("app", "strings");
  lab.container({
    model: "app",
    inputType: 4,
    predict: ([first]) => (String(first) === "two" ? ["1", "2"] : ["1"]),
  });
  await lab.untilContainers(1);
  const wrong = await lab.query("/app/predict", { input: "two" });
  expect(wrong).toContain('"default_reason":"model-error"');
  expect(wrong).toContain("it answered 1 inputs with 2 outputs");
  expect(outputOf(await lab.query("/app/predict", { input: "one" }))).toBe("1");
});

test("a message that makes no sense harms nobody", async () => {
  const lab = await openClipper();
  await lab.register("app", "doubles");
  const container = lab.container({
    model: "app",
    inputType: 3,
    predict: async (all) => {
      await container.respond(word(1), long(8), long(1));
      return all.map(() => "1");
    },
  });
  await lab.untilContainers(1);
  const reply = await lab.query("/app/predict", { input: [1] });
  expect(reply).toContain("something that is no response");
  await container.respond(Buffer.from("?"));
  await container.heartbeat();
  await expect.poll(() => container.received.length).toBeGreaterThan(2);
});

test("containers come back to a server that was started again, with its models as they were", async () => {
  const stateDir = await mkdtemp(join(tmpdir(), "wj-clipper-"));
  const lab = await openClipper({ stateDir });
  await lab.register("app", "doubles");
  const container = lab.container({ model: "app", inputType: 3, pollMs: 50 });
  await lab.untilContainers(1);
  const { clipper, queryUrl } = lab.server;
  await lab.server.close();
  const port = Number(new URL(queryUrl).port);
  const rpcPort = Number(/\d+$/.exec(clipper?.rpcEndpoint ?? "")?.[0]);
  const again: RunningServer = await startServer({
    port,
    adminPort: 0,
    stateDir,
    clipper: { adminPort: 0, rpcPort },
  });
  try {
    await expect.poll(() => container.metadataSent).toBeGreaterThan(1);
    await expect.poll(() => lab.query("/app/predict", { input: [1] })).toContain('"output":1,');
  } finally {
    await again.close();
    await rm(stateDir, { recursive: true });
  }
});

test("one that stops to answer heartbeats is let go after a while, and taken in again", async () => {
  const ends: string[] = [];
  let joined = 0;
  const service = new RpcService({
    host: "127.0.0.1",
    port: 0,
    log: createLog("silent"),
    silenceMs: 400,
    onChange: () => () => undefined,
    place: () => ({
      kind: "version",
      manifest: manifest({ deployer: "clipper", loader: "clipper-rpc", inputType: "strings" }),
      nextId: () => `m-1-r${++joined}`,
      join: (running) => void running.exited.then(({ message }) => ends.push(message)),
    }),
  });
  const endpoint = await service.listen();
  await using container = new TestContainer({ endpoint, model: "m", inputType: 4, pollMs: 60_000 });
  const silence = expect.stringMatching(/^said nothing for \d+ s$/) as string;
  await expect.poll(() => ends).toEqual([silence]);
  await container.heartbeat();
  await expect.poll(() => joined).toBe(2);
  await service.close();
  // On a machine that is slow, the silence may have been long enough once more before the close.
  await expect.poll(() => ends.length).toBe(joined);
  expect(ends.at(-1)).toMatch(/^(?:stopped|said nothing for \d+ s)$/);
});

test("who is let in without a token, from other machines, has to be said", async () => {
  await expect(start({ adminPort: 0, rpcPort: 0, host: "0.0.0.0" })).rejects.toMatchObject({
    code: "INVALID_OPTIONS",
    message: expect.stringContaining("--clipper-allow-unauthenticated"),
  });
  await using server = await start({
    adminPort: 0,
    rpcPort: 0,
    host: "0.0.0.0",
    allowUnauthenticated: true,
  });
  expect(server.clipper?.rpcEndpoint).toMatch(/^tcp:\/\/0\.0\.0\.0:/);
});

test("bytes that are no ZeroMQ, and messages that are no RPC, harm nobody", async () => {
  const lab = await openClipper();
  await lab.register("app", "doubles");
  lab.container({ model: "app", inputType: 3 });
  await lab.untilContainers(1);
  const endpoint = lab.server.clipper?.rpcEndpoint ?? "";
  const { port } = new URL(endpoint.replace("tcp:", "http:"));
  const raw = connect(Number(port), "127.0.0.1");
  raw.on("error", () => undefined).resume();
  raw.end(Buffer.alloc(2 ** 20, "GET / HTTP/1.1\r\n"));
  const stranger = new Dealer({ linger: 0 });
  stranger.connect(endpoint);
  for (let each = 0; each < 5000; each++)
    await stranger.send(each % 2 === 0 ? Buffer.alloc(each % 64, each) : ["", word(each % 5), word(each)]);
  if (!raw.destroyed) await once(raw, "close");
  stranger.close();
  expect(outputOf(await lab.query("/app/predict", { input: [1] }))).toBe("1");
  expect(await lab.admin("get_all_containers", { verbose: false })).toBe('200 ["app:1:1"]');
});

test("a second container with the identity of the first does not get into its place", async () => {
  const lab = await openClipper();
  await lab.register("app", "doubles");
  const routingId = "same";
  lab.container({ model: "app", inputType: 3, routingId, predict: (all) => all.map(() => '"first"') });
  await lab.untilContainers(1);
  const other = lab.container({
    model: "other",
    inputType: 3,
    routingId,
    predict: (all) => all.map(() => '"?"'),
  });
  for (let beats = 0; beats < 3; beats++) await other.heartbeat();
  for (let each = 0; each < 10; each++)
    expect(outputOf(await lab.query("/app/predict", { input: [each] }))).toBe('"first"');
  expect(other.received).toEqual([]);
});

test("a server that closes with a batch in flight answers it once, and within its time", async () => {
  const lab = await openClipper({ drainTimeoutMs: 50 });
  await lab.register("app", "doubles");
  const taken = Promise.withResolvers<void>();
  lab.container({
    model: "app",
    inputType: 3,
    predict: () => {
      taken.resolve();
      return new Promise(() => undefined);
    },
  });
  await lab.untilContainers(1);
  const reply = lab.query("/app/predict", { input: [1] }).catch(() => "cut off");
  await taken.promise;
  await lab.server.close();
  expect(await reply).toMatch(/cut off|"default":true/);
});

test("a hundred containers that come and go together are all let in, and all let go", async () => {
  const lab = await openClipper();
  await lab.register("app", "doubles");
  const all = Array.from({ length: 100 }, () => lab.container({ model: "app", inputType: 3 }));
  await lab.untilContainers(100);
  await Promise.all(all.map((container) => container.close()));
  await lab.untilContainers(0);
  lab.container({ model: "app", inputType: 3 });
  await lab.untilContainers(1);
  expect(outputOf(await lab.query("/app/predict", { input: [1] }))).toBe("1");
  expect(await lab.admin("get_all_containers", { verbose: false })).toBe('200 ["app:1:101"]');
});

test("a version that is deleted takes its series along", async () => {
  const lab = await openClipper();
  await lab.register("app", "doubles");
  lab.container({ model: "app", inputType: 3 });
  await lab.untilContainers(1);
  await lab.query("/app/predict", { input: [1] });
  const metrics = async (): Promise<string> => (await fetch(`${lab.server.adminUrl}/metrics`)).text();
  expect(await metrics()).toContain('version="1"');
  expect(await lab.admin("add_model", modelOf("app", "2", "doubles"))).toMatch(/^200 /);
  const gone = { model_name: "app", model_version: "1" };
  expect(await lab.admin("delete_versioned_model", gone)).toMatch(/^200 /);
  const text = await metrics();
  expect(text).toContain('version="2"');
  expect(text).not.toContain('version="1"');
});

test("a port that is taken, and a host that is not ours, are said as such", async () => {
  const lab = await openClipper();
  const taken = Number(/\d+$/.exec(lab.server.clipper?.rpcEndpoint ?? "")?.[0]);
  await expect(start({ adminPort: 0, rpcPort: taken })).rejects.toMatchObject({ code: "PORT_IN_USE" });
  const host = "203.0.113.7";
  const elsewhere = { adminPort: 0, rpcPort: 0, host };
  await expect(start({ ...elsewhere, allowUnauthenticated: true })).rejects.toMatchObject({
    code: "INVALID_OPTIONS",
    message: expect.stringContaining(`cannot listen for Clipper's containers on ${host}`),
  });
});

function start(clipper: object): Promise<RunningServer> {
  return startServer({ port: 0, adminPort: 0, clipper });
}
