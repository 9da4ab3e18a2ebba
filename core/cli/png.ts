// Reads PNG images: what screenshots, drawings and most tools write. Others are for models that take whole files.
import { convertIndexedToRgb, type DecodedPng, decode, hasPngSignature } from "fast-png";
import { InvalidInputError } from "../errors.ts";

/** More would not fit into a query. */
const MAX_PIXELS = 2 ** 26;
/** Of the signature and the header, which is always the first chunk. */
const HEADER_BYTES = 33;

/** Red, green and blue of each pixel, 0 to 255, row by row; what is transparent is white. */
export interface Image {
  readonly width: number;
  readonly height: number;
  readonly rgb: Uint8Array;
}

/** @throws InvalidInputError saying what is wrong with `name` */
export function readPng(file: Buffer, name: string): Image {
  if (!hasPngSignature(file))
    throw unreadable(name, "it is no PNG; convert it (`magick photo.jpg photo.png`)");
  checkHeader(file, name);
  try {
    return toRgb(decode(file, { checkCrc: true }));
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw unreadable(name, `it is broken, or not whole (${why})`, error);
  }
}

/** What the decoder would take too much memory for, or take wrongly. */
function checkHeader(file: Buffer, name: string): void {
  if (file.length < HEADER_BYTES) throw unreadable(name, "it ends too early");
  const [width, height] = [file.readUInt32BE(16), file.readUInt32BE(20)];
  const [depth = 0, , , , interlace] = file.subarray(24);
  if (width * height === 0 || width * height > MAX_PIXELS)
    throw unreadable(name, `${width} × ${height} pixels are more than ${MAX_PIXELS}, or none`);
  if (interlace !== 0 && depth < 8)
    throw unreadable(name, `it is interlaced with ${depth} bits a sample; save it without interlacing`);
}

function toRgb(png: DecodedPng): Image {
  const { width, height } = png;
  const { data, channels, transparency, most } = samples(png);
  const rgb = new Uint8Array(width * height * 3);
  for (let pixel = 0; pixel < width * height; pixel++) {
    const own = data.subarray(pixel * channels, (pixel + 1) * channels);
    const colours = channels < 3 ? 1 : 3;
    const isKey = transparency?.every((value, at) => value === own[at]) ?? false;
    const opacity = isKey ? 0 : (own[colours] ?? most) / most;
    for (let at = 0; at < 3; at++) {
      const value = own[colours === 1 ? 0 : at] ?? 0;
      rgb[pixel * 3 + at] = Math.round(255 + ((value * 255) / most - 255) * opacity);
    }
  }
  return { width, height, rgb };
}

interface Samples {
  readonly data: Uint8Array | Uint8ClampedArray | Uint16Array;
  readonly channels: number;
  /** The colour that is transparent where there is no channel for it. */
  readonly transparency: Uint16Array | undefined;
  /** Value of white and of what is opaque. */
  readonly most: number;
}

/** One element a sample: palettes are looked up, and grays of a few bits, which are a palette, too. */
function samples(png: DecodedPng): Samples {
  const { data, channels, depth, transparency } = png;
  if (channels > 1 || depth === 16) return { data, channels, transparency, most: 2 ** depth - 1 };
  const palette = png.palette ?? grays(2 ** depth, transparency?.[0]);
  return {
    data: convertIndexedToRgb({ ...png, palette }),
    channels: palette[0]?.length ?? 3,
    transparency: undefined,
    most: 255,
  };
}

function grays(count: number, transparent: number | undefined): number[][] {
  return Array.from({ length: count }, (_, at) => {
    const value = (at * 255) / (count - 1);
    return [value, value, value, at === transparent ? 0 : 255];
  });
}

function unreadable(name: string, why: string, cause?: unknown): InvalidInputError {
  return new InvalidInputError(`${name} cannot be read as an image: ${why}`, {
    ...(cause === undefined ? {} : { cause }),
    details: { file: name },
  });
}
