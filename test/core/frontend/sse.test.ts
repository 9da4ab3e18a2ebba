// sse.ts: framing, heartbeats, and callers who have gone.
import { once } from "node:events";
import { createServer, request, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, test } from "vitest";
import { EventStream } from "../../../core/frontend/sse.ts";

/** Serves one stream with `write`, and gives what the caller got until `isEnough`, who then leaves. */
async function received(
  write: (response: ServerResponse) => Promise<void>,
  isEnough: (text: string) => boolean,
): Promise<string> {
  const served = Promise.withResolvers<void>();
  const server = createServer((_, response) => {
    write(response).then(served.resolve, served.reject);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const outgoing = request({ port: (server.address() as AddressInfo).port, host: "127.0.0.1" }).end();
  outgoing.on("error", () => {});
  const [reply] = await once(outgoing, "response");
  let text = "";
  for await (const chunk of reply) {
    text += String(chunk);
    if (isEnough(text)) break;
  }
  outgoing.destroy();
  await served.promise;
  server.close();
  return text;
}

test("writes ids, names and data, and ends", async () => {
  const text = await received(
    async (response) => {
      const stream = new EventStream(response);
      await stream.send({ id: 7, event: "event", data: { text: "two\nlines" } });
      await stream.send({ event: "end", data: null });
      stream.end();
      await stream.send({ event: "late", data: 1 });
    },
    () => false,
  );
  expect(text).toBe(
    ': stream\n\nid: 7\nevent: event\ndata: {"text":"two\\nlines"}\n\nevent: end\ndata: null\n\n',
  );
});

test("says now and then that it is still there", async () => {
  const text = await received(
    async (response) => {
      const stream = new EventStream(response, 5);
      await once(response, "close");
      stream.end();
    },
    (got) => got.split(": heartbeat\n\n").length > 3,
  );
  expect(text).toContain(": heartbeat\n\n");
});

test("a writer who waits for room goes on when the caller leaves", async () => {
  let sent = 0;
  await received(
    async (response) => {
      const stream = new EventStream(response);
      while (!response.destroyed) {
        await stream.send({ event: "event", data: "x".repeat(1_000_000) });
        sent += 1;
      }
      stream.end();
    },
    (got) => got.length > 100,
  );
  expect(sent).toBeGreaterThan(0);
});
