// Doubles the size of images with a network that learned what small ones leave out. It halves a photo, doubles it again,
// and measures how near that comes to the photo. `-- --page` serves a page to try it with images of one's own.
import { readFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import sharp from "sharp";
import { deployTensorFlowModel, windjammer, type Example } from "windjammer";
import { servePage } from "./page.ts";

const { values: flags } = parseArgs({ options: { page: { type: "boolean" }, port: { type: "string" } } });

const photo = await readFile(new URL("coffee.png", import.meta.url));
const { width, height } = await sharp(photo).metadata();
const small = await resized(photo, width / 2, height / 2);

await using wj = await windjammer({ port: 0, adminPort: 0 });
const upscale = await deployTensorFlowModel<string, string>(wj, {
  name: "super-resolution",
  version: "1",
  model: new URL("model/model.json", import.meta.url),
  inputType: "bytes",
  processing: new URL("processing.ts", import.meta.url),
  examples: JSON.parse(await readFile(new URL("cases.json", import.meta.url), "utf8")) as Example[],
});

if (flags.page === true) {
  await servePage(upscale, Number(flags.port ?? 8000));
} else {
  const large = Buffer.from(await upscale.predict(small.toString("base64")), "base64");
  console.log(`A photo of ${width} × ${height} pixels was halved to ${width / 2} × ${height / 2}.`);
  console.log("Doubled again, it comes this near to the photo:\n");
  console.log(`  each pixel four times   ${await likeness(await resized(small, width, height))} dB`);
  console.log(`  the network             ${await likeness(large)} dB`);
}

/** Without anything learned: smaller by means of pixels, larger by copies of them. */
async function resized(image: Buffer, toWidth: number, toHeight: number): Promise<Buffer> {
  return sharp(image)
    .resize({ width: toWidth, height: toHeight, kernel: toWidth < width ? "lanczos3" : "nearest" })
    .png()
    .toBuffer();
}

/** How near an image is to the photo: peak signal-to-noise ratio. */
async function likeness(image: Buffer): Promise<string> {
  const [one, other] = await Promise.all([photo, image].map((each) => sharp(each).raw().toBuffer()));
  let squares = 0;
  for (const [index, value] of (one ?? []).entries()) squares += (value - (other?.[index] ?? 0)) ** 2;
  return (10 * Math.log10((255 * 255 * (one?.length ?? 0)) / squares)).toFixed(1);
}
