import { closeSync, fstatSync, openSync, readFileSync } from "node:fs";
import { truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import * as fc from "fast-check";
import { describe, expect, it, onTestFinished } from "vitest";
import { readOnnxFile } from "../../deployers/onnx/model-file.ts";
import { WireError, WireFile, type Field } from "../../deployers/wire.ts";
import { tempFolder } from "../helpers/temp.ts";

const DIGITS = fileURLToPath(new URL("../../examples/digits/digits.onnx", import.meta.url));

async function fileOf(bytes: Uint8Array): Promise<number> {
  const path = join(await tempFolder(), "message");
  await writeFile(path, bytes);
  return open(path);
}

function open(path: string): number {
  const fd = openSync(path, "r");
  onTestFinished(() => closeSync(fd));
  return fd;
}

function varint(value: number): number[] {
  const out: number[] = [];
  let rest = BigInt(value);
  for (; rest > 127n; rest >>= 7n) out.push(Number(rest & 127n) | 128);
  return [...out, Number(rest)];
}

async function fieldsOf(bytes: readonly number[]): Promise<readonly Field[]> {
  const file = new WireFile(await fileOf(Uint8Array.from(bytes)), bytes.length);
  return [...file.fields(file.span)];
}

describe("the wire format", () => {
  it("has numbers, lengths and fixed widths", async () => {
    const file = [0x08, 0x96, 0x01, 0x12, 2, 0x68, 0x69, 0x1d, 1, 2, 3, 4, 0x21, 1, 2, 3, 4, 5, 6, 7, 8];
    expect(await fieldsOf(file)).toEqual([
      { number: 1, kind: "varint", value: 150 },
      { number: 2, kind: "bytes", start: 5, end: 7 },
      { number: 3, kind: "fixed", start: 8, end: 12 },
      { number: 4, kind: "fixed", start: 13, end: 21 },
    ]);
  });

  it("has negative numbers in ten bytes", async () => {
    const minusOne = [0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    expect(await fieldsOf(minusOne)).toEqual([{ number: 1, kind: "varint", value: -1 }]);
  });

  it.each([
    ["a number that is cut off", [0x08, 0x96]],
    ["a number of eleven bytes", [0x08, ...Array.from({ length: 10 }, () => 0x80), 1]],
    ["a length beyond the file", [0x12, 5, 1, 2]],
    ["a negative length", [0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]],
    ["a fixed width that is cut off", [0x1d, 1, 2]],
    ["field number 0", [0x00, 1]],
    ["an unknown wire type", [0x0f, 1]],
  ])("refuses %s", async (_, bytes) => {
    await expect(fieldsOf(bytes)).rejects.toThrow(WireError);
  });

  it("refuses a text of more than a MiB, and a file that shrank since it was measured", async () => {
    const fd = await fileOf(new Uint8Array(2 ** 21));
    const file = new WireFile(fd, 2 ** 21);
    expect(() => file.text({ start: 0, end: 2 ** 21 })).toThrow(WireError);
    const short = new WireFile(await fileOf(Uint8Array.of(0x0a, 0x7f)), 200);
    expect(() => short.text({ start: 2, end: 129 })).toThrow(WireError);
    expect(() => [...short.fields({ start: 2, end: 129 })]).toThrow(WireError);
  });

  it("reads a text across the edge of its window", async () => {
    const bytes = new Uint8Array(40_000).fill(0x61);
    const file = new WireFile(await fileOf(bytes), bytes.length);
    expect(file.text({ start: 16_000, end: 36_000 })).toBe("a".repeat(20_000));
  });
});

describe("a damaged model", () => {
  it("is read or refused, and never anything else", async () => {
    const digits = readFileSync(DIGITS);
    const folder = await tempFolder();
    const path = join(folder, "damaged.onnx");
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(digits.length - 1), fc.integer({ min: 0, max: 255 })), { maxLength: 20 }),
        fc.nat(digits.length),
        async (changes, length) => {
          const bytes = Buffer.from(digits.subarray(0, length));
          for (const [at, value] of changes) if (at < length) bytes[at] = value;
          await writeFile(path, bytes);
          const fd = openSync(path, "r");
          try {
            readOnnxFile(fd, length);
          } catch (error) {
            expect(error).toBeInstanceOf(WireError);
          } finally {
            closeSync(fd);
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe("a model of many gigabytes", () => {
  it("is read without its weights", async () => {
    const folder = await tempFolder();
    const path = join(folder, "large.onnx");
    // Sparse: a graph of 6 GiB that is one output and one weight named w, whose bytes are a hole.
    const size = 6 * 2 ** 30;
    const output = [0x62, 3, 0x0a, 1, 0x79];
    const graphBytes = size - [0x08, 8, 0x3a, ...varint(size)].length;
    const weightBytes = graphBytes - [...output, 0x2a, ...varint(size)].length;
    const rawBytes = weightBytes - [0x42, 1, 0x77, 0x4a, ...varint(size)].length;
    const graph = [0x3a, ...varint(graphBytes), ...output, 0x2a, ...varint(weightBytes)];
    const weight = [0x42, 1, 0x77, 0x4a, ...varint(rawBytes)];
    await writeFile(path, Uint8Array.from([0x08, 8, ...graph, ...weight]));
    await truncate(path, size);
    const fd = open(path);
    const before = process.memoryUsage().arrayBuffers;
    const model = readOnnxFile(fd, fstatSync(fd).size);
    expect(model.outputs).toEqual([{ name: "y", type: { kind: "value of no type" } }]);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(2 ** 20);
  });
});
