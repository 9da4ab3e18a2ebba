// A log on disk that never grows beyond two files of bounded size, and never fails its writer.
import { open, readFile, rename, rm, type FileHandle } from "node:fs/promises";

/** The current file and the one before it (`path`.1). Writes are queued; await them to keep the queue short. */
export class LogFile {
  readonly #path: string;
  readonly #maxBytes: number;
  #handle: FileHandle | undefined;
  #size = 0;
  #queue: Promise<void> = Promise.resolve();
  #isBroken = false;

  /** @param maxBytes of each of the two files; default 1 MiB */
  constructor(path: string, maxBytes: number = 2 ** 20) {
    this.#path = path;
    this.#maxBytes = maxBytes;
  }

  /** Resolves when written. After a failure, such as a full disk, nothing more is written. */
  write(text: string): Promise<void> {
    return this.#enqueue(async () => {
      if (this.#isBroken) return;
      const bytes = Buffer.from(text);
      if (this.#handle !== undefined && this.#size + bytes.byteLength > this.#maxBytes) await this.#rotate();
      this.#handle ??= await open(this.#path, "w", 0o600);
      await this.#handle.writeFile(bytes);
      this.#size += bytes.byteLength;
    });
  }

  /** What is kept, oldest first. */
  async text(): Promise<string> {
    await this.#queue;
    const [older, newer] = await Promise.all([readOrEmpty(`${this.#path}.1`), readOrEmpty(this.#path)]);
    return older + newer;
  }

  /** Ends writing; the files stay. */
  close(): Promise<void> {
    return this.#enqueue(async () => {
      this.#isBroken = true;
      await this.#release();
    });
  }

  async remove(): Promise<void> {
    await this.close();
    await Promise.all([rm(this.#path, { force: true }), rm(`${this.#path}.1`, { force: true })]);
  }

  #enqueue(step: () => Promise<void>): Promise<void> {
    this.#queue = this.#queue.then(step).catch(async () => {
      this.#isBroken = true;
      await this.#release().catch(() => {});
    });
    return this.#queue;
  }

  async #rotate(): Promise<void> {
    await this.#release();
    await rename(this.#path, `${this.#path}.1`);
  }

  async #release(): Promise<void> {
    const handle = this.#handle;
    this.#handle = undefined;
    this.#size = 0;
    await handle?.close();
  }
}

async function readOrEmpty(path: string): Promise<string> {
  return readFile(path, "utf8").catch(() => "");
}
