// Stored bundles: content-addressed folders, complete or not there at all.
import { randomUUID } from "node:crypto";
import { mkdir, open, readdir, rename, rm, stat, utimes } from "node:fs/promises";
import { join, resolve } from "node:path";
import type { Readable } from "node:stream";
import { BundleNotFoundError, isNodeError } from "../errors.ts";
import { makeStateDir, stateError } from "../registry/state-dir.ts";
import type { BundleFolder } from "../types.ts";
import { hashFolder, readManifest } from "./bundle.ts";
import { unpackUpload, type UploadLimits } from "./bundle-upload.ts";

const HASH = /^[0-9a-f]{64}$/;
/** Of folders that come in or go: not a hash, so never taken for a bundle. */
const TEMPORARY = "tmp-";

/** Keeps each bundle in `<root>/<hash>/files`; the rest of `<root>/<hash>` is the runtime's. */
export class BundleStore {
  readonly #root: string;
  readonly #limits: UploadLimits;

  constructor(root: string, limits: UploadLimits) {
    this.#root = resolve(root);
    this.#limits = limits;
  }

  /**
   * Makes the folder, and removes what a killed server was about to add or remove. Only for the one server that holds
   * the state folder. @throws StateDirError, DiskFullError
   */
  async open(): Promise<void> {
    makeStateDir(this.#root);
    await this.#onDisk(async () => {
      const names = await readdir(this.#root);
      await Promise.all(
        names
          .filter((name) => name.startsWith(TEMPORARY))
          .map((name) => rm(join(this.#root, name), { recursive: true, force: true })),
      );
    });
  }

  /**
   * Stores the bundle of a tar stream; one that is there already is kept. Nothing is left of an upload that fails; the
   * rest of its stream is then read and dropped, not destroyed, so that an HTTP caller still gets his answer.
   * @throws InvalidBundleError, BodyTooLargeError, DiskFullError, StateDirError
   */
  async receive(stream: Readable): Promise<BundleFolder> {
    // From the first moment to the last, whether or not anybody reads it then.
    stream.on("error", () => undefined);
    const temporary = this.#temporary();
    const files = join(temporary, "files");
    try {
      await mkdir(files, { recursive: true });
      await unpackUpload(stream, files, this.#limits);
      await readManifest(files);
      const hash = await hashFolder(files);
      await syncFolders(temporary);
      await this.#keep(temporary, hash);
      return await this.get(hash);
    } catch (error) {
      stream.resume();
      throw stateError(error, this.#root);
    } finally {
      // What cannot be removed now goes when the store is next opened.
      await rm(temporary, { recursive: true, force: true }).catch(() => undefined);
    }
  }

  /** @throws InvalidBundleError when what is stored was changed by hand */
  async find(hash: string): Promise<BundleFolder | undefined> {
    if (!HASH.test(hash)) return undefined;
    const root = join(this.#root, hash);
    const files = join(root, "files");
    return this.#onDisk(async () => {
      if (!(await isFolder(files))) return undefined;
      return { hash, root, files, manifest: await readManifest(files) };
    });
  }

  /** @throws BundleNotFoundError */
  async get(hash: string): Promise<BundleFolder> {
    const found = await this.find(hash);
    if (found !== undefined) return found;
    throw new BundleNotFoundError(
      `no bundle ${JSON.stringify(hash.slice(0, 80))} is stored; upload it first`,
      {
        details: { bundle: hash.slice(0, 80) },
      },
    );
  }

  /** With all that the runtime keeps beside it; harmless when it is not there. */
  async remove(hash: string): Promise<void> {
    if (!HASH.test(hash)) return;
    const temporary = this.#temporary();
    await this.#onDisk(async () => {
      try {
        // Renamed first, so that a kill cannot leave half a bundle under its hash.
        await rename(join(this.#root, hash), temporary);
      } catch (error) {
        if (isNodeError(error) && error.code === "ENOENT") return;
        throw error;
      }
      await rm(temporary, { recursive: true, force: true });
    });
  }

  /** Hashes of all stored bundles, sorted. */
  async hashes(): Promise<readonly string[]> {
    return this.#onDisk(async () => (await readdir(this.#root)).filter((name) => HASH.test(name)).toSorted());
  }

  /** All stored bundles, with the time of their last upload, ms since the epoch. */
  async list(): Promise<readonly { readonly hash: string; readonly uploadedAt: number }[]> {
    const hashes = await this.hashes();
    return this.#onDisk(() =>
      Promise.all(
        hashes.map(async (hash) => ({ hash, uploadedAt: (await stat(this.#filesOf(hash))).mtimeMs })),
      ),
    );
  }

  #filesOf(hash: string): string {
    return join(this.#root, hash, "files");
  }

  #temporary(): string {
    return join(this.#root, `${TEMPORARY}${randomUUID()}`);
  }

  /** Of two that come at the same time the second finds the first in place, and is dropped. */
  async #keep(temporary: string, hash: string): Promise<void> {
    await rename(temporary, join(this.#root, hash)).catch(async (error: unknown) => {
      const isThere = isNodeError(error) && (error.code === "ENOTEMPTY" || error.code === "EEXIST");
      if (!isThere) throw error;
      // Kept for whoever uploaded it now, as if it had just come.
      const now = new Date();
      await utimes(this.#filesOf(hash), now, now);
    });
    await syncFolder(this.#root);
  }

  async #onDisk<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw stateError(error, this.#root);
    }
  }
}

/** Files are synced as they are written; their names are in the folders. */
async function syncFolders(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) await syncFolders(join(folder, entry.name));
  }
  await syncFolder(folder);
}

async function syncFolder(folder: string): Promise<void> {
  await using handle = await open(folder);
  await handle.sync();
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (error) {
    if (isNodeError(error) && error.code === "ENOENT") return false;
    throw error;
  }
}
