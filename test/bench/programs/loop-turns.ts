// Loaded into a server before its program: says how long the event loop was held at most. GET / begins, and gives the
// longest turn of the loop, in ms, since it was last asked for; GET /end ends.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

const turns: { longestMs: number; lastAt: number; next: NodeJS.Immediate | undefined } = {
  longestMs: 0,
  lastAt: 0,
  next: undefined,
};

/** Keeps the loop from sleeping: a turn then is what ran in it, and nothing else. */
function turn(): void {
  const now = performance.now();
  turns.longestMs = Math.max(turns.longestMs, now - turns.lastAt);
  turns.lastAt = now;
  turns.next = setImmediate(turn);
}

const server = createServer(({ url }, response) => {
  response.end(String(turns.longestMs));
  clearImmediate(turns.next);
  turns.longestMs = 0;
  turns.lastAt = performance.now();
  turns.next = url === "/end" ? undefined : setImmediate(turn);
});
server.listen(0, "127.0.0.1", () =>
  console.log(`loop turns at http://127.0.0.1:${(server.address() as AddressInfo).port}`),
);
server.unref();
