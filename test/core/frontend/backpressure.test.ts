// A client that sends and does not read: what is answered for it is bounded, and comes whole once it reads.
import type { Socket } from "node:net";
import { expect, test } from "vitest";
import { fakes, jsonOutputs, valueManifest } from "../query/fakes.ts";
import { rawPost, startTestServer } from "./query-client.ts";

const REPLY_BYTES = 5_000;
const REQUESTS = 8_000;
/** What both ends of a connection hold in the operating system, and the answers to what was read at once: some 64 KiB of requests. */
const MOST_ANSWERED = 4_000;

/** A number once it has stood still for a while: whoever raises it has come to rest. */
async function atRest(read: () => number): Promise<number> {
  let [last, still] = [-1, 0];
  for (let look = 0; look < 400 && still < 10; look++) {
    const now = read();
    still = now === last ? still + 1 : 0;
    last = now;
    await new Promise((resolve) => {
      setTimeout(resolve, 25);
    });
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
    await using server = await startTestServer(parts);
    const socket = await server.dial();
    socket.pause();
    const requests = Array.from({ length: REQUESTS }, () => rawPost('{"input":[1]}'));
    for (const text of how === "one write" ? [requests.join("")] : requests) socket.write(text);
    const answered = await atRest(() => parts.served.received.length);
    expect(answered).toBeGreaterThan(0);
    expect(answered).toBeLessThan(MOST_ANSWERED);
    const answers = answersOn(socket, REQUESTS);
    socket.resume();
    expect(await answers).toBe(REQUESTS);
    expect(parts.served.received).toHaveLength(REQUESTS);
    socket.destroy();
  },
);
