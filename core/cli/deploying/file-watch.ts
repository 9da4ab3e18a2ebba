// Watches folders for changes of their files; what tools write on the side is left out.
import { type FSWatcher, watch } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import type { WatchedFolder } from "./watched-folders.ts";

/** Editors write a file in several steps. */
const SETTLE_MS = 150;
/** More would be somebody's home folder. */
const MAX_FOLDERS = 2_000;
const LEFT_OUT = /^(?:\..*|node_modules|__pycache__|venv|dist)$|\.py[co]$|~$|\.sw[a-p]$/;

export class FileWatch implements Disposable {
  readonly folders: readonly string[];
  readonly #watchers = new Map<string, FSWatcher>();
  readonly #roots: readonly WatchedFolder[];
  #isChanged = false;
  #onChange: (() => void) | undefined;
  #settling: NodeJS.Timeout | undefined;

  constructor(folders: readonly WatchedFolder[]) {
    this.#roots = folders;
    this.folders = folders.map(({ path }) => path);
  }

  /** From now on changes count; folders that have come are watched, too. */
  async open(): Promise<void> {
    for (const { path, isDeep } of this.#roots) await this.#watch(path, isDeep);
    this.#isChanged = false;
  }

  /** Resolves when a file has changed since `open`, and none for a moment. @throws the signal's reason */
  async change(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const onAbort = (): void => reject(signal.reason as Error);
    signal.addEventListener("abort", onAbort, { once: true });
    this.#onChange = resolve;
    if (this.#isChanged) this.#settle();
    try {
      await promise;
    } finally {
      signal.removeEventListener("abort", onAbort);
      this.#onChange = undefined;
    }
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#settling);
    for (const watcher of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
  }

  async #watch(folder: string, isDeep: boolean): Promise<void> {
    if (!this.#watchers.has(folder)) this.#watchOne(folder);
    if (!isDeep || this.#watchers.size >= MAX_FOLDERS) return;
    const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
    for (const entry of entries)
      if (entry.isDirectory() && !LEFT_OUT.test(entry.name))
        await this.#watch(join(folder, entry.name), true);
  }

  #watchOne(folder: string): void {
    try {
      const watcher = watch(folder, (_, name) => {
        if (name === null || !LEFT_OUT.test(name)) this.#note();
      });
      // It was removed; its folder's watcher tells.
      watcher.on("error", () => {
        watcher.close();
        this.#watchers.delete(folder);
      });
      this.#watchers.set(folder, watcher);
    } catch {
      // Gone since it was listed.
    }
  }

  #note(): void {
    this.#isChanged = true;
    if (this.#onChange !== undefined) this.#settle();
  }

  #settle(): void {
    clearTimeout(this.#settling);
    this.#settling = setTimeout(() => this.#onChange?.(), SETTLE_MS);
  }
}
