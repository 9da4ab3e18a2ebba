// What builds resolved the packages of bundles to, so that another build of the same bundle installs the same.
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

export class Lockfiles {
  readonly #folder: string;

  /** @param folder made when the first lockfile is kept */
  constructor(folder: string) {
    this.#folder = folder;
  }

  /** @param bundle its sha256, hex */
  async find(bundle: string): Promise<string | undefined> {
    return readFile(this.#path(bundle), "utf8").catch(() => undefined);
  }

  async keep(bundle: string, text: string): Promise<void> {
    await mkdir(this.#folder, { recursive: true });
    const temporary = `${this.#path(bundle)}.${process.pid}`;
    await writeFile(temporary, text);
    await rename(temporary, this.#path(bundle));
  }

  async remove(bundle: string): Promise<void> {
    await rm(this.#path(bundle), { force: true });
  }

  #path(bundle: string): string {
    return join(this.#folder, `${bundle}.json`);
  }
}
