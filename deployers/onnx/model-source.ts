// The model file on disk: opens and reads it, copies it with its external weights, and says what else a file is.
import { mkdir, open, type FileHandle } from "node:fs/promises";
import { dirname, isAbsolute, join, posix } from "node:path";
import { InvalidModelFileError, UnsupportedModelError } from "../../core/index.ts";
import { fileSize, unreadable } from "../location.ts";
import { copyModelFile } from "../tensor-model/copy.ts";
import { WireError } from "../wire.ts";
import { readOnnxFile, type ExternalFile, type OnnxModelFile } from "./model-file.ts";

/** Name of the model in a bundle. */
export const MODEL_FILE = "model.onnx";

/** @throws ModelFileNotFoundError, InvalidModelFileError */
export async function readModel(path: string): Promise<OnnxModelFile> {
  const size = await fileSize(path, "model file");
  const handle = await openFile(path);
  try {
    const foreign = await recognise(handle, size);
    if (foreign !== undefined) {
      throw new InvalidModelFileError(`${path} is ${foreign}`, { details: { path } });
    }
    return readOnnxFile(handle.fd, size);
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    throw new InvalidModelFileError(
      `${path} (${size} bytes) is no whole ONNX model: ${error.message}; export or download it again`,
      { cause: error, details: { path } },
    );
  } finally {
    await handle.close();
  }
}

async function openFile(path: string): Promise<FileHandle> {
  try {
    return await open(path, "r");
  } catch (error) {
    throw unreadable(path, error);
  }
}

/**
 * Copies the model and its external weight files to where the model looks for them.
 * @param reserved names in the bundle that are taken
 * @throws ModelFileNotFoundError for a weight file that is missing, UnsupportedModelError for one outside the folder
 */
export async function copyModel(
  source: { readonly path: string; readonly externalFiles: readonly ExternalFile[] },
  target: { readonly folder: string; readonly reserved: readonly string[] },
): Promise<number> {
  const taken = new Set([MODEL_FILE, ...target.reserved]);
  let copied = await copyModelFile(source.path, join(target.folder, MODEL_FILE));
  for (const [location, minBytes] of weightFiles(source.externalFiles)) {
    if (taken.has(location)) {
      throw new UnsupportedModelError(
        `the model keeps weights in "${location}", a name that the bundle needs itself; save them under another name`,
        { details: { file: location } },
      );
    }
    const from = join(dirname(source.path), ...location.split("/"));
    const size = await fileSize(from, `weight file "${location}", which the model needs,`);
    if (size < minBytes) {
      throw new InvalidModelFileError(
        `weight file ${from} has ${size} bytes, and the model needs ${minBytes}; export or download it again`,
        { details: { path: from } },
      );
    }
    const to = join(target.folder, ...location.split("/"));
    if (location.includes("/")) await mkdir(dirname(to), { recursive: true });
    copied += await copyModelFile(from, to);
  }
  return copied;
}

/** Bytes the model needs of each file, by path in its folder: one file can be written in several ways ("w.bin", "./w.bin"). */
function weightFiles(externalFiles: readonly ExternalFile[]): ReadonlyMap<string, number> {
  const files = new Map<string, number>();
  for (const { location: written, minBytes } of externalFiles) {
    const location = posix.normalize(written.replaceAll("\\", "/"));
    if (isAbsolute(written) || location === ".." || location.startsWith("../")) {
      throw new UnsupportedModelError(
        `the model keeps weights in "${written}", outside its own folder; save it with its weights beside it`,
        { details: { file: written } },
      );
    }
    files.set(location, Math.max(minBytes, files.get(location) ?? 0));
  }
  return files;
}

const HEAD_BYTES = 512;

/** What a file is that is no ONNX model, with the way out; undefined when it may be one. */
async function recognise(handle: FileHandle, size: number): Promise<string | undefined> {
  if (size === 0) return "empty; export or download the model again";
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(HEAD_BYTES), 0, HEAD_BYTES, 0);
  const head = buffer.toString("latin1", 0, bytesRead);
  const byName = SIGNATURES.find(({ at, bytes }) => head.startsWith(bytes, at));
  return byName?.what ?? TEXTS.find(({ pattern }) => pattern.test(head))?.what;
}

const SIGNATURES: readonly { readonly at: number; readonly bytes: string; readonly what: string }[] = [
  {
    at: 0,
    bytes: "version https://git-lfs.github.com",
    what: "a Git LFS pointer, not the model itself; fetch the model with `git lfs pull`",
  },
  {
    at: 0,
    bytes: "PK\u0003\u0004",
    what: "a zip archive (as PyTorch's .pt and Keras' .keras files are), not an ONNX model; unpack it, or export the model with torch.onnx.export or tf2onnx",
  },
  { at: 0, bytes: "\u001f\u008b", what: "compressed with gzip; unpack it with `gunzip`" },
  {
    at: 0,
    bytes: "\u0089HDF",
    what: "an HDF5 file (as Keras writes), not an ONNX model; convert it with tf2onnx",
  },
  { at: 4, bytes: "TFL3", what: "a TensorFlow Lite model, not an ONNX model; convert it with tf2onnx" },
  {
    at: 4,
    bytes: "ORTM",
    what: "a model in onnxruntime's own ORT format; give the .onnx file it was made from",
  },
];

const TEXTS: readonly { readonly pattern: RegExp; readonly what: string }[] = [
  {
    pattern: /^\s*<(?:!doctype|html|\?xml)/i,
    what: "a web page, not a model; download the file itself (the raw or download link of the page)",
  },
  { pattern: /^\s*[{[]\s*["{[\]}]/, what: "JSON text, not an ONNX model; give the .onnx file" },
];
