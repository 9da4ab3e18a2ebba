// The log of a replica: last lines, older ones from the file, followers, and bounds on all of it.
import { mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { afterEach, beforeEach, expect, it } from "vitest";
import { LogFile } from "../../../core/runtimes/log-file.ts";
import { ReplicaLog } from "../../../core/runtimes/replica-log.ts";
import type { LogOptions } from "../../../core/runtimes/runtime.ts";

let folder: string;
let log: ReplicaLog;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "windjammer-log-"));
  log = new ReplicaLog(new LogFile(join(folder, "r1.log")));
});

afterEach(async () => {
  await log.end();
  await rm(folder, { recursive: true });
});

const numbered = (from: number, count: number): string[] =>
  Array.from({ length: count }, (_, i) => `line ${from + i}`);

async function read(options: LogOptions): Promise<string[]> {
  const texts: string[] = [];
  for await (const line of log.read(options)) texts.push(line.text);
  return texts;
}

it("gives the last lines, with time and stream", async () => {
  await log.append("stdout", ["one", "two"]);
  await log.append("stderr", ["three"]);
  expect(log.tail(2)).toMatchObject([
    { stream: "stdout", text: "two" },
    { stream: "stderr", text: "three" },
  ]);
  expect(Date.parse(log.tail(1)[0]?.at ?? "")).not.toBeNaN();
  expect(log.tail(0)).toEqual([]);
  expect(await read({ tail: 0 })).toEqual([]);
  expect(await read({})).toEqual(["one", "two", "three"]);
});

it("reads lines from the file that memory has dropped, without gaps or doubles", async () => {
  for (let i = 0; i < 5_000; i += 50) await log.append("stdout", numbered(i, 50));
  expect(await read({ tail: 4_321 })).toEqual(numbered(679, 4_321));
  expect(log.tail(10_000).length).toBeLessThanOrEqual(2_000);
});

it("keeps lines that look like entries of the file apart", async () => {
  await log.append("stdout", ["0 now stdout fake", ...numbered(1, 2_999)]);
  expect((await read({ tail: 3_000 })).slice(0, 2)).toEqual(["0 now stdout fake", "line 1"]);
});

it("bounds memory by length too", async () => {
  const long = "x".repeat(16_384);
  for (let i = 0; i < 400; i++) await log.append("stdout", [long]);
  expect(log.tail(10_000).length).toBeLessThanOrEqual(130);
  expect(log.tail(10_000).length).toBeGreaterThan(50);
});

it("bounds the file to two of 1 MiB", async () => {
  const long = "x".repeat(10_000);
  for (let i = 0; i < 500; i++) await log.append("stdout", [long]);
  const names = await readdir(folder);
  expect(names.toSorted()).toEqual(["r1.log", "r1.log.1"]);
  for (const name of names) expect((await stat(join(folder, name))).size).toBeLessThanOrEqual(2 ** 20);
  await log.removeFile();
  expect(await readdir(folder)).toEqual([]);
  expect(log.tail(1)).toHaveLength(1);
});

it("follows to the end, for several readers at once", async () => {
  await log.append("stdout", ["before"]);
  const readers = [read({ tail: 1, follow: true }), read({ tail: 0, follow: true })];
  await log.append("stdout", ["a", "b"]);
  await log.append("stderr", ["c"]);
  await log.end();
  expect(await Promise.all(readers)).toEqual([
    ["before", "a", "b", "c"],
    ["a", "b", "c"],
  ]);
  expect(await read({ follow: true, tail: 1 })).toEqual(["c"]);
});

it("tells a reader that is too slow how much it missed, and keeps nothing for it", async () => {
  await log.append("stdout", ["first"]);
  const lines = log.read({ follow: true })[Symbol.asyncIterator]();
  expect((await lines.next()).value).toMatchObject({ text: "first" });
  for (let i = 0; i < 10_000; i += 100) await log.append("stdout", numbered(i, 100));
  const note = (await lines.next()).value as { text: string };
  const skipped = Number(/^… (\d+) lines skipped/.exec(note.text)?.[1]);
  expect(skipped).toBeGreaterThanOrEqual(8_000);
  expect((await lines.next()).value).toMatchObject({ text: `line ${skipped}` });
  await lines.return?.();
});

it("ends followers when their signal aborts, at once or later", async () => {
  await log.append("stdout", ["x"]);
  expect(await read({ follow: true, signal: AbortSignal.abort() })).toEqual([]);
  const controller = new AbortController();
  const reading = read({ follow: true, signal: controller.signal });
  controller.abort();
  expect((await reading).length).toBeLessThanOrEqual(1);
});

it("goes on in memory when the file cannot be written", async () => {
  const lost = new ReplicaLog(new LogFile(join(folder, "missing", "r1.log")));
  await lost.append("stdout", ["a"]);
  await lost.append("stdout", ["b"]);
  expect(lost.tail(2).map((line) => line.text)).toEqual(["a", "b"]);
  await lost.end();
});

it("reads a stream to its end, also one that is cut off", async () => {
  const stream = new PassThrough();
  const pumping = log.pump(stream, "stderr");
  stream.write("whole\nhal");
  await expect.poll(() => log.tail(1)).toMatchObject([{ text: "whole" }]);
  stream.destroy();
  await pumping;
  expect(log.tail(1)).toMatchObject([{ stream: "stderr", text: "hal" }]);
});

it("gives only the lines from a time on, all that are kept of them unless a number is asked for", async () => {
  for (const second of [1, 2, 3, 4]) {
    // As engines write times: finer than ours.
    await log.append("stdout", [`line ${second}`], `2026-01-01T00:00:0${second}.500000001Z`);
  }
  expect(await read({ since: "2026-01-01T00:00:02.500Z" })).toEqual(["line 2", "line 3", "line 4"]);
  expect(await read({ since: "2026-01-01T01:00:03+01:00" })).toEqual(["line 3", "line 4"]);
  expect(await read({ since: "2026-01-01T00:00:02Z", tail: 1 })).toEqual(["line 4"]);
  expect(await read({ since: "2027-01-01T00:00:00Z" })).toEqual([]);
});
