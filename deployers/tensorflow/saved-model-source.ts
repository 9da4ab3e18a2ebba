// A SavedModel on disk: reads its graph file, and copies it into a bundle in a form that tfjs-node loads.
import { mkdir, open, readdir, type FileHandle } from "node:fs/promises";
import { dirname, join } from "node:path";
import { InvalidModelFileError, ModelFileNotFoundError } from "../../core/index.ts";
import { fileSize, unreadable } from "../location.ts";
import { copyModelFile } from "../tensor-model/copy.ts";
import { WireError, WireFile } from "../wire.ts";
import { forOlderLibrary, type OlderGraph } from "./older-library.ts";
import { readSavedModel, type MetaGraph } from "./saved-model.ts";

const GRAPH_FILE = "saved_model.pb";
const CHUNK_BYTES = 2 ** 20;

/** Reads the graphs of the SavedModel in `folder`. @throws ModelFileNotFoundError, InvalidModelFileError */
export function readGraphs(folder: string): Promise<readonly MetaGraph[]> {
  return withGraphFile(folder, (handle, size) => readSavedModel(handle.fd, size));
}

/** What was copied. */
export interface CopiedModel {
  readonly bytes: number;
  /** The graph file was changed for the older library. */
  readonly isRewritten: boolean;
}

/**
 * Copies the SavedModel of `from`: graph, variables, assets. The graph loses what is newer than the library of tfjs-node.
 * @throws ModelFileNotFoundError, InvalidModelFileError naming what is missing or damaged
 */
export async function copySavedModel(from: string, to: string): Promise<CopiedModel> {
  await mkdir(to, { recursive: true });
  const graph = await withGraphFile(from, async (handle, size) => {
    const file = new WireFile(handle.fd, size);
    const rewritten = forOlderLibrary(file);
    if (rewritten.isChanged) await write(join(to, GRAPH_FILE), file, rewritten.pieces);
    return rewritten;
  });
  if (!graph.isChanged) await copyModelFile(join(from, GRAPH_FILE), join(to, GRAPH_FILE));
  const files = [
    ...(await variableFiles(from, graph.hasVariables)),
    ...(await filesBelow(join(from, "assets"), "assets")),
  ];
  let bytes = await fileSize(join(to, GRAPH_FILE), "copy");
  for (const file of files) {
    await mkdir(dirname(join(to, file)), { recursive: true });
    bytes += await copyModelFile(join(from, file), join(to, file));
  }
  return { bytes, isRewritten: graph.isChanged };
}

async function withGraphFile<T>(
  folder: string,
  read: (handle: FileHandle, size: number) => T | Promise<T>,
): Promise<T> {
  const path = join(folder, GRAPH_FILE);
  const size = await fileSize(path, "model file");
  const handle = await open(path, "r").catch((error: unknown) => {
    throw unreadable(path, error);
  });
  try {
    return await read(handle, size);
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    throw new InvalidModelFileError(
      `${path} (${size} bytes) is no whole SavedModel: ${error.message}; export or download it again`,
      { cause: error, details: { path } },
    );
  } finally {
    await handle.close();
  }
}

async function write(path: string, file: WireFile, pieces: OlderGraph["pieces"]): Promise<void> {
  await using handle = await open(path, "wx", 0o644);
  for (const piece of pieces) {
    if (!("start" in piece)) await handle.write(piece);
    else
      for (let { start } = piece; start < piece.end; start += CHUNK_BYTES)
        await handle.write(file.bytes({ start, end: Math.min(start + CHUNK_BYTES, piece.end) }));
  }
}

const SHARD = /^(.*)\.data-(\d{5})-of-(\d{5})$/;

/** The checkpoint of the variables, whole. */
async function variableFiles(folder: string, areNeeded: boolean): Promise<readonly string[]> {
  const path = join(folder, "variables");
  const names = (await readdir(path).catch((): string[] => [])).toSorted();
  const index = names.find((name) => name.endsWith(".index"));
  if (index === undefined) {
    if (!areNeeded) return [];
    throw missing(join(path, "variables.index"));
  }
  const prefix = index.slice(0, -".index".length);
  const shards = names.filter((name) => SHARD.exec(name)?.[1] === prefix);
  const count = Number(SHARD.exec(shards[0] ?? "")?.[3] ?? 1);
  for (let shard = 0; shard < count; shard += 1) {
    const name = `${prefix}.data-${pad(shard)}-of-${pad(count)}`;
    if (!shards.includes(name)) throw missing(join(path, name));
  }
  return [index, ...shards].map((name) => `variables/${name}`);
}

function pad(number: number): string {
  return `${number}`.padStart(5, "0");
}

function missing(path: string): ModelFileNotFoundError {
  return new ModelFileNotFoundError(
    `variables file ${path}, which the model needs, does not exist; copy the whole folder of the SavedModel, or export it again`,
    { details: { path } },
  );
}

async function filesBelow(folder: string, name: string): Promise<readonly string[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  const nested = entries
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .map((entry) =>
      entry.isDirectory()
        ? filesBelow(join(folder, entry.name), `${name}/${entry.name}`)
        : Promise.resolve([`${name}/${entry.name}`]),
    );
  return (await Promise.all(nested)).flat();
}
