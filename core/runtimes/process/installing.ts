// What the caches of installed packages share: one installation of a kind at a time, and whose unfinished work is whose.
import { isNodeError } from "../../errors.ts";
import { unlessAborted } from "../../wait.ts";

export interface InstallOptions {
  readonly signal: AbortSignal;
  /** Called before the package manager starts; not when the set is there already. */
  readonly onInstall: () => void;
  readonly onLine: (line: string) => void;
}

/** Work that takes turns by key: whoever comes second finds what the first one made, or makes it when that failed. */
export class Turns {
  readonly #running = new Map<string, Promise<unknown>>();

  /** @throws the signal's reason when it aborts before its turn; whatever the work throws */
  async take<T>(key: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    for (let running = this.#running.get(key); running !== undefined; running = this.#running.get(key)) {
      await unlessAborted(
        running.catch(() => undefined),
        signal,
      );
    }
    signal.throwIfAborted();
    const mine = work().finally(() => this.#running.delete(key));
    this.#running.set(key, mine);
    return mine;
  }
}

/** Whether the server that makes something runs. @param owner text that begins with its process id */
export function isOwned(owner: string): boolean {
  const pid = Number.parseInt(owner, 10);
  if (!(pid > 0)) return false;
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return isNodeError(error) && error.code === "EPERM";
  }
}
