// Images as the command line reads them, written by another library in every form that PNG has.
import { crc32, deflateSync } from "node:zlib";
import sharp, { type PngOptions } from "sharp";
import { describe, expect, test } from "vitest";
import { readPng } from "../../../core/cli/png.ts";

/** Red, green, a half transparent blue on white is lighter; black, white, and what cannot be seen at all. */
const RGBA = [255, 0, 0, 255, 0, 255, 0, 255, 0, 0, 255, 0, 0, 0, 0, 255, 255, 255, 255, 255, 0, 0, 0, 0];
const SEEN = [255, 0, 0, 0, 255, 0, 255, 255, 255, 0, 0, 0, 255, 255, 255, 255, 255, 255];

async function written(options: PngOptions, form: "srgb" | "rgb16" = "srgb"): Promise<Buffer> {
  const raw = { width: 3, height: 2, channels: 4 } as const;
  return sharp(Buffer.from(RGBA), { raw }).toColourspace(form).png(options).toBuffer();
}

describe("readPng", () => {
  test.each([
    ["8 bits", {}, "srgb"],
    ["16 bits", {}, "rgb16"],
    ["interlaced", { progressive: true }, "srgb"],
    ["16 bits, interlaced", { progressive: true }, "rgb16"],
    ["a palette", { palette: true, dither: 0 }, "srgb"],
  ] as const)("reads colours and transparency of %s", async (_, options, form) => {
    const { width, height, rgb } = readPng(await written(options, form), "drawing.png");
    expect([width, height]).toEqual([3, 2]);
    expect([...rgb]).toEqual(SEEN);
  });

  test.each([
    [1, 0b0110_1000, [0, 255, 255, 0, 255]],
    [2, 0b0001_1011, [0, 85, 170, 255]],
    [4, 0x07, [0, 119]],
    [8, 0x33, [51]],
  ])("reads grays of %i bits", (depth, row, grays) => {
    const { rgb } = readPng(grayFile(depth, row, { width: grays.length }), "gray.png");
    expect([...rgb]).toEqual(grays.flatMap((gray) => [gray, gray, gray]));
  });

  test("reads the one gray and the one colour that stand for what is transparent", async () => {
    const key = chunk("tRNS", Buffer.from([0, 7]));
    expect([...readPng(grayFile(4, 0x07, { width: 2, key }), "gray.png").rgb]).toEqual([
      0, 0, 0, 255, 255, 255,
    ]);
    const raw = { width: 3, height: 1, channels: 3 } as const;
    const file = await sharp(Buffer.from([9, 8, 7, 9, 8, 6, 0, 8, 7]), { raw })
      .png()
      .toBuffer();
    const keyed = [file.subarray(0, 33), chunk("tRNS", Buffer.from([0, 9, 0, 8, 0, 7])), file.subarray(33)];
    expect([...readPng(Buffer.concat(keyed), "keyed.png").rgb]).toEqual([255, 255, 255, 9, 8, 6, 0, 8, 7]);
  });

  test.each([
    ["another kind of file", () => Buffer.from("ffd8ffe000104a464946", "hex"), "it is no PNG; convert it"],
    ["nothing but a signature", (file: Buffer) => file.subarray(0, 8), "it ends too early"],
    ["an end that is missing", (file: Buffer) => file.subarray(0, -20), "it is broken, or not whole"],
    ["a changed byte", (file: Buffer) => changed(file, file.length - 20), "it is broken, or not whole"],
    ["a size that no memory holds", (file: Buffer) => changed(file, 16), "pixels are more than"],
    ["a width of none", (file: Buffer) => file.fill(0, 16, 20), "0 × 2 pixels"],
    ["a few bits, interlaced", (file: Buffer) => bits(file), "interlaced with 4 bits a sample; save it"],
  ])("refuses %s", async (_, change, message) => {
    const file = change(await written({ progressive: true }));
    expect(() => readPng(file, "photo.png")).toThrow(`photo.png cannot be read as an image: `);
    expect(() => readPng(file, "photo.png")).toThrow(message);
  });
});

function changed(file: Buffer, at: number): Buffer {
  file.writeUInt8(file.readUInt8(at) ^ 0xff, at);
  return file;
}

function bits(file: Buffer): Buffer {
  file.writeUInt8(4, 24);
  return file;
}

/** One row of grays within a byte, which the other library does not write. */
function grayFile(
  depth: number,
  row: number,
  { width, key = Buffer.alloc(0) }: { readonly width: number; readonly key?: Buffer },
): Buffer {
  const header = Buffer.from([0, 0, 0, width, 0, 0, 0, 1, depth, 0, 0, 0, 0]);
  const data = deflateSync(Buffer.from([0, row]));
  const signature = Buffer.from("89504e470d0a1a0a", "hex");
  const end = chunk("IEND", Buffer.alloc(0));
  return Buffer.concat([signature, chunk("IHDR", header), key, chunk("IDAT", data), end]);
}

function chunk(type: string, data: Buffer): Buffer {
  const named = Buffer.concat([Buffer.from(type, "latin1"), data]);
  const numbers = Buffer.alloc(8);
  numbers.writeUInt32BE(data.length, 0);
  numbers.writeUInt32BE(crc32(named), 4);
  return Buffer.concat([numbers.subarray(0, 4), named, numbers.subarray(4)]);
}
