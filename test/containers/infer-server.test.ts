// The server of infer sockets: calls in pieces, of other paths, too many at once, given up, and behind a drain.
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import type { Call, Prediction } from "../../containers/call-queue.ts";
import { InferServer } from "../../containers/infer-server.ts";
import type { Manifest } from "../../containers/protocol.ts";
import { encodeHeader } from "../../containers/tensors.ts";
import { tensorManifest } from "../core/query/fakes.ts";

const number = { name: "x", datatype: "FP32", shape: [2] } as const;
const manifest: Manifest = tensorManifest([number], [{ ...number, name: "y" }]);

/** A call that the model has not answered yet. */
interface Running extends PromiseWithResolvers<Prediction> {
  readonly call: Call;
  isCancelled: boolean;
}

interface Lab extends AsyncDisposable {
  readonly server: InferServer;
  readonly running: Running[];
  /** Answers the oldest call with its input. */
  answer(): void;
  dial(): Promise<Socket>;
}

async function lab(): Promise<Lab> {
  const folder = await mkdtemp(join(tmpdir(), "wj-"));
  const running: Running[] = [];
  const server = new InferServer({
    model: { name: "m", version: "1" },
    manifest,
    reusesBodies: true,
    calls: {
      isReady: true,
      predict(call) {
        const one = { ...Promise.withResolvers<Prediction>(), call, isCancelled: false };
        running.push(one);
        return { prediction: one.promise, cancel: () => (one.isCancelled = true) };
      },
    },
  });
  const path = join(folder, "si");
  await server.listen(path);
  const sockets: Socket[] = [];
  return {
    server,
    running,
    answer() {
      const { call, resolve } = running.shift() as Running;
      const [{ data, shape }] = call.inputs as [Call["inputs"][number]];
      const outputs = [{ name: "y", datatype: "FP32", shape, data: new Uint8Array(data) } as const];
      resolve({ result: { outputs }, computeUs: 7 });
    },
    async dial() {
      const socket = connect(path);
      sockets.push(socket);
      await once(socket, "connect");
      return socket;
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await server.drain();
      await rm(folder, { recursive: true });
    },
  };
}

function callOf(numbers: readonly number[], path = "/v2/models/m/infer"): Buffer {
  const data = Buffer.from(Float32Array.from(numbers).buffer);
  const header = encodeHeader({
    inputs: [
      {
        name: "x",
        datatype: "FP32",
        shape: [numbers.length / 2, 2],
        parameters: { binary_data_size: data.byteLength },
      },
    ],
    parameters: { binary_data_output: true },
  });
  const head = [
    `POST ${path} HTTP/1.1`,
    "host: localhost",
    `content-length: ${header.byteLength + data.byteLength}`,
    `inference-header-content-length: ${header.byteLength}`,
    "windjammer-deadline-ms: 60000",
  ];
  return Buffer.concat([Buffer.from(`${head.join("\r\n")}\r\n\r\n`), header, data]);
}

/** Status and body of the next reply. */
async function reply(socket: Socket): Promise<{ readonly status: number; readonly body: Buffer }> {
  let bytes = Buffer.alloc(0);
  for (;;) {
    const [chunk] = (await once(socket, "data")) as [Buffer];
    bytes = Buffer.concat([bytes, chunk]);
    const headEnd = bytes.indexOf("\r\n\r\n") + 4;
    const head = bytes.toString("latin1", 0, headEnd);
    const end = headEnd + Number(/content-length: (\d+)/.exec(head)?.[1] ?? Infinity);
    if (bytes.byteLength >= end)
      return { status: Number(head.slice(9, 12)), body: bytes.subarray(headEnd, end) };
  }
}

async function until(isTrue: () => boolean): Promise<void> {
  for (const end = performance.now() + 60_000; !isTrue() && performance.now() < end;)
    await new Promise(setImmediate);
  expect(isTrue()).toBe(true);
}

/** The numbers behind a reply's JSON. */
function numbersOf({ body }: { readonly body: Buffer }, count: number): readonly number[] {
  return [...new Float32Array(new Uint8Array(body.subarray(body.byteLength - 4 * count)).buffer)];
}

describe("an infer call", () => {
  test("is answered with its own numbers, whatever pieces it comes in and however large the last one was", async () => {
    await using server = await lab();
    const socket = await server.dial();
    for (const [count, size] of [
      [2, 1000],
      [40_000, 70_000],
      [4, 1],
      [40_000, 9000],
      [2, 1000],
    ] as const) {
      const numbers = Array.from({ length: count }, (_, index) => index + size);
      const bytes = callOf(numbers);
      for (let at = 0; at < bytes.byteLength; at += size) {
        socket.write(bytes.subarray(at, at + size));
        if (bytes.byteLength < 100 * size) await new Promise(setImmediate);
      }
      await until(() => server.running.length === 1);
      const answered = reply(socket);
      server.answer();
      const got = await answered;
      expect(got.status).toBe(200);
      expect(numbersOf(got, count)).toEqual(numbers);
    }
  });

  test.each([
    ["of another path", callOf([1, 2], "/v2/models/other/infer"), 404],
    ["that does not fit the contract", callOf([1, 2, 3]), 400],
  ])("%s is refused, and the next one is answered", async (_what, bytes, status) => {
    await using server = await lab();
    const socket = await server.dial();
    socket.write(bytes);
    expect((await reply(socket)).status).toBe(status);
    socket.write(callOf([5, 6], "/v2/models/m/versions/1/infer"));
    await until(() => server.running.length === 1);
    server.answer();
    expect(numbersOf(await reply(socket), 2)).toEqual([5, 6]);
  });

  test.each([
    ["is longer than it says", Buffer.concat([callOf([1, 2]), Buffer.from("!")])],
    ["is not one of ours", Buffer.from("GET / HTTP/1.1\r\n\r\n")],
    ["is larger than", Buffer.from(`POST / HTTP/1.1\r\ncontent-length: ${2 ** 40}\r\n\r\n`)],
  ])("that %s ends the connection, with the reason", async (reason, bytes) => {
    await using server = await lab();
    const socket = await server.dial();
    socket.write(bytes);
    expect((await reply(socket)).body.toString()).toContain(reason);
    await once(socket, "close");
  });

  test("that there is no memory for is the container's fault, and says what to do", async () => {
    await using server = await lab();
    const socket = await server.dial();
    const allocate = vi.spyOn(Buffer, "allocUnsafeSlow").mockImplementation(() => {
      throw new RangeError("Array buffer allocation failed");
    });
    onTestFinished(() => allocate.mockRestore());
    socket.write(callOf([1, 2]));
    const { status, body } = await reply(socket);
    expect(status).toBe(500);
    expect(body.toString()).toMatch(
      /no memory for a body of \d+ bytes \(Array buffer allocation failed\); give it more, or send smaller/,
    );
    await once(socket, "close");
  });

  test("whose second half never comes, since its frontend has died, holds nothing up", async () => {
    await using server = await lab();
    const socket = await server.dial();
    socket.write(callOf([1, 2]).subarray(0, 200));
    // Answered behind the half: it has been read.
    const other = await server.dial();
    other.write(callOf([3, 4]));
    await until(() => server.running.length === 1);
    server.answer();
    await reply(other);
    socket.destroy();
    await server.server.drain();
    expect(server.running).toEqual([]);
  });

  test("that comes before the answer to the last one ends the connection, and gives that one up", async () => {
    await using server = await lab();
    const socket = await server.dial();
    socket.write(callOf([1, 2]));
    await until(() => server.running.length === 1);
    socket.write(callOf([3, 4]));
    expect((await reply(socket)).body.toString()).toContain("one call at a time");
    await once(socket, "close");
    await until(() => server.running[0]?.isCancelled === true);
    expect(server.running).toHaveLength(1);
  });

  test("whose frontend has gone is given up", async () => {
    await using server = await lab();
    const socket = await server.dial();
    socket.write(callOf([1, 2]));
    await until(() => server.running.length === 1);
    socket.destroy();
    await until(() => server.running[0]?.isCancelled === true);
    server.answer();
  });
});

test("a drain answers the call that runs and the one that is half here, and closes the connections that are idle", async () => {
  await using server = await lab();
  const [busy, half, idle] = [await server.dial(), await server.dial(), await server.dial()];
  const bytes = callOf([3, 4]);
  half.write(bytes.subarray(0, 200));
  // Behind the half, so that this is read, too, once it runs.
  busy.write(callOf([1, 2]));
  await until(() => server.running.length === 1);
  const drained = server.server.drain();
  await once(idle, "close");
  const answers = Promise.all([reply(busy), reply(half)]);
  half.write(bytes.subarray(200));
  await until(() => server.running.length === 2);
  server.answer();
  server.answer();
  const [first, second] = await answers;
  expect([numbersOf(first, 2), numbersOf(second, 2)]).toEqual([
    [1, 2],
    [3, 4],
  ]);
  await drained;
});
