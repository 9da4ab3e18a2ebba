// The files of a Python model: a folder, or a zip that is read within limits and never unpacked outside the bundle.
import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, readdir, stat } from "node:fs/promises";
import { dirname, join, relative, sep } from "node:path";
import type { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import { openPromise, type Entry, type ZipFile } from "yauzl";
import { InvalidModelFileError, ModelFileNotFoundError, UnsupportedModelError } from "../../core/index.ts";
import { fileSize, unreadable } from "../location.ts";

const MAX_FILES = 10_000;
const MAX_BYTES: number = 5 * 2 ** 30;
const MAX_TEXT_BYTES: number = 2 ** 20;

/** What tools leave behind, and environments, which are made anew where the model runs. */
const LEFT_OUT =
  /(?:^|\/)(?:__pycache__|__MACOSX|\.git|\.hg|\.svn|\.venv|venv|\.tox|\.pytest_cache|\.mypy_cache|\.ruff_cache|\.ipynb_checkpoints|\.idea|\.vscode|node_modules)\/|(?:^|\/)(?:\.DS_Store|Thumbs\.db)$|\.py[co]$/;

/** Mode bits of a zip entry made on Unix. */
const FILE_TYPE = 0o170_000;
const LINK = 0o120_000;

interface ModelFile {
  /** Relative, with "/". */
  readonly name: string;
  readonly size: number;
  read(): Promise<Readable>;
}

export interface ModelSource extends AsyncDisposable {
  /** Folder or zip, for messages. */
  readonly path: string;
  /** Sorted by name. */
  readonly files: readonly ModelFile[];
}

/** @throws ModelFileNotFoundError, InvalidModelFileError, UnsupportedModelError (links) */
export async function openFolder(path: string): Promise<ModelSource> {
  const stats = await stat(path).catch((error: unknown) => {
    throw new ModelFileNotFoundError(
      `folder ${path} does not exist (${(error as NodeJS.ErrnoException).code}); relative paths start at the current folder (${process.cwd()})`,
      { details: { path } },
    );
  });
  if (!stats.isDirectory())
    throw new ModelFileNotFoundError(
      `${path} is a file; give the folder that it is in${path.endsWith(".zip") ? ", or a zip as the option zip" : ""}`,
      { details: { path } },
    );
  const files: ModelFile[] = [];
  for (const each of await readdir(path, { recursive: true, withFileTypes: true })) {
    const file = join(each.parentPath, each.name);
    const name = relative(path, file).split(sep).join("/");
    if (LEFT_OUT.test(each.isDirectory() ? `${name}/` : name) || each.isDirectory()) continue;
    const { size, isFile } = await targetOf(file);
    // A link to a file is taken as the file it names; a link to a folder could lead in circles.
    if (!isFile)
      throw new UnsupportedModelError(
        `${name} in ${path} is a link to a folder, or no regular file; put the files themselves into the model's folder`,
        { details: { path: file } },
      );
    files.push({ name, size, read: () => Promise.resolve(createReadStream(file)) });
  }
  return source(path, files, async () => {});
}

async function targetOf(file: string): Promise<{ readonly size: number; readonly isFile: boolean }> {
  try {
    const stats = await stat(file);
    return { size: stats.size, isFile: stats.isFile() };
  } catch (error) {
    throw unreadable(file, error);
  }
}

/** A zip with the model's files at its top, or in one folder there. @throws as `openFolder` */
export async function openZip(path: string): Promise<ModelSource> {
  await fileSize(path, "zip");
  let zip: ZipFile;
  try {
    zip = await openPromise(path, { autoClose: false, strictFileNames: true });
  } catch (error) {
    throw broken(path, error);
  }
  try {
    const entries = await entriesOf(zip, path);
    const top = commonFolder(entries);
    const files = entries.map((entry) => ({
      name: entry.fileName.slice(top.length),
      size: entry.uncompressedSize,
      read: () => zip.openReadStreamPromise(entry),
    }));
    return source(path, files, async () => zip.close());
  } catch (error) {
    zip.close();
    throw error;
  }
}

async function entriesOf(zip: ZipFile, path: string): Promise<readonly Entry[]> {
  const entries: Entry[] = [];
  const seen = new Set<string>();
  let bytes = 0;
  try {
    for await (const entry of zip.eachEntry()) {
      const { fileName } = entry;
      if (fileName.endsWith("/") || LEFT_OUT.test(fileName)) continue;
      checkEntry(entry, path);
      if (seen.has(fileName)) throw refused(path, `it holds ${JSON.stringify(fileName)} twice`);
      seen.add(fileName);
      entries.push(entry);
      bytes += entry.uncompressedSize;
      checkLimits(path, entries.length, bytes);
    }
  } catch (error) {
    throw error instanceof InvalidModelFileError || error instanceof UnsupportedModelError
      ? error
      : broken(path, error);
  }
  return entries;
}

function checkEntry(entry: Entry, path: string): void {
  const name = JSON.stringify(entry.fileName);
  const mode = (entry.externalFileAttributes >>> 16) & FILE_TYPE;
  if (mode === LINK) throw refused(path, `${name} is a link; put the file itself into the zip`);
  if (entry.isEncrypted()) throw refused(path, `${name} is encrypted; make the zip without a password`);
  if (!entry.canDecodeFileData())
    throw refused(path, `${name} is compressed by method ${entry.compressionMethod}; use deflate`);
}

function checkLimits(path: string, count: number, bytes: number): void {
  if (count > MAX_FILES)
    throw refused(path, `it holds more than ${MAX_FILES} files; leave out what the model does not need`);
  if (bytes > MAX_BYTES) throw refused(path, `its files hold more than ${MAX_BYTES} bytes`);
}

function refused(path: string, why: string): UnsupportedModelError {
  return new UnsupportedModelError(`cannot deploy ${path}: ${why}`, { details: { path } });
}

function broken(path: string, cause: unknown): InvalidModelFileError {
  return new InvalidModelFileError(
    `${path} is no zip that can be read: ${(cause as Error).message}; make it anew`,
    { cause, details: { path } },
  );
}

/** "model/" where all entries lie below it: many tools zip the folder, not what is in it. */
function commonFolder(entries: readonly Entry[]): string {
  const [first] = entries;
  const top = first === undefined ? "" : first.fileName.slice(0, first.fileName.indexOf("/") + 1);
  return entries.every(({ fileName }) => fileName.startsWith(top)) ? top : "";
}

function source(path: string, files: readonly ModelFile[], close: () => Promise<void>): ModelSource {
  checkLimits(
    path,
    files.length,
    files.reduce((sum, { size }) => sum + size, 0),
  );
  return {
    path,
    files: files.toSorted((a, b) => (a.name < b.name ? -1 : 1)),
    [Symbol.asyncDispose]: close,
  };
}

/** Text of a file of the model; undefined when there is none. @throws InvalidModelFileError */
export async function readText({ path, files }: ModelSource, name: string): Promise<string | undefined> {
  const file = files.find((each) => each.name === name);
  if (file === undefined) return undefined;
  if (file.size > MAX_TEXT_BYTES)
    throw new InvalidModelFileError(`${name} in ${path} has more than ${MAX_TEXT_BYTES} bytes`, {
      details: { path, name },
    });
  return (await contentOf(path, file)).toString("utf8");
}

async function contentOf(path: string, file: ModelFile): Promise<Buffer> {
  try {
    return await buffer(await file.read());
  } catch (error) {
    throw broken(join(path, file.name), error);
  }
}

/** Copies all files but those of `except` into a folder, and returns how many bytes that were. */
export async function copyFiles(
  { path, files }: ModelSource,
  folder: string,
  except: readonly string[],
): Promise<number> {
  let bytes = 0;
  for (const file of files) {
    if (except.includes(file.name)) continue;
    const target = join(folder, file.name);
    await mkdir(dirname(target), { recursive: true });
    try {
      await pipeline(await file.read(), createWriteStream(target));
    } catch (error) {
      if (["ENOSPC", "EDQUOT"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
      throw broken(join(path, file.name), error);
    }
    bytes += file.size;
  }
  return bytes;
}
