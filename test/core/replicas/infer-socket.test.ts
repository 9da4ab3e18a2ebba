// The client of infer sockets against servers that answer in pieces, too much, nonsense or not at all.
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { inferSocketOf, overInferSocket } from "../../../core/replicas/infer-socket.ts";
import { transportTo, type InferReply, type ReplicaTransport } from "../../../core/replicas/transport.ts";

interface Lab extends AsyncDisposable {
  readonly transport: ReplicaTransport;
  readonly connections: Socket[];
}

/** A server whose connections `answer` is given with each chunk that comes. */
async function lab(answer: (socket: Socket, chunk: Buffer) => void): Promise<Lab> {
  const folder = await mkdtemp(join(tmpdir(), "wj-"));
  const connections: Socket[] = [];
  const server = createServer((socket) => {
    connections.push(socket);
    socket.on("data", (chunk) => answer(socket, chunk)).on("error", () => undefined);
  });
  const path = join(folder, "si");
  await new Promise<void>((resolve) => server.listen(path, resolve));
  const transport = overInferSocket(transportTo({ socketPath: join(folder, "s") }), path);
  return {
    transport,
    connections,
    async [Symbol.asyncDispose]() {
      await transport.close();
      for (const socket of connections) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
      await rm(folder, { recursive: true });
    },
  };
}

function infer(transport: ReplicaTransport, text = "rows"): Promise<InferReply> {
  const call = { path: "/v2/models/m/infer", body: Buffer.from(text), headerLength: 2, deadlineMs: 60_000 };
  return new Promise((resolve, reject) => {
    transport.infer(call, (error, reply) => (reply === undefined ? reject(error) : resolve(reply)));
  });
}

const REPLY =
  "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 5\r\nwindjammer-compute-us: 1500\r\n" +
  "inference-header-content-length: 2\r\n\r\nhello";

describe("a reply", () => {
  test("arrives whole, whatever pieces it comes in", async () => {
    const pieces = [REPLY.length, 1, 7, 60, REPLY.length - 3];
    await using server = await lab((socket) => {
      const size = pieces[0] ?? 1;
      const send = (at: number): void => {
        if (at >= REPLY.length) return;
        socket.write(REPLY.slice(at, at + size));
        setImmediate(() => send(at + size));
      };
      send(0);
    });
    for (; pieces.length > 0; pieces.shift()) {
      const reply = await infer(server.transport);
      expect(Buffer.from(reply.body).toString()).toBe("hello");
      expect(reply).toMatchObject({ statusCode: 200, headerLength: 2, computeMs: 1.5 });
    }
    expect(server.connections).toHaveLength(1);
  });

  test("without compute time or tensors is taken, with its status", async () => {
    await using server = await lab((socket) =>
      socket.write("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\n{}"),
    );
    const reply = await infer(server.transport);
    expect(reply).toMatchObject({ statusCode: 503, headerLength: undefined, computeMs: undefined });
  });

  test.each([
    ["longer than it says", `${REPLY}!`, "longer than it says"],
    ["no HTTP", "SSH-2.0-OpenSSH_9.6\r\n\r\n", "not one of ours"],
    ["longer than memory", "HTTP/1.1 200 OK\r\nContent-Length: 999999999999999\r\n\r\n", "not one of ours"],
    ["without a length", "HTTP/1.1 200 OK\r\n\r\n", "not one of ours"],
    ["without an end of its head", "x".repeat(20_000), "not one of ours"],
  ])("that is %s fails the call, and the next one begins anew", async (_name, text, message) => {
    const texts = [text, REPLY];
    await using server = await lab((socket) => socket.write(texts.shift() ?? ""));
    await expect(infer(server.transport)).rejects.toThrow(message);
    expect((await infer(server.transport)).statusCode).toBe(200);
    expect(server.connections).toHaveLength(2);
  });
});

describe("a connection", () => {
  test("that closes in the middle of a call fails it once, and the next call opens another", async () => {
    let calls = 0;
    await using server = await lab((socket) => {
      calls += 1;
      if (calls === 1) socket.end(REPLY.slice(0, -1));
      else socket.write(REPLY);
    });
    await expect(infer(server.transport)).rejects.toThrow("closed the connection");
    expect((await infer(server.transport)).statusCode).toBe(200);
  });

  test("that closes while nothing is on its way costs no call", async () => {
    await using server = await lab((socket) => socket.write(REPLY));
    await infer(server.transport);
    const [first] = server.connections;
    await new Promise((resolve) => {
      first?.once("close", resolve);
      first?.end();
    });
    expect((await infer(server.transport)).statusCode).toBe(200);
  });

  test("is taken for each call that is on its way at the same time", async () => {
    const waiting: Socket[] = [];
    await using server = await lab((socket) => {
      waiting.push(socket);
      if (waiting.length === 3) for (const one of waiting) one.write(REPLY);
    });
    const replies = await Promise.all([1, 2, 3].map(() => infer(server.transport)));
    expect(replies.map((reply) => reply.statusCode)).toEqual([200, 200, 200]);
    expect(server.connections).toHaveLength(3);
  });

  test("that cannot be made fails the call", async () => {
    const transport = overInferSocket(transportTo({ socketPath: "/nonexistent/s" }), "/nonexistent/si");
    await expect(infer(transport)).rejects.toThrow("ENOENT");
    await transport.close();
  });

  test("is cut by close, which fails its call", async () => {
    await using server = await lab(() => undefined);
    const call = infer(server.transport);
    await server.transport.close();
    await expect(call).rejects.toThrow("closed the connection");
  });
});

test.each([
  ['{"parameters":{"infer_socket":"si"}}', "/run/r1/si"],
  ['{"parameters":{"infer_socket":"../s"}}', undefined],
  ['{"parameters":{"infer_socket":"/etc/x"}}', undefined],
  ['{"parameters":{"infer_socket":".."}}', undefined],
  ['{"parameters":{"infer_socket":7}}', undefined],
  ['{"parameters":null}', undefined],
  ["{}", undefined],
])("metadata %s names %s", (metadata, path) => {
  expect(inferSocketOf({ socketPath: "/run/r1/s" }, {}, metadata)).toBe(path);
});
