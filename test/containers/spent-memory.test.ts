// What is given back is gone, unless others have a part of it.
import { expect, test } from "vitest";
import { giveBack } from "../../containers/spent-memory.ts";

test("bytes that fill their memory alone are gone at once", () => {
  const bytes = Buffer.allocUnsafeSlow(4096);
  giveBack(bytes);
  expect(bytes.byteLength).toBe(0);
});

test.each([
  ["a part of larger memory", Buffer.allocUnsafeSlow(8192).subarray(0, 4096)],
  ["a part of Node's pool", Buffer.from("x".repeat(2000))],
  ["shared memory", new Uint8Array(new SharedArrayBuffer(4096))],
  ["small", new Uint8Array(100)],
])("%s stays as it is", (_what, bytes) => {
  const { byteLength } = bytes;
  bytes.fill(7);
  giveBack(bytes);
  expect(bytes.byteLength).toBe(byteLength);
  expect(bytes.every((byte) => byte === 7)).toBe(true);
});
