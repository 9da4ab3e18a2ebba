// Pixels of a photo: decoded, made a tensor, cut out along a slanted box, written as PNG.
import sharp from "sharp";

/** 8-bit RGB, row by row. */
export interface Pixels {
  readonly data: Uint8Array;
  readonly width: number;
  readonly height: number;
}

/** A rectangle around its centre, in pixels; `angle` is that of its width to the horizontal, in radians. */
export interface Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
  readonly angle: number;
}

/** Any image that sharp reads (JPEG, PNG, WebP, …), upright, in the size that `resize` says. */
export async function decode(
  image: Uint8Array,
  resize: { readonly width?: number; readonly height?: number } = {},
): Promise<Pixels> {
  const { data, info } = await sharp(image)
    .autoOrient()
    .flatten({ background: "white" })
    .resize({ ...resize, fit: "fill" })
    .toColourspace("srgb")
    .raw()
    .toBuffer({ resolveWithObject: true });
  return { data, width: info.width, height: info.height };
}

/** Width and height of an image as `decode` gives it. */
export async function sizeOf(
  image: Uint8Array,
): Promise<{ readonly width: number; readonly height: number }> {
  return (await sharp(image).metadata()).autoOrient;
}

export async function toPng({ data, width, height }: Pixels): Promise<Buffer> {
  return sharp(data, { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer();
}

/** How a network wants its numbers: (value / 255 - mean) / deviation, for blue, green and red. */
export interface Scale {
  readonly mean: readonly [number, number, number];
  readonly deviation: readonly [number, number, number];
}

/** The pixels as [3, height, width], blue first, in the upper left corner of a tensor of that size; the rest is 0. */
export function toTensor(
  { data, width, height }: Pixels,
  size: { readonly width: number; readonly height: number },
  { mean, deviation }: Scale,
): { readonly data: Float32Array; readonly dims: readonly number[] } {
  const tensor = new Float32Array(3 * size.width * size.height);
  for (const [plane, channel] of [2, 1, 0].entries()) {
    const offset = mean[plane] ?? 0;
    const factor = 1 / (deviation[plane] ?? 1);
    for (let y = 0; y < height; y++) {
      const to = (plane * size.height + y) * size.width;
      const from = y * width * 3 + channel;
      for (let x = 0; x < width; x++) {
        tensor[to + x] = ((data[from + x * 3] ?? 0) / 255 - offset) * factor;
      }
    }
  }
  return { data: tensor, dims: [3, size.height, size.width] };
}

/** What lies in the box, turned upright. */
export function cutOut(photo: Pixels, box: Box): Pixels {
  const width = Math.max(1, Math.round(box.width));
  const height = Math.max(1, Math.round(box.height));
  const data = new Uint8Array(width * height * 3);
  const cos = Math.cos(box.angle);
  const sin = Math.sin(box.angle);
  for (let v = 0; v < height; v++) {
    for (let u = 0; u < width; u++) {
      const right = u + 0.5 - width / 2;
      const down = v + 0.5 - height / 2;
      const x = box.x + right * cos - down * sin - 0.5;
      const y = box.y + right * sin + down * cos - 0.5;
      for (let channel = 0; channel < 3; channel++) {
        data[(v * width + u) * 3 + channel] = Math.round(between(photo, { x, y, channel }));
      }
    }
  }
  return { data, width, height };
}

/** The value between four pixels; beyond the edge it is the edge's. */
function between(
  { data, width, height }: Pixels,
  at: { readonly x: number; readonly y: number; readonly channel: number },
): number {
  const x = Math.min(Math.max(at.x, 0), width - 1);
  const y = Math.min(Math.max(at.y, 0), height - 1);
  const left = Math.floor(x);
  const top = Math.floor(y);
  const pixel = (column: number, row: number): number =>
    data[(Math.min(row, height - 1) * width + Math.min(column, width - 1)) * 3 + at.channel] ?? 0;
  const upper = pixel(left, top) + (x - left) * (pixel(left + 1, top) - pixel(left, top));
  const lower = pixel(left, top + 1) + (x - left) * (pixel(left + 1, top + 1) - pixel(left, top + 1));
  return upper + (y - top) * (lower - upper);
}
