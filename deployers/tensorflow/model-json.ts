// A TensorFlow.js model.json on disk: reads and checks it, and copies it with its weight shards.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join, posix } from "node:path";
import { z } from "zod";
import { InvalidModelFileError, UnsupportedModelError } from "../../core/index.ts";
import { fileSize, unreadable } from "../location.ts";
import { copyModelFile } from "../tensor-model/copy.ts";

/** A weight in the shards. */
interface Weight {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: string;
  readonly quantization?: { readonly dtype: string } | undefined;
}

interface WeightsGroup {
  readonly paths: readonly string[];
  readonly weights: readonly Weight[];
}

/** A model.json, as far as a deployer reads it. */
export interface ModelJson {
  readonly format?: string | undefined;
  readonly modelTopology: Readonly<Record<string, unknown>>;
  readonly weightsManifest?: readonly WeightsGroup[] | undefined;
  readonly signature?: unknown;
  readonly userDefinedMetadata?: Readonly<Record<string, unknown>> | undefined;
}

const weightSchema: z.ZodType<Weight> = z.looseObject({
  name: z.string(),
  shape: z.array(z.int().min(0)),
  dtype: z.string(),
  quantization: z.looseObject({ dtype: z.string() }).optional(),
});

const modelJsonSchema: z.ZodType<ModelJson> = z.looseObject({
  format: z.string().optional(),
  modelTopology: z.record(z.string(), z.unknown()),
  weightsManifest: z
    .array(z.looseObject({ paths: z.array(z.string().min(1)), weights: z.array(weightSchema) }))
    .optional(),
  signature: z.unknown().optional(),
  userDefinedMetadata: z.record(z.string(), z.unknown()).optional(),
});

/** @throws ModelFileNotFoundError, InvalidModelFileError saying what is wrong with it */
export async function readModelJson(path: string): Promise<ModelJson> {
  await fileSize(path, "model file");
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    throw unreadable(path, error);
  });
  return checkModelJson(path, parse(path, text));
}

/** @throws InvalidModelFileError */
export function checkModelJson(path: string, value: unknown): ModelJson {
  const checked = modelJsonSchema.safeParse(value);
  if (checked.success) return checked.data;
  const [issue] = checked.error.issues;
  const where = issue === undefined || issue.path.length === 0 ? "" : ` at ${issue.path.join(".")}`;
  throw new InvalidModelFileError(
    `${path} is no TensorFlow.js model${where}: ${issue?.message ?? ""}; give the model.json that model.save or tensorflowjs_converter wrote`,
    { details: { path } },
  );
}

function parse(path: string, text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new InvalidModelFileError(`${path} is no JSON: ${reason}; export or download it again`, {
      cause: error,
      details: { path },
    });
  }
}

/**
 * Copies model.json and its shards.
 * @returns bytes copied
 * @throws ModelFileNotFoundError for a shard that is missing, InvalidModelFileError for one that is cut off,
 * UnsupportedModelError for one outside the folder
 */
export async function copyModelJson(path: string, model: ModelJson, to: string): Promise<number> {
  await mkdir(to, { recursive: true });
  let bytes = await copyModelFile(path, join(to, "model.json"));
  const copied = new Set(["model.json"]);
  for (const group of model.weightsManifest ?? []) {
    let size = 0;
    for (const written of group.paths) {
      const shard = shardPath(written);
      const from = join(dirname(path), ...shard.split("/"));
      size += await fileSize(from, `weight file "${written}", which the model needs,`);
      if (copied.has(shard)) continue;
      copied.add(shard);
      await mkdir(dirname(join(to, shard)), { recursive: true });
      bytes += await copyModelFile(from, join(to, shard));
    }
    checkSize(path, group, size);
  }
  return bytes;
}

/** As it is opened from the folder of model.json. */
function shardPath(written: string): string {
  const path = posix.normalize(written.replaceAll("\\", "/"));
  if (!path.includes(":") && !path.startsWith("/") && path !== ".." && !path.startsWith("../")) return path;
  throw new UnsupportedModelError(
    `the model keeps weights in "${written}", outside its own folder; save it with its weights beside it`,
    { details: { file: written } },
  );
}

const ELEMENT_BYTES: Readonly<Record<string, number>> = {
  float32: 4,
  int32: 4,
  float16: 2,
  uint16: 2,
  uint8: 1,
  bool: 1,
  complex64: 8,
};

/** Weights lie one behind the other over all shards of a group. */
function checkSize(path: string, { paths, weights }: WeightsGroup, size: number): void {
  let needed = 0;
  for (const { shape, dtype, quantization } of weights) {
    const width = ELEMENT_BYTES[quantization?.dtype ?? dtype];
    // Strings carry their own lengths.
    if (width === undefined) return;
    needed += shape.reduce((count, length) => count * length, width);
  }
  if (size === needed) return;
  throw new InvalidModelFileError(
    `the weight files of ${path} (${paths.join(", ")}) hold ${size} bytes, and the model needs ${needed}; export or download them again`,
    { details: { path, files: paths } },
  );
}

/** Writes a model that has no files yet, in one shard. */
export async function writeModelJson(
  to: string,
  model: object,
  weights: { readonly specs: readonly unknown[]; readonly data: Uint8Array },
): Promise<number> {
  await mkdir(to, { recursive: true });
  const text = JSON.stringify({
    ...model,
    weightsManifest: [{ paths: ["weights.bin"], weights: weights.specs }],
  });
  await writeFile(join(to, "model.json"), text);
  await writeFile(join(to, "weights.bin"), weights.data);
  return Buffer.byteLength(text) + weights.data.byteLength;
}
