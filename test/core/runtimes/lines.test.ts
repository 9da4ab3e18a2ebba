// Lines out of chunks: whole, bounded in length and number, whatever the cuts between chunks.
import * as fc from "fast-check";
import { expect, it } from "vitest";
import { LineSplitter } from "../../../core/runtimes/lines.ts";

function split(chunks: readonly Uint8Array[], splitter = new LineSplitter()): string[] {
  return [...chunks.flatMap((chunk) => splitter.push(chunk)), ...splitter.end()];
}

it("gives the same lines however the bytes are cut", () => {
  const text = fc.array(fc.string({ unit: "grapheme" }).map((line) => line.replaceAll(/[\r\n]/g, " ")));
  fc.assert(
    fc.property(text, fc.array(fc.nat(20), { minLength: 1 }), (lines, sizes) => {
      const bytes = Buffer.from(lines.map((line) => `${line}\n`).join(""));
      const chunks: Buffer[] = [];
      for (let at = 0, i = 0; at < bytes.length; i++) {
        const size = (sizes[i % sizes.length] ?? 0) + 1;
        chunks.push(bytes.subarray(at, at + size));
        at += size;
      }
      expect(split(chunks)).toEqual(lines.map((line) => Buffer.from(line).toString()));
    }),
  );
});

it("drops the carriage return of a line, and keeps a last line without a newline", () => {
  expect(split([Buffer.from("a\r\nb\r"), Buffer.from("\n\nc")])).toEqual(["a", "b", "", "c"]);
});

it("cuts long lines and says by how much, within a chunk and across chunks", () => {
  const long = Buffer.from(`${"x".repeat(25)}\nshort\n`);
  const limits = { maxLength: 10 };
  const expected = [`${"x".repeat(10)}… (15 more characters)`, "short"];
  expect(split([long], new LineSplitter(limits))).toEqual(expected);
  expect(
    split([long.subarray(0, 7), long.subarray(7, 20), long.subarray(20)], new LineSplitter(limits)),
  ).toEqual(expected);
  expect(
    split([Buffer.from("a\n"), Buffer.from(`b\n${"y".repeat(100)}\n`)], new LineSplitter(limits)),
  ).toEqual(["a", "b", `${"y".repeat(10)}… (90 more characters)`]);
});

it("keeps the last lines of a chunk that has too many, and says how many it skipped", () => {
  const chunk = Buffer.from("1\n2\n3\n4\n5\n");
  expect(split([chunk], new LineSplitter({ maxPerChunk: 2 }))).toEqual([
    "… 3 lines skipped: written faster than they can be kept",
    "4",
    "5",
  ]);
});
