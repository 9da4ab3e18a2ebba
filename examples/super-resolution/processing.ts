// Around the network: images of any kind become tensors of red, green and blue, what comes back becomes a PNG.
import sharp from "sharp";
import type { Postprocess, Preprocess } from "windjammer";

/** The network computes some 70,000 multiplications for each pixel. */
const MOST_PIXELS = 256 * 256;

/** 0 to 255, as the network learned them. */
export const preprocess: Preprocess<Uint8Array> = (images) =>
  Promise.all(
    images.map(async (image) => {
      const { data, info } = await sharp(image)
        .autoOrient()
        .flatten({ background: "white" })
        .toColourspace("srgb")
        .raw()
        .toBuffer({ resolveWithObject: true });
      if (info.width * info.height > MOST_PIXELS) {
        throw new Error(`the image has ${info.width} × ${info.height} pixels; ${MOST_PIXELS} are the most`);
      }
      return { data: Float32Array.from(data), dims: [info.height, info.width, 3] };
    }),
  );

/** A PNG in base64, twice as wide and twice as high. */
export const postprocess: Postprocess<string> = (outputs) =>
  Promise.all(
    outputs.map(async (output) => {
      const [tensor] = Object.values(output);
      const [height = 0, width = 0] = tensor?.dims ?? [];
      // Rounds, and cuts off what lies outside 0 to 255.
      const pixels = Uint8ClampedArray.from(tensor?.data as Float32Array);
      const png = await sharp(pixels, { raw: { width, height, channels: 3 } })
        .png()
        .toBuffer();
      return png.toString("base64");
    }),
  );
