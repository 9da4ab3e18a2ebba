// Unpacks an uploaded tar stream into a folder, within limits, and accepts nothing but plain files and folders.
import { mkdir, open } from "node:fs/promises";
import { dirname, join } from "node:path";
import { finished, Transform, type Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { extract, type Extract } from "tar-stream";
import { BodyTooLargeError, InvalidBundleError, isNodeError, WindjammerError } from "../errors.ts";
import { isInside } from "./manifest-schema.ts";

export interface UploadLimits {
  /** Bytes of all files together. */
  readonly maxBytes: number;
  /** Files and folders together. */
  readonly maxEntries: number;
}

/** A tar block; also the size of headers, and what files are padded to. */
const BLOCK_BYTES = 512;
/** What ends a tar: two blocks of zeros. */
const END_BYTES = 2 * BLOCK_BYTES;
/** For headers with long names, per entry. */
const OVERHEAD_BYTES = 8 * BLOCK_BYTES;
const MAX_DEPTH = 64;
/** What the file system says to names that the sender has to mend. */
const CLASHES: ReadonlySet<string> = new Set(["EEXIST", "EISDIR", "ENOTDIR", "ENAMETOOLONG", "EILSEQ"]);

type Entry = Extract extends AsyncIterable<infer Each> ? Each : never;
/** The parser also says where an entry's content begins in the stream. */
type Header = Entry["header"] & { readonly byteOffset?: number };

/**
 * Unpacks `source` into `folder`, entry by entry, with the memory of a few chunks; files are synced to the disk.
 * A failure does not destroy `source`, and nothing is written any more once this has settled.
 * @throws InvalidBundleError, BodyTooLargeError, and errors of the file system as they are
 */
export async function unpackUpload(source: Readable, folder: string, limits: UploadLimits): Promise<void> {
  // Not tar-fs, which goes on writing after an upload was broken off, with no way to wait for it.
  const parser = extract();
  const meter = new TarMeter(limits);
  const unpacker = new Unpacker(folder, limits);
  finished(source, { writable: false }, (error) => {
    if (error) meter.destroy(brokenOff(error, meter.bytes));
  });
  source.pipe(meter);
  const [feeding, unpacking] = await Promise.allSettled([pipeline(meter, parser), unpacker.run(parser)]);
  source.unpipe(meter);
  const failure = [unpacking, feeding].find((outcome) => outcome.status === "rejected");
  const error: unknown = unpacker.refusal ?? failure?.reason ?? meter.trouble(unpacker.endOfLastEntry);
  if (error === undefined) return;
  throw error instanceof WindjammerError || isFileSystemError(error) ? error : malformed(error);
}

/** Counts what goes through, and how many zeros came last. */
class TarMeter extends Transform {
  bytes = 0;
  readonly #limit: number;
  readonly #maxBytes: number;
  #zeros = 0;

  constructor(limits: UploadLimits) {
    super();
    this.#maxBytes = limits.maxBytes;
    this.#limit = limits.maxBytes + (limits.maxEntries + 2) * OVERHEAD_BYTES;
  }

  override _transform(
    chunk: Buffer,
    _: BufferEncoding,
    done: (error: Error | null, chunk?: Buffer) => void,
  ): void {
    this.bytes += chunk.length;
    let zeros = 0;
    while (zeros < Math.min(chunk.length, END_BYTES) && chunk[chunk.length - 1 - zeros] === 0) zeros++;
    this.#zeros = zeros === chunk.length ? this.#zeros + zeros : zeros;
    if (this.bytes > this.#limit) done(tooLarge(this.#maxBytes));
    else done(null, chunk);
  }

  /** A tar that was cut between two entries parses without an error; only its end is missing. */
  trouble(endOfLastEntry: number): InvalidBundleError | undefined {
    if (this.#zeros >= END_BYTES && this.bytes >= endOfLastEntry + END_BYTES) return undefined;
    return new InvalidBundleError(
      `the uploaded bundle ends early, after ${this.bytes} bytes: the end of the tar is missing; send it again`,
    );
  }
}

class Unpacker {
  /** Where the content of the last entry ended in the stream, with its padding. */
  endOfLastEntry = 0;
  refusal: WindjammerError | undefined;
  readonly #folder: string;
  readonly #limits: UploadLimits;
  #bytes = 0;
  #entries = 0;

  constructor(folder: string, limits: UploadLimits) {
    this.#folder = folder;
    this.#limits = limits;
  }

  async run(parser: Extract): Promise<void> {
    try {
      for await (const entry of parser) await this.#unpack(entry);
    } catch (error) {
      // Leaving the loop ends the parser, and with it the feeding, with an error of its own.
      if (error instanceof WindjammerError) this.refusal = error;
      throw error;
    }
  }

  async #unpack(entry: Entry): Promise<void> {
    const { header } = entry;
    const path = pathOf(header);
    this.#count(header);
    const target = join(this.#folder, path);
    try {
      if (header.type === "directory") await mkdir(target, { recursive: true });
      else await writeEntry(entry, target);
    } catch (error) {
      if (!isNodeError(error) || !CLASHES.has(error.code ?? "")) throw error;
      throw new InvalidBundleError(
        `the uploaded bundle has an entry ${shown(path)} that cannot be written: its name is too long for a file, ` +
          "or it is there twice, or a file and a folder share a name",
        { cause: error, details: { path } },
      );
    }
  }

  #count({ type, size, byteOffset = 0 }: Header): void {
    this.#entries++;
    if (this.#entries > this.#limits.maxEntries) throw tooMany(this.#limits.maxEntries);
    // The parser hands out exactly the size that is declared, so a sum of sizes is a sum of bytes.
    this.#bytes += type === "file" ? size : 0;
    if (this.#bytes > this.#limits.maxBytes) throw tooLarge(this.#limits.maxBytes);
    this.endOfLastEntry = byteOffset + Math.ceil(size / BLOCK_BYTES) * BLOCK_BYTES;
  }
}

async function writeEntry(entry: Entry, target: string): Promise<void> {
  await mkdir(dirname(target), { recursive: true });
  await using file = await open(target, "wx", entry.header.mode & 0o100 ? 0o755 : 0o644);
  // An entry that was cut off ends without an error here; the parser has it.
  await file.writeFile(entry as AsyncIterable<Buffer>);
  await file.sync();
}

/** Path of an entry in the bundle; "" is the bundle itself. @throws InvalidBundleError */
function pathOf({ name, type }: Header): string {
  if (type !== "file" && type !== "directory") {
    throw new InvalidBundleError(
      `the uploaded bundle has an entry ${shown(name)} of type ${type ?? "unknown"}; it may hold only files and folders`,
      { details: { path: name.slice(0, 200), type } },
    );
  }
  const relative = name.replace(/^(?:\.\/)+/, "");
  const path = type === "directory" ? relative.replace(/\/$/, "") : relative;
  if (type === "directory" && (path === "" || path === ".")) return "";
  if (isInside(path) && path.split("/").length <= MAX_DEPTH) return path;
  throw new InvalidBundleError(
    `the uploaded bundle has an entry ${shown(name)}; names must be relative, inside the bundle, and at most ` +
      `${MAX_DEPTH} folders deep`,
    { details: { path: name.slice(0, 200) } },
  );
}

function isFileSystemError(error: unknown): boolean {
  return isNodeError(error) && error.syscall !== undefined;
}

function malformed(error: unknown): InvalidBundleError {
  const message = error instanceof Error ? error.message : String(error);
  return new InvalidBundleError(
    `the uploaded bundle is not an intact tar: ${message}; send an uncompressed tar`,
    {
      cause: error,
    },
  );
}

function brokenOff(error: Error, bytes: number): WindjammerError {
  if (error instanceof WindjammerError) return error;
  return new InvalidBundleError(
    `the upload of the bundle broke off after ${bytes} bytes: ${error.message}; send it again`,
    { cause: error },
  );
}

function tooLarge(maxBytes: number): BodyTooLargeError {
  return new BodyTooLargeError(
    `the uploaded bundle is over the limit of ${maxBytes} bytes; start the server with a larger maxBundleBytes`,
    { details: { limit: maxBytes } },
  );
}

function tooMany(maxEntries: number): InvalidBundleError {
  return new InvalidBundleError(
    `the uploaded bundle has more than ${maxEntries} files and folders; pack small files into one`,
    { details: { limit: maxEntries } },
  );
}

function shown(name: string): string {
  return JSON.stringify(name.length > 100 ? `${name.slice(0, 100)}…` : name);
}
