// The socket on which the model's own thread takes infer calls, asked by the client that the frontend uses.
import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import {
  binaryHeader,
  decodeBytes,
  encodeBytes,
  encodeHeader,
  sliceBinary,
  type Tensor,
  type TensorHeader,
} from "../../containers/tensors.ts";
import { inferSocketOf, overInferSocket } from "../../core/replicas/infer-socket.ts";
import { transportTo, type InferReply, type ReplicaTransport } from "../../core/replicas/transport.ts";
import { functionBundle, jsonTensor, TestContainer } from "../helpers/container.ts";

const ECHO = "export const predict = (inputs) => inputs;";
/** Keeps its thread busy from an input "slow" on until a file "go" is beside it. */
const BUSY = `import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
const go = new URL("go", import.meta.url);
export const predict = (inputs) => {
  if (inputs[0] === "slow") { console.log("computing"); while (!existsSync(go)); }
  return inputs;
};`;

interface Client extends AsyncDisposable {
  readonly transport: ReplicaTransport;
  predict(values: readonly unknown[], deadlineMs?: number): Promise<unknown[]>;
  ask(values: readonly unknown[], deadlineMs?: number): Promise<InferReply>;
  send(input: Tensor, deadlineMs?: number): Promise<InferReply>;
}

async function clientOf(container: TestContainer): Promise<Client> {
  const address = { socketPath: container.socketPath };
  const path = inferSocketOf(address, {}, (await container.get("/v2/models/m")).body.toString());
  if (path === undefined) throw new Error("the container has no infer socket");
  expect(existsSync(path)).toBe(true);
  const transport = overInferSocket(transportTo(address), path);
  const send = (tensor: Tensor, deadlineMs = 60_000): Promise<InferReply> => {
    const header = encodeHeader({ inputs: [binaryHeader(tensor)], parameters: { binary_data_output: true } });
    const body = Buffer.concat([header, tensor.data]);
    const call = { path: "/v2/models/m/infer", body, headerLength: header.byteLength, deadlineMs };
    return new Promise((resolve, reject) => {
      transport.infer(call, (error, reply) => (reply === undefined ? reject(error) : resolve(reply)));
    });
  };
  const ask = (values: readonly unknown[], deadlineMs?: number): Promise<InferReply> =>
    send(jsonTensor("input", values), deadlineMs);
  return {
    transport,
    ask,
    send,
    async predict(values, deadlineMs) {
      const reply = await ask(values, deadlineMs);
      if (reply.statusCode !== 200) throw new Error(`status ${reply.statusCode}`);
      return outputsOf(reply, values.length);
    },
    [Symbol.asyncDispose]: () => transport.close(),
  };
}

function outputsOf({ body, headerLength = 0 }: InferReply, count: number): unknown[] {
  const header = JSON.parse(Buffer.from(body.subarray(0, headerLength)).toString()) as {
    outputs: TensorHeader[];
  };
  const data = sliceBinary(header.outputs, body, headerLength).get("output") ?? new Uint8Array();
  return decodeBytes(data, count).map((element) => JSON.parse(Buffer.from(element).toString()) as unknown);
}

describe("the infer socket", () => {
  test("answers small and large batches, each with its own rows, and says how long the model took", async () => {
    await using bundle = await functionBundle(ECHO);
    await using container = await TestContainer.start(bundle);
    await using client = await clientOf(container);
    for (const size of [1, 1000, 3, 50_000]) {
      const values = Array.from({ length: size }, (_, index) => ({ index, text: "ü".repeat(index % 7) }));
      expect(await client.predict(values)).toEqual(values);
    }
    expect((await client.ask([1])).computeMs).toBeGreaterThan(0);
  });

  test("several calls at once are answered apart, with those of the container's own socket among them", async () => {
    await using bundle = await functionBundle(ECHO);
    await using container = await TestContainer.start(bundle);
    await using client = await clientOf(container);
    const calls = Array.from({ length: 40 }, (_, index) =>
      index % 2 === 0 ? client.predict([index, -1 - index]) : container.predict([index, -1 - index]),
    );
    for (const [index, result] of (await Promise.all(calls)).entries())
      expect(result).toEqual([index, -1 - index]);
  });

  test("health answers while it computes, and a call of the other socket whose deadline passes meanwhile gets 504", async () => {
    await using bundle = await functionBundle(BUSY);
    await using container = await TestContainer.start(bundle);
    await using client = await clientOf(container);
    const slow = client.predict(["slow"]);
    await container.said("computing");
    const late = container.inferRaw([jsonTensor("input", [0])], { "windjammer-deadline-ms": "20" });
    expect((await container.get("/v2/health/live")).status).toBe(200);
    expect((await client.transport.get("/v2/health/ready", 60_000)).statusCode).toBe(200);
    // It is here, since what came behind it was answered; longer than its deadline it does not wait in vain.
    await delay(50);
    await writeFile(join(bundle.files, "go"), "");
    expect((await late).status).toBe(504);
    expect(await slow).toEqual(["slow"]);
  });

  test("the call that runs, and those that wait, are answered before the container stops", async () => {
    await using bundle = await functionBundle(BUSY);
    await using container = await TestContainer.start(bundle);
    await using client = await clientOf(container);
    expect(await client.predict([0])).toEqual([0]);
    const running = client.predict(["slow"]);
    await container.said("computing");
    const waiting = client.predict([1]);
    const other = container.predict([2]);
    // A drain answers what has arrived: all of them, once what came behind them is answered.
    await container.get("/v2/health/live");
    container.process.kill("SIGTERM");
    await expect.poll(() => existsSync(container.socketPath)).toBe(false);
    await writeFile(join(bundle.files, "go"), "");
    expect(await Promise.all([running, waiting, other])).toEqual([["slow"], [1], [2]]);
    expect(await container.exited).toEqual({ code: 0, signal: null });
    await expect(client.predict([3])).rejects.toThrow();
  });

  test("a container that dies in the middle of a call fails it, and leaves no call open", async () => {
    await using bundle = await functionBundle(BUSY);
    await using container = await TestContainer.start(bundle);
    await using client = await clientOf(container);
    const call = client.predict(["slow"]);
    await container.said("computing");
    container.process.kill("SIGKILL");
    await expect(call).rejects.toThrow("closed the connection");
  });

  test("is not there where the container listens on a port, or the path has no room for it", async () => {
    await using bundle = await functionBundle(ECHO);
    await using container = await TestContainer.start(bundle, {
      WINDJAMMER_SOCKET: "",
      WINDJAMMER_HOST: "127.0.0.1",
      PORT: "0",
    });
    const [, address = ""] = /is ready on (\S+)/.exec(container.stderr) ?? [];
    const metadata = await (await fetch(`http://${address}/v2/models/m`)).text();
    expect(metadata).not.toContain("infer_socket");
    const [host = "", port] = address.split(":");
    expect(
      inferSocketOf({ host, port: Number(port) }, {}, '{"parameters":{"infer_socket":"si"}}'),
    ).toBeUndefined();
  });
});

test("a function that keeps its inputs finds them unchanged, whatever came later", async () => {
  const code = `const kept = []; export const predict = (inputs) => { kept.push(...inputs); return inputs.map(() => kept.map((one) => Buffer.isBuffer(one) ? one.toString() : one)); };`;
  for (const [contentType, encode] of [
    ["bytes", (text: string): Uint8Array => Buffer.from(text)],
    ["str", (text: string): Uint8Array => Buffer.from(text)],
    ["json", (text: string): Uint8Array => Buffer.from(JSON.stringify(text))],
  ] as const) {
    const input = { name: "input", datatype: "BYTES", shape: [], contentType } as const;
    const output = { name: "output", datatype: "BYTES", shape: [], contentType: "json" } as const;
    await using bundle = await functionBundle(code, {
      contract: { inputs: [input], outputs: [output], isBatched: true },
    });
    await using container = await TestContainer.start(bundle);
    await using client = await clientOf(container);
    const texts = ["first", "second", "third"].map((text) => text.repeat(10_000));
    for (const [index, text] of texts.entries()) {
      const tensor: Tensor = {
        name: "input",
        datatype: "BYTES",
        shape: [1],
        data: encodeBytes([encode(text)]),
        contentType,
      };
      const reply = await client.send(tensor);
      expect(outputsOf(reply, 1)).toEqual([texts.slice(0, index + 1)]);
    }
  }
});
