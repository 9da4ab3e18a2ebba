// The binary side file: raw bytes of buffers and numbers, each once, aligned, written from where they lie.
import { openSync, closeSync, writeSync } from "node:fs";
import { ALIGNMENT } from "../../../containers/closure-format.ts";

const MAX_WRITE_BYTES = 2 ** 30;

export class DataFile {
  readonly #parts: { readonly at: number; readonly bytes: Uint8Array }[] = [];
  #size = 0;

  /** Bytes so far. */
  get size(): number {
    return this.#size;
  }

  /** Offset that these bytes will have in the file. */
  add(bytes: Uint8Array): number {
    const at = Math.ceil(this.#size / ALIGNMENT) * ALIGNMENT;
    this.#parts.push({ at, bytes });
    this.#size = at + bytes.byteLength;
    return at;
  }

  /** Writes all at once, without a break in which the bytes could change. */
  writeSync(path: string): void {
    const file = openSync(path, "w");
    try {
      for (const { at, bytes } of this.#parts)
        for (let done = 0; done < bytes.byteLength;) {
          const length = Math.min(MAX_WRITE_BYTES, bytes.byteLength - done);
          done += writeSync(file, bytes, done, length, at + done);
        }
    } finally {
      closeSync(file);
    }
  }
}
