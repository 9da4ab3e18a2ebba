// Makes an input out of an image file, in the form that a version's contract asks for.
import type { JsonValue, Manifest, TensorSpec } from "../../containers/protocol.ts";
import { InvalidInputError, InvalidOptionsError } from "../errors.ts";
import { type Image, readPng } from "./png.ts";

/** Where the numbers of a tensor are to lie. */
export interface PixelRange {
  readonly low: number;
  readonly high: number;
}

/** How a tensor holds an image. */
interface Layout {
  readonly width: number;
  readonly height: number;
  readonly channels: 1 | 3;
  readonly order: "planes" | "pixels";
}

/** "0..1", "-1..1", "0..255". @throws InvalidOptionsError */
export function parsePixelRange(text: string): PixelRange {
  const [, low, high] = /^(-?\d+(?:\.\d+)?)\.\.(-?\d+(?:\.\d+)?)$/.exec(text) ?? [];
  if (low !== undefined && high !== undefined) return { low: Number(low), high: Number(high) };
  throw new InvalidOptionsError(`--pixels: expected two numbers such as -1..1, got ${JSON.stringify(text)}`, {
    details: { option: "pixels" },
  });
}

/**
 * The whole file in base64 for models that take bytes, text or JSON (`{"image": …}`); for a tensor its pixels, gray or
 * in colour, resized to what the contract says. `range`: default 0..1 for floats, 0..255 for integers.
 * @throws InvalidInputError when the contract is not that of an image
 */
export function imageInput(
  file: Buffer,
  name: string,
  { manifest, range }: { readonly manifest: Manifest; readonly range: PixelRange | undefined },
): JsonValue {
  const { inputType, contract } = manifest;
  if (inputType === "bytes" || inputType === "strings") return file.toString("base64");
  if (inputType === "json") return { image: file.toString("base64") };
  const [spec] = contract.inputs;
  if (spec === undefined || contract.inputs.length > 1) {
    throw new InvalidInputError(
      `the model has ${contract.inputs.length} inputs, and an image makes one; give them all with --input or --file`,
    );
  }
  const image = readPng(file, name);
  const layout = layoutOf(spec, image);
  const isFloat = spec.datatype.startsWith("FP") || spec.datatype === "BF16";
  const { low, high } = range ?? { low: 0, high: isFloat ? 1 : 255 };
  const scale = (value: number): number => {
    const scaled = low + (value / 255) * (high - low);
    return isFloat ? scaled : Math.round(scaled);
  };
  return values(resize(image, layout), layout).map(scale);
}

/** @throws InvalidInputError */
function layoutOf({ name, shape }: TensorSpec, image: Image): Layout {
  const [first = 0, second = 0, third = 0] = shape;
  if (shape.length === 3 && isChannels(first))
    return {
      width: size(third, image.width),
      height: size(second, image.height),
      channels: first,
      order: "planes",
    };
  if (shape.length === 3 && isChannels(third))
    return {
      width: size(second, image.width),
      height: size(first, image.height),
      channels: third,
      order: "pixels",
    };
  if (shape.length === 2)
    return {
      width: size(second, image.width),
      height: size(first, image.height),
      channels: 1,
      order: "pixels",
    };
  const side = Math.sqrt(first);
  if (shape.length === 1 && first > 0 && Number.isInteger(side))
    return { width: side, height: side, channels: 1, order: "pixels" };
  throw new InvalidInputError(
    `input ${name} has the shape [${shape.join(", ")}], which is not that of an image: [1 or 3, height, width], [height, width, 1 or 3], [height, width], or a square in one row; give its numbers with --input or --file`,
    { details: { shape: [...shape] } },
  );
}

/** A free dimension is the image's own. */
function size(given: number | undefined, own: number): number {
  return given === undefined || given < 0 ? own : given;
}

function isChannels(count: number): count is 1 | 3 {
  return count === 1 || count === 3;
}

function resize(image: Image, to: Layout): Float64Array {
  const out = new Float64Array(to.width * to.height * 3);
  for (let y = 0; y < to.height; y++) {
    const rows = below(y, to.height, image.height);
    for (let x = 0; x < to.width; x++)
      out.set(mean(image, below(x, to.width, image.width), rows), (y * to.width + x) * 3);
  }
  return out;
}

type Span = readonly [from: number, to: number];

/** Of the pixels that a new one covers. */
function mean({ width, rgb }: Image, [left, right]: Span, [top, bottom]: Span): readonly number[] {
  const sum = [0, 0, 0];
  for (let y = top; y < bottom; y++) {
    for (let at = (y * width + left) * 3; at < (y * width + right) * 3; at++)
      sum[at % 3] = (sum[at % 3] ?? 0) + (rgb[at] ?? 0);
  }
  return sum.map((value) => value / ((right - left) * (bottom - top)));
}

/** Which old places one of `count` new ones covers: at least one of them. */
function below(at: number, count: number, of: number): Span {
  const from = Math.min(of - 1, Math.floor((at * of) / count));
  return [from, Math.max(from + 1, Math.min(of, Math.floor(((at + 1) * of) / count)))];
}

function values(rgb: Float64Array, { width, height, channels, order }: Layout): number[] {
  const pixels = width * height;
  const colour = (pixel: number, channel: number): number => rgb[pixel * 3 + channel] ?? 0;
  if (channels === 1) {
    return Array.from(
      { length: pixels },
      (_, pixel) => 0.299 * colour(pixel, 0) + 0.587 * colour(pixel, 1) + 0.114 * colour(pixel, 2),
    );
  }
  return Array.from({ length: pixels * 3 }, (_, index) =>
    order === "pixels"
      ? colour(Math.floor(index / 3), index % 3)
      : colour(index % pixels, Math.floor(index / pixels)),
  );
}
