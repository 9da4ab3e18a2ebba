// Reads PNG images: what screenshots, drawings and most tools write. Others are for models that take whole files.
import { inflateSync } from "node:zlib";
import { InvalidInputError } from "../errors.ts";

const SIGNATURE = "89504e470d0a1a0a";
/** More would not fit into a query. */
const MAX_PIXELS = 2 ** 26;
/** Samples of a pixel by colour type: gray, RGB, palette, gray with alpha, RGB with alpha. */
const SAMPLES: ReadonlyMap<number, number> = new Map([
  [0, 1],
  [2, 3],
  [3, 1],
  [4, 2],
  [6, 4],
]);

/** Red, green and blue of each pixel, 0 to 255, row by row; what is transparent is white. */
export interface Image {
  readonly width: number;
  readonly height: number;
  readonly rgb: Uint8Array;
}

interface Header {
  readonly width: number;
  readonly height: number;
  readonly depth: number;
  readonly colour: number;
  readonly samples: number;
}

/** @throws InvalidInputError saying what is wrong with `name` */
export function readPng(file: Buffer, name: string): Image {
  if (file.subarray(0, 8).toString("hex") !== SIGNATURE)
    throw unreadable(name, "it is no PNG; convert it (`magick photo.jpg photo.png`)");
  const data: Buffer[] = [];
  let header: Header | undefined;
  let palette: Buffer = Buffer.alloc(0);
  let alpha: Buffer = Buffer.alloc(0);
  for (const [type, chunk] of chunks(file, name)) {
    if (type === "IHDR") header = readHeader(chunk, name);
    else if (type === "PLTE") palette = chunk;
    else if (type === "tRNS") alpha = chunk;
    else if (type === "IDAT") data.push(chunk);
  }
  if (header === undefined || data.length === 0) throw unreadable(name, "it ends too early");
  const rows = unfilter(inflate(Buffer.concat(data), name), header, name);
  return toRgb(rows, header, { palette, alpha });
}

function* chunks(file: Buffer, name: string): Generator<readonly [type: string, data: Buffer]> {
  for (let at = 8; at + 12 <= file.length;) {
    const length = file.readUInt32BE(at);
    if (at + 12 + length > file.length) throw unreadable(name, "it ends too early");
    yield [file.toString("latin1", at + 4, at + 8), file.subarray(at + 8, at + 8 + length)];
    at += 12 + length;
  }
}

function readHeader(chunk: Buffer, name: string): Header {
  if (chunk.length < 13) throw unreadable(name, "its header is broken");
  const [width, height] = [chunk.readUInt32BE(0), chunk.readUInt32BE(4)];
  const [depth = 0, colour = -1, , , interlace] = chunk.subarray(8);
  const samples = SAMPLES.get(colour);
  if (width * height === 0 || width * height > MAX_PIXELS)
    throw unreadable(name, `${width} × ${height} pixels are more than ${MAX_PIXELS}, or none`);
  if (interlace !== 0 || samples === undefined || ![1, 2, 4, 8, 16].includes(depth))
    throw unreadable(name, "interlaced images are not read here; save it without interlacing");
  return { width, height, depth, colour, samples };
}

function inflate(data: Buffer, name: string): Buffer {
  try {
    return inflateSync(data, { maxOutputLength: 9 * MAX_PIXELS });
  } catch (error) {
    throw unreadable(name, `its data are broken (${error instanceof Error ? error.message : String(error)})`);
  }
}

/** Undoes what each row begins with: it was written as differences to its neighbours. */
function unfilter(data: Buffer, { width, height, depth, samples }: Header, name: string): Uint8Array {
  const stride = Math.ceil((width * depth * samples) / 8);
  const step = Math.max(1, (depth * samples) >> 3);
  if (data.length < height * (stride + 1)) throw unreadable(name, "it ends too early");
  const rows = new Uint8Array(height * stride);
  for (let y = 0; y < height; y++) {
    const filter = data[y * (stride + 1)] ?? 0;
    const from = y * (stride + 1) + 1;
    restoreRow(rows, data.subarray(from, from + stride), { y, step, filter });
  }
  return rows;
}

interface RowPlace {
  readonly y: number;
  /** Bytes to the pixel on the left. */
  readonly step: number;
  readonly filter: number;
}

function restoreRow(rows: Uint8Array, row: Uint8Array, { y, step, filter }: RowPlace): void {
  const stride = row.length;
  const start = y * stride;
  for (const [x, raw] of row.entries()) {
    const at = start + x;
    const left = x >= step ? (rows[at - step] ?? 0) : 0;
    const up = y > 0 ? (rows[at - stride] ?? 0) : 0;
    const corner = x >= step && y > 0 ? (rows[at - stride - step] ?? 0) : 0;
    rows[at] = raw + predicted(filter, { left, up, corner });
  }
}

interface Neighbours {
  readonly left: number;
  readonly up: number;
  readonly corner: number;
}

function predicted(filter: number, { left, up, corner }: Neighbours): number {
  if (filter === 1) return left;
  if (filter === 2) return up;
  if (filter === 3) return (left + up) >> 1;
  if (filter !== 4) return 0;
  const [toLeft, toUp, toCorner] = [up - corner, left - corner, left + up - 2 * corner].map(Math.abs) as [
    number,
    number,
    number,
  ];
  if (toLeft <= toUp && toLeft <= toCorner) return left;
  return toUp <= toCorner ? up : corner;
}

function toRgb(
  rows: Uint8Array,
  header: Header,
  { palette, alpha }: { readonly palette: Buffer; readonly alpha: Buffer },
): Image {
  const { width, height, depth, colour, samples } = header;
  const stride = Math.ceil((width * depth * samples) / 8);
  const rgb = new Uint8Array(width * height * 3);
  /** Sample of a pixel, 0 to 255, or an index into the palette. */
  const sample = (x: number, y: number, which: number): number => {
    const index = x * samples + which;
    if (depth >= 8) return rows[y * stride + index * (depth >> 3)] ?? 0;
    const bits = ((rows[y * stride + ((index * depth) >> 3)] ?? 0) << ((index * depth) & 7)) & 0xff;
    const value = bits >> (8 - depth);
    return colour === 3 ? value : (value * 255) / (2 ** depth - 1);
  };
  const pixel = (x: number, y: number): readonly number[] => {
    const first = sample(x, y, 0);
    if (colour === 3) return [...palette.subarray(first * 3, first * 3 + 3), alpha[first] ?? 255];
    if (samples < 3) return [first, first, first, samples === 2 ? sample(x, y, 1) : 255];
    return [first, sample(x, y, 1), sample(x, y, 2), samples === 4 ? sample(x, y, 3) : 255];
  };
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const [red = 0, green = 0, blue = 0, opacity = 255] = pixel(x, y);
      const onWhite = [red, green, blue].map((value) => 255 + ((value - 255) * opacity) / 255);
      rgb.set(onWhite.map(Math.round), (y * width + x) * 3);
    }
  }
  return { width, height, rgb };
}

function unreadable(name: string, why: string): InvalidInputError {
  return new InvalidInputError(`${name} cannot be read as an image: ${why}`, { details: { file: name } });
}
