// State folders of embedded servers: private, gone with their process, and swept up where a process could not do so.
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { holdStateDir } from "./state-dir.ts";

const PREFIX = "windjammer-state-";
/** A younger one may be of a server that is about to take it. */
const STALE_AFTER_MS = 60_000;

export interface TemporaryStateDir {
  readonly folder: string;
  /** Harmless when it has gone. */
  remove(): void;
}

/**
 * Makes one, and removes those that killed processes of this user left behind. It goes when the process exits, at the
 * latest; a signal that nobody handles (Ctrl-C) ends a process without that, and then the next one sweeps up.
 */
export function makeTemporaryStateDir(): TemporaryStateDir {
  removeStale(tmpdir());
  const folder = mkdtempSync(join(tmpdir(), PREFIX));
  const remove = (): void => {
    process.off("exit", remove);
    rmSync(folder, { recursive: true, force: true });
  };
  process.once("exit", remove);
  return { folder, remove };
}

function removeStale(parent: string): void {
  for (const name of readdirSync(parent)) {
    if (!name.startsWith(PREFIX)) continue;
    const folder = join(parent, name);
    try {
      if (!isStale(folder)) continue;
      // Whoever serves from it holds it, in whatever process.
      const hold = holdStateDir(folder, 0);
      rmSync(folder, { recursive: true, force: true });
      hold.release();
    } catch {
      // In use, or not ours to remove: none of it concerns the server that starts.
    }
  }
}

function isStale(folder: string): boolean {
  const { uid, mtimeMs } = statSync(folder);
  return uid === process.getuid?.() && Date.now() - mtimeMs > STALE_AFTER_MS;
}
