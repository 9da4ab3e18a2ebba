// A bundle as a folder: its files, its hash, its tar stream, its manifest.
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { lstat, open, readdir } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { pack } from "tar-fs";
import { pack as packStream } from "tar-stream";
import { MANIFEST_FILE, type Manifest } from "../../containers/protocol.ts";
import { MAX_JSON_DEPTH } from "../config.ts";
import { InvalidBundleError, isNodeError, toWindjammerError } from "../errors.ts";
import { describeIssues, fieldPath, knownKeys, REPORT_INPUT } from "./issues.ts";
import { filesOf, manifestSchema } from "./manifest-schema.ts";

export { manifestSchema } from "./manifest-schema.ts";

const MAX_MANIFEST_BYTES = 8 * 2 ** 20;
const READ_CHUNK_BYTES = 2 ** 20;

interface BundleFile {
  /** Relative to the bundle, with "/". */
  readonly path: string;
  readonly isExecutable: boolean;
}

/**
 * sha256 (hex) of a bundle's content: paths, bytes, and whether a file is executable; times, owners, the order of
 * reading and empty folders make no difference.
 * @throws InvalidBundleError for a symbolic link or a special file
 */
export async function hashFolder(folder: string): Promise<string> {
  const total = createHash("sha256");
  for (const { path, isExecutable } of await filesIn(folder)) {
    const content = createHash("sha256");
    await pipeline(createReadStream(join(folder, path), { highWaterMark: READ_CHUNK_BYTES }), content);
    total.update(`${path}\0${isExecutable ? "x" : "-"}\0${content.digest("hex")}\n`);
  }
  return total.digest("hex");
}

/**
 * The bundle as a tar stream, which is the same for the same content: files in order of their names, without times
 * and owners. Fails with InvalidBundleError at a symbolic link or a special file.
 */
export function packFolder(folder: string): Readable {
  return Readable.from(tarChunks(folder), { objectMode: false });
}

/** The tar stream of a bundle that is its manifest and nothing else: of a model whose files are not ours. */
export function packManifest(manifest: Manifest): Readable {
  const tar = packStream();
  tar.entry({ name: MANIFEST_FILE, mode: 0o644, mtime: new Date(0) }, JSON.stringify(manifest));
  tar.finalize();
  return Readable.from(tar as AsyncIterable<Buffer>, { objectMode: false });
}

async function* tarChunks(folder: string): AsyncGenerator<Buffer> {
  const files = await filesIn(folder);
  // Without entries tar-fs would take the whole folder.
  if (files.length === 0)
    throw new InvalidBundleError(`the bundle ${folder} is empty; it needs a ${MANIFEST_FILE}`);
  const tar = pack(folder, {
    entries: files.map(({ path }) => path),
    map: (header) => {
      header.mode = header.mode & 0o100 ? 0o755 : 0o644;
      header.mtime = new Date(0);
      header.uid = 0;
      header.gid = 0;
      return header;
    },
  });
  yield* tar as AsyncIterable<Buffer>;
}

/**
 * Reads and checks `manifest.json`, and that the files it names are there.
 * @throws InvalidBundleError naming the field, what was expected and what came
 */
export async function readManifest(folder: string): Promise<Manifest> {
  const parsed = manifestSchema.safeParse(parseManifest(await readManifestText(folder)), REPORT_INPUT);
  if (!parsed.success) {
    const { text, details } = describeIssues(parsed.error, "field", knownKeys(manifestSchema) ?? []);
    throw new InvalidBundleError(
      `the bundle's ${MANIFEST_FILE} is wrong: ${text}; mend the deployer that wrote it`,
      {
        details,
      },
    );
  }
  for (const { path, file } of filesOf(parsed.data.model))
    await checkIsThere(folder, fieldPath(["model", ...path]), file);
  return parsed.data;
}

async function readManifestText(folder: string): Promise<string> {
  try {
    await using file = await open(join(folder, MANIFEST_FILE));
    const { size } = await file.stat();
    if (size > MAX_MANIFEST_BYTES) {
      throw new InvalidBundleError(
        `the bundle's ${MANIFEST_FILE} has ${size} bytes, the limit is ${MAX_MANIFEST_BYTES}; put data into files of their own`,
        { details: { limit: MAX_MANIFEST_BYTES } },
      );
    }
    return await file.readFile("utf8");
  } catch (error) {
    if (isNodeError(error) && (error.code === "ENOENT" || error.code === "EISDIR"))
      throw new InvalidBundleError(`the bundle has no ${MANIFEST_FILE} at its root; add it`, {
        cause: error,
      });
    throw toWindjammerError(error);
  }
}

function parseManifest(text: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new InvalidBundleError(`the bundle's ${MANIFEST_FILE} is not JSON: ${String(error)}; mend it`, {
      cause: error,
    });
  }
  if (isDeeperThan(value, MAX_JSON_DEPTH)) {
    throw new InvalidBundleError(
      `the bundle's ${MANIFEST_FILE} is nested deeper than ${MAX_JSON_DEPTH} levels; flatten it`,
      { details: { limit: MAX_JSON_DEPTH } },
    );
  }
  return value;
}

/** Level by level, since a walk by recursion is what deep nesting would break. */
function isDeeperThan(value: unknown, limit: number): boolean {
  let level = [value];
  for (let depth = 0; depth <= limit; depth++) {
    level = level.flatMap((each) => (typeof each === "object" && each !== null ? Object.values(each) : []));
    if (level.length === 0) return false;
  }
  return true;
}

async function checkIsThere(folder: string, field: string, file: string): Promise<void> {
  const stats = await lstat(join(folder, file)).catch(() => undefined);
  if (stats?.isFile() === true) return;
  throw new InvalidBundleError(
    `the bundle's ${MANIFEST_FILE} names ${JSON.stringify(file)} in ${field}, but the bundle has no such file; add it`,
    { details: { field, file } },
  );
}

/** All files, sorted by path. @throws InvalidBundleError for what is neither file nor folder */
async function filesIn(folder: string): Promise<readonly BundleFile[]> {
  const files: BundleFile[] = [];
  const folders: string[] = [""];
  for (let inner = folders.pop(); inner !== undefined; inner = folders.pop()) {
    for (const entry of await readdir(join(folder, inner), { withFileTypes: true })) {
      const path = inner === "" ? entry.name : `${inner}/${entry.name}`;
      if (entry.isDirectory()) folders.push(path);
      else if (entry.isFile()) {
        const { mode } = await lstat(join(folder, path));
        files.push({ path, isExecutable: (mode & 0o100) !== 0 });
      } else {
        throw new InvalidBundleError(
          `the bundle has ${entry.isSymbolicLink() ? "a symbolic link" : "a special file"} at ${path}; put a file there`,
          { details: { path } },
        );
      }
    }
  }
  return files.toSorted((a, b) => (a.path < b.path ? -1 : 1));
}
