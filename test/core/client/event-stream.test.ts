// event-stream.ts: server-sent events, however the network cuts them.
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { readEvents } from "../../../core/client/event-stream.ts";

const TEXT =
  ': stream\n\nid: 1\nevent: event\ndata: {"message":"größer"}\n\n: heartbeat\n\nevent: end\ndata: {}\n\nid: 3\nevent: cut';

async function* chunksOf(bytes: Uint8Array, cuts: readonly number[]): AsyncGenerator<Uint8Array> {
  let from = 0;
  for (const cut of [...cuts.toSorted((a, b) => a - b), bytes.length]) {
    yield bytes.subarray(from, cut);
    from = cut;
  }
}

test("reads the same events wherever the stream is cut, and leaves out an unfinished one", async () => {
  const bytes = Buffer.from(TEXT);
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat({ max: bytes.length }), { maxLength: 8 }), async (cuts) => {
      expect(await Array.fromAsync(readEvents(chunksOf(bytes, cuts)))).toEqual([
        { id: "1", event: "event", data: '{"message":"größer"}' },
        { id: undefined, event: "end", data: "{}" },
      ]);
    }),
    { numRuns: 100 },
  );
});
