// Headers of replies are kept by batch size: few, small ones, and used again.
import { expect, test } from "vitest";
import { ReplyWriter } from "../../containers/infer-reply.ts";
import type { Contract } from "../../containers/protocol.ts";

const CHOICE = { outputs: [{ index: 0, isBinary: true }], isBinary: true, id: undefined, key: "0b" };
const MAX_KEPT = 256;

/** Header of a reply of `count` rows: the very same array when it was kept. */
function headers(name: string): (count: number) => Uint8Array | undefined {
  const contract: Contract = {
    inputs: [],
    outputs: [{ name, datatype: "INT8", shape: [] }],
    isBatched: true,
  };
  const writer = new ReplyWriter({ name: "m", version: "1" }, contract);
  return (count) => {
    const tensor = { name, datatype: "INT8", shape: [count], data: new Uint8Array(count) } as const;
    return writer.write(CHOICE, { outputs: [tensor] }).chunks[0];
  };
}

test("a full cache keeps its headers as long as no new one comes", () => {
  const header = headers("y");
  const kept = Array.from({ length: MAX_KEPT }, (_, index) => header(index + 1));
  for (const [index, first] of kept.entries()) expect(header(index + 1)).toBe(first);
});

test("a new header empties a full cache, which fills again", () => {
  const header = headers("y");
  const kept = Array.from({ length: MAX_KEPT }, (_, index) => header(index + 1));
  const other = header(MAX_KEPT + 1);
  expect(header(MAX_KEPT + 1)).toBe(other);
  const again = header(1);
  expect(again).not.toBe(kept[0]);
  expect(again).toEqual(kept[0]);
  expect(header(1)).toBe(again);
});

test("a header beyond 8 KiB is made each time", () => {
  const header = headers("y".repeat(8192));
  expect(header(1)).toEqual(header(1));
  expect(header(1)).not.toBe(header(1));
});
