// Around the detection network: photos become one batch of tensors, its maps become the lines of text, cut out.
import type { Postprocess, Preprocess } from "windjammer";
import { cutOut, decode, sizeOf, toPng, toTensor, type Box, type Scale } from "./pixels.ts";
import { findRegions } from "./regions.ts";

/** A line of text in a photo. */
export interface Line {
  /** Where it is, in pixels of the photo; `angle` in degrees. */
  readonly box: Box;
  /** How sure the network is that this is text, 0 to 1. */
  readonly score: number;
  /** The line cut out and turned upright: a PNG in base64, which is what the recognition takes. */
  readonly image: string;
}

/** The network sees letters best when the longer side of a photo has about this many pixels. */
const LONG_SIDE = 960;
const SQUARE = { width: LONG_SIDE, height: LONG_SIDE };
const IMAGENET: Scale = { mean: [0.485, 0.456, 0.406], deviation: [0.229, 0.224, 0.225] };

/** Photos of any size in tensors of one size, so that the network runs once for all of a batch. */
export const preprocess: Preprocess<Uint8Array> = (photos) =>
  Promise.all(
    photos.map(async (photo) => toTensor(await decode(photo, fitted(await sizeOf(photo))), SQUARE, IMAGENET)),
  );

export const postprocess: Postprocess<readonly Line[], Uint8Array> = (outputs, photos) =>
  Promise.all(
    photos.map(async (bytes, index) => {
      const map = Object.values(outputs[index] ?? {})[0];
      const [height = 0, width = 0] = map?.dims.slice(-2) ?? [];
      const photo = await decode(bytes);
      const scale = photo.width / fitted(photo).width;
      const regions = findRegions({ data: map?.data as Float32Array, width, height });
      return Promise.all(
        regions.map(async ({ box, score }): Promise<Line> => {
          const place = scaled(box, scale);
          const image = (await toPng(cutOut(photo, place))).toString("base64");
          return { box: rounded(place), score: Number(score.toFixed(2)), image };
        }),
      );
    }),
  );

function fitted({ width, height }: { readonly width: number; readonly height: number }): {
  readonly width: number;
  readonly height: number;
} {
  const scale = LONG_SIDE / Math.max(width, height);
  return { width: Math.round(width * scale), height: Math.round(height * scale) };
}

function scaled({ x, y, width, height, angle }: Box, scale: number): Box {
  return { x: x * scale, y: y * scale, width: width * scale, height: height * scale, angle };
}

function rounded({ x, y, width, height, angle }: Box): Box {
  return {
    x: Math.round(x),
    y: Math.round(y),
    width: Math.round(width),
    height: Math.round(height),
    angle: Number(((angle * 180) / Math.PI).toFixed(1)),
  };
}
