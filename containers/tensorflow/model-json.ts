// Reads a TensorFlow.js model.json and its weight shards from the bundle.
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { ModelFiles } from "./tfjs.ts";

interface WeightsGroup {
  readonly paths: readonly string[];
  readonly weights: readonly object[];
}

/** The files of a model, as TensorFlow.js asks for them: `file://` URLs are known to tfjs-node alone. */
export function modelFiles(modelDir: string, file: string): ModelFiles {
  return {
    load: async () => {
      const folder = join(modelDir, dirname(file));
      const text = await readFile(join(modelDir, file), "utf8").catch((cause: unknown) => {
        throw new Error(`the bundle has no model file ${file}`, { cause });
      });
      const { weightsManifest = [], ...model } = JSON.parse(text) as {
        readonly weightsManifest?: readonly WeightsGroup[];
      };
      const shards = await Promise.all(
        weightsManifest.flatMap(({ paths }) => paths).map((path) => readFile(join(folder, path))),
      );
      const bytes = Buffer.concat(shards);
      return {
        ...model,
        weightSpecs: weightsManifest.flatMap(({ weights }) => weights),
        weightData: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength),
      };
    },
  };
}
