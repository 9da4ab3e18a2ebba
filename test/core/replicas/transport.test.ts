// The way to one replica: which of several places it listens at, and connections that it closes.
import { createServer, type Server } from "node:http";
import { type AddressInfo, createServer as createNetServer, type Socket } from "node:net";
import { join } from "node:path";
import { expect, it, onTestFinished, vi } from "vitest";
import { type ReplicaTransport, transportTo } from "../../../core/replicas/transport.ts";
import { tempFolder } from "../../helpers/temp.ts";

/** Of a connection that the other side broke. */
const BROKEN = /^(?:ECONNRESET|EPIPE|UND_ERR_SOCKET)$/;

async function answering(status: number, at: string | number): Promise<Server> {
  const server = createServer((_, response) => response.writeHead(status).end(`status ${status}`));
  await new Promise<void>((resolve) => server.listen(at, resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return server;
}

it("a stranger on the port of a replica that listens on its socket is not taken for it", async () => {
  const socketPath = join(await tempFolder(), "s");
  const { port } = (await answering(404, 0)).address() as AddressInfo;
  const transport = transportTo({ anyOf: [{ socketPath }, { host: "127.0.0.1", port }] });
  onTestFinished(() => transport.close());
  expect(await transport.get("/v2/health/ready", 5_000)).toMatchObject({ statusCode: 404 });
  await answering(200, socketPath);
  expect(await transport.get("/v2/health/ready", 5_000)).toMatchObject({ statusCode: 200 });
  expect(await transport.get("/v2/health/ready", 5_000)).toMatchObject({ text: "status 200" });
});

it("nobody anywhere is an error that names the first place", async () => {
  const socketPath = join(await tempFolder(), "s");
  const transport = transportTo({ anyOf: [{ socketPath }, { host: "127.0.0.1", port: 9 }] });
  onTestFinished(() => transport.close());
  await expect(transport.get("/v2/health/ready", 5_000)).rejects.toThrow(/ENOENT|ECONNREFUSED/);
});

it("a question on a socket that nobody answers ends with its time, and with the transport", async () => {
  const socketPath = join(await tempFolder(), "s");
  const asked = Promise.withResolvers<void>();
  const silent = createServer(() => asked.resolve());
  await new Promise<void>((resolve) => silent.listen(socketPath, resolve));
  onTestFinished(() => {
    silent.closeAllConnections();
    silent.close();
  });
  const transport = transportTo({ socketPath });
  await expect(transport.get("/v2/health/ready", 20)).rejects.toThrow(/abort/);
  const question = transport.get("/v2/health/ready", 60_000);
  await asked.promise;
  await Promise.all([expect(question).rejects.toThrow(/abort/), transport.close()]);
});

it("a client that could not be loaded is loaded by the next question, or not at all", async () => {
  const { port } = (await answering(200, 0)).address() as AddressInfo;
  onTestFinished(() => {
    vi.doUnmock("../../../core/replicas/http-transport.ts");
  });
  vi.doMock("../../../core/replicas/http-transport.ts", () => {
    throw new Error("EMFILE: too many open files");
  });
  const [transport, other] = [port, port].map((at) => transportTo({ host: "127.0.0.1", port: at }));
  const closed = other?.get("/", 5_000).catch(() => "failed");
  await other?.close();
  expect(await closed).toBe("failed");
  await expect(transport?.get("/", 5_000)).rejects.toThrow();
  vi.doUnmock("../../../core/replicas/http-transport.ts");
  expect(await transport?.get("/", 5_000)).toMatchObject({ statusCode: 200 });
  await transport?.close();
});

/** A server elsewhere that has closed every connection it answered on once, as its client finds out by the next call. */
async function forgetful(): Promise<{ readonly url: string; readonly asked: string[] }> {
  const asked: string[] = [];
  const used = new WeakSet<Socket>();
  const server = createServer(({ socket, method = "" }, response) => {
    if (used.has(socket)) {
      socket.resetAndDestroy();
      return;
    }
    used.add(socket);
    asked.push(method);
    response.end("{}");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked };
}

function inferred(transport: ReplicaTransport, isRetryable: boolean): Promise<number> {
  const call = { path: "/infer", body: Buffer.from("{}"), headerLength: undefined, deadlineMs: 60_000 };
  return new Promise((resolve, reject) => {
    transport.infer({ ...call, isRetryable }, (error, reply) =>
      reply === undefined ? reject(error ?? new Error("no reply")) : resolve(reply.statusCode),
    );
  });
}

it("a call whose kept connection the server has closed goes over another one, where it may be computed twice", async () => {
  const { url, asked } = await forgetful();
  const transport = transportTo({ url });
  onTestFinished(() => transport.close());
  const ready = (): Promise<unknown> => transport.get("/ready", 60_000);
  // Two kept connections, both closed by the server.
  await Promise.all([ready(), ready()]);
  expect(await inferred(transport, true)).toBe(200);
  expect(await ready()).toMatchObject({ statusCode: 200 });
  expect(asked).toEqual(["GET", "GET", "POST", "GET"]);
  await expect(inferred(transport, false)).rejects.toThrow();
});

it.each(["http", "https"])(
  "%s: a server that breaks every connection is an error, not an endless try",
  async (scheme) => {
    // Over TLS it breaks before there is a connection at all.
    const server = createNetServer((socket) => socket.once("data", () => socket.resetAndDestroy()));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    onTestFinished(() => void server.close());
    const transport = transportTo({ url: `${scheme}://127.0.0.1:${(server.address() as AddressInfo).port}` });
    onTestFinished(() => transport.close());
    await expect(inferred(transport, true)).rejects.toMatchObject({ code: expect.stringMatching(BROKEN) });
    await expect(transport.get("/ready", 60_000)).rejects.toMatchObject({
      code: expect.stringMatching(BROKEN),
    });
  },
);
