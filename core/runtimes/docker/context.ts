// The build context of an image as a tar stream: bundle and server straight from the disk, a chunk at a time.
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { lstat, readdir, readFile } from "node:fs/promises";
import { extname, join, relative } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { pack, type Pack } from "tar-stream";
import { CONTEXT } from "../../../containers/dockerfile.ts";

/** Extensions of what is code or text around a model. All else counts as weights, which change with every training. */
const CODE = new Set([".py", ".js", ".mjs", ".cjs", ".json", ".node", ".wasm", ".map", ".txt", ".md"]);

/** A file on disk and its name in the context. */
export interface ContextFile {
  readonly name: string;
  readonly path: string;
  readonly size: number;
  readonly isExecutable: boolean;
}

/** Generated files, by name. */
export type ContextTexts = Readonly<Record<string, string>>;

/** A bundle's files, sorted: code apart from weights. */
export async function bundleFiles(folder: string): Promise<readonly ContextFile[]> {
  return filesBelow(folder, (path) => `${CODE.has(extname(path)) ? CONTEXT.code : CONTEXT.weights}/${path}`);
}

/** What a folder holds under its own names, but for what no image needs. */
export async function folderFiles(folder: string): Promise<readonly ContextFile[]> {
  return filesBelow(folder, (path) => (/(?:^|\/)(?:\.git|node_modules)\//.test(path) ? undefined : path));
}

/** The program that runs in every model container: the built files, or their source where this file runs from source. */
export interface ServerFiles {
  readonly entry: string;
  readonly files: readonly ContextFile[];
  readonly texts: ContextTexts;
  /** sha256 of it all. */
  readonly hash: string;
}

export async function serverFiles(): Promise<ServerFiles> {
  const extension = extname(import.meta.url);
  const folder = fileURLToPath(new URL("../../../containers/", import.meta.url));
  const isServer = (path: string): boolean =>
    path.endsWith(extension) && !path.endsWith(`.d${extension}`) && !path.startsWith("dockerfile");
  const files = await filesBelow(folder, (path) =>
    isServer(path) ? `${CONTEXT.server}/${path}` : undefined,
  );
  return {
    entry: `server${extension}`,
    files,
    texts: { [`${CONTEXT.server}/package.json`]: `{"type":"module"}\n` },
    hash: await hashOf(files),
  };
}

/** Our server in Python, which is shipped as it is: beside dist/ in the package. */
export async function pythonServerFiles(): Promise<ServerFiles> {
  const root = extname(import.meta.url) === ".ts" ? "../../.." : "../../../..";
  const folder = fileURLToPath(new URL(`${root}/containers/python/`, import.meta.url));
  const files = await filesBelow(folder, (path) =>
    path.endsWith(".py") ? `${CONTEXT.server}/${path}` : undefined,
  );
  return { entry: "server.py", files, texts: {}, hash: await hashOf(files) };
}

async function hashOf(files: readonly ContextFile[]): Promise<string> {
  const hash = createHash("sha256");
  for (const { name, path } of files) hash.update(`${name}\0`).update(await readFile(path));
  return hash.digest("hex");
}

/** Without times and owners, so that equal content gives an equal stream. */
export function contextStream(texts: ContextTexts, files: readonly ContextFile[]): Readable {
  const tar = pack();
  fill(tar, texts, files).then(
    () => tar.finalize(),
    (error: unknown) => tar.destroy(error as Error),
  );
  return tar as unknown as Readable;
}

async function fill(tar: Pack, texts: ContextTexts, files: readonly ContextFile[]): Promise<void> {
  for (const [name, text] of Object.entries(texts)) {
    await entry(tar, { name, mode: 0o644 }, Buffer.from(text));
  }
  for (const { name, path, size, isExecutable } of files) {
    const header = { name, size, mode: isExecutable ? 0o755 : 0o644, mtime: new Date(0) };
    await pipeline(createReadStream(path, { highWaterMark: 2 ** 18 }), tar.entry(header));
  }
}

function entry(
  tar: Pack,
  { name, mode }: { readonly name: string; readonly mode: number },
  content: Buffer,
): Promise<void> {
  return new Promise((resolve, reject) => {
    tar.entry({ name, mode, mtime: new Date(0) }, content, (error) => {
      if (error) reject(error);
      else resolve();
    });
  });
}

async function filesBelow(
  folder: string,
  nameOf: (path: string) => string | undefined,
): Promise<readonly ContextFile[]> {
  const files: ContextFile[] = [];
  for (const each of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!each.isFile()) continue;
    const path = join(each.parentPath, each.name);
    const name = nameOf(relative(folder, path).replaceAll("\\", "/"));
    if (name === undefined) continue;
    const { size, mode } = await lstat(path);
    files.push({ name, path, size, isExecutable: (mode & 0o100) !== 0 });
  }
  return files.toSorted((a, b) => (a.name < b.name ? -1 : 1));
}
