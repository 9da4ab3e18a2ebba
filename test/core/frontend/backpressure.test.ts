// A client that sends and does not read: what is answered for it is bounded, and comes whole once it reads.
import type { Socket } from "node:net";
import { expect, test } from "vitest";
import { fakes, jsonOutputs, valueManifest } from "../query/fakes.ts";
import { rawPost, startTestServer } from "./query-client.ts";

const REPLY_BYTES = 5_000;
const REQUESTS = 8_000;
/** What both ends of a connection hold in the operating system, and the answers to what was read at once: some 64 KiB of requests. */
const MOST_ANSWERED = 4_000;

/** A number above zero that has not risen for so many looks, of 25 ms and more each, has come to rest. */
const LOOKS_AT_REST = 60;

/** A number once whoever raises it has begun, and come to rest. */
async function atRest(read: () => number): Promise<number> {
  await expect.poll(read).toBeGreaterThan(0);
  let last = read();
  for (let still = 0; still < LOOKS_AT_REST;) {
    await new Promise((resolve) => {
      setTimeout(resolve, 25);
    });
    const now = read();
    still = now === last ? still + 1 : 0;
    last = now;
  }
  return last;
}

function answersOn(socket: Socket, count: number): Promise<number> {
  return new Promise((resolve, reject) => {
    let [found, rest] = [0, ""];
    socket.on("error", reject);
    socket.on("close", () => resolve(found));
    socket.on("data", (chunk: Buffer) => {
      rest += chunk.toString("latin1");
      const parts = rest.split("HTTP/1.1 200 OK");
      found += parts.length - 1;
      rest = (parts.at(-1) ?? "").slice(-20);
      if (found === count) resolve(found);
    });
  });
}

test.each(["one write", "a write each"])(
  "requests whose replies nobody reads, in %s, are not read on",
  async (how) => {
    const outputs = jsonOutputs([JSON.stringify("y".repeat(REPLY_BYTES))]);
    const parts = fakes(valueManifest("doubles"), {}, (query) =>
      query.settle({ kind: "ok", outputs, index: 0 }),
    );
    // Else a client that does not read is cut off while the test looks on.
    await using server = await startTestServer(parts, { requestTimeoutMs: 600_000 });
    const socket = await server.dial();
    socket.pause();
    const requests = Array.from({ length: REQUESTS }, () => rawPost('{"input":[1]}'));
    for (const text of how === "one write" ? [requests.join("")] : requests) socket.write(text);
    const answered = await atRest(() => parts.served.received.length);
    expect(answered).toBeLessThan(MOST_ANSWERED);
    const answers = answersOn(socket, REQUESTS);
    socket.resume();
    expect(await answers).toBe(REQUESTS);
    expect(parts.served.received).toHaveLength(REQUESTS);
    socket.destroy();
  },
);
