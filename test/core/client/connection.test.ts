// A client's connection: streams that fall silent, and what an error reply says beside its body.
import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect, test } from "vitest";
import { Connection } from "../../../core/client/connection.ts";
import { OverloadedError, ServerUnreachableError, WindjammerError } from "../../../core/errors.ts";

const STREAM_IDLE_MS = 700;

interface Served extends AsyncDisposable {
  readonly url: string;
  readonly connection: Connection;
}

async function serve(listener: RequestListener): Promise<Served> {
  const server = createServer(listener).listen(0, "127.0.0.1");
  await once(server, "listening");
  const connection = new Connection(undefined, STREAM_IDLE_MS);
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/x`,
    connection,
    async [Symbol.asyncDispose]() {
      await connection.close();
      server.closeAllConnections();
      server.close();
    },
  };
}

describe("a stream of events without heartbeats", () => {
  const head = { "content-type": "text/event-stream" };

  test("is taken up again where it fell silent", async () => {
    const lastIds: unknown[] = [];
    await using served = await serve(({ headers }, response) => {
      lastIds.push(headers["last-event-id"]);
      response.writeHead(200, head);
      if (lastIds.length === 1) response.write("id: 1\nevent: event\ndata: 1\n\n");
      else response.end("id: 2\nevent: event\ndata: 2\n\nevent: end\ndata: 3\n\n");
    });
    const events = await Array.fromAsync(served.connection.events(served.url, { canResume: true }));
    expect(events.map(({ data }) => data)).toEqual(["1", "2", "3"]);
    expect(lastIds).toEqual([undefined, "1"]);
  });

  test.each(["head", "nothing"])("fails when it cannot be resumed, after %s has come", async (came) => {
    await using served = await serve((_, response) => {
      if (came === "head") response.writeHead(200, head).write(": stream\n\n");
    });
    const read = Array.fromAsync(served.connection.events(served.url, { canResume: false }));
    const error = await read.catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(ServerUnreachableError);
    expect(String(error)).toContain("not even a heartbeat");
  });

  test("is no matter for other replies, which may take as long as they need", async () => {
    const late = Promise.withResolvers<void>();
    await using served = await serve((_, response) => {
      response.writeHead(200).write("slow");
      void late.promise.then(() => response.end("ly"));
    });
    setTimeout(() => late.resolve(), 3 * STREAM_IDLE_MS);
    expect(await served.connection.call("GET", served.url)).toBe("slowly");
  });
});

describe("an error reply", () => {
  test("tells when to try again", async () => {
    await using served = await serve((_, response) => {
      response.writeHead(503, { "retry-after": "3" });
      response.end(JSON.stringify({ error: "OVERLOADED", message: "full", details: {} }));
    });
    const error = await served.connection.call("GET", served.url).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(OverloadedError);
    expect(error).toMatchObject({ retryAfterS: 3, message: "full" });
  });

  test("of a newer server keeps its code and status", async () => {
    await using served = await serve((_, response) => {
      response.writeHead(429, { "retry-after": "Fri, 31 Dec 1999 23:59:59 GMT" });
      response.end(JSON.stringify({ error: "QUOTA_EXCEEDED", message: "enough", details: { limit: 5 } }));
    });
    const error = await served.connection.call("GET", served.url).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(WindjammerError);
    expect(error).toMatchObject({
      code: "QUOTA_EXCEEDED",
      statusCode: 429,
      retryAfterS: undefined,
      details: { limit: 5 },
    });
  });
});
