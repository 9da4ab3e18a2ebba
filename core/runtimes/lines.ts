// Cuts a stream of bytes into lines of bounded length and number, so that no output of a child can hurt its parent.
import { StringDecoder } from "node:string_decoder";

export interface LineLimits {
  /** Longest line kept, characters; the rest of it is cut. Default 16,384. */
  readonly maxLength?: number;
  /** Most lines kept of one chunk; the ones before are skipped with a note. Default 4,000. */
  readonly maxPerChunk?: number;
}

export class LineSplitter {
  readonly #decoder = new StringDecoder("utf8");
  readonly #maxLength: number;
  readonly #maxPerChunk: number;
  #open = "";
  #cut = 0;

  constructor(limits: LineLimits = {}) {
    this.#maxLength = limits.maxLength ?? 16_384;
    this.#maxPerChunk = limits.maxPerChunk ?? 4_000;
  }

  /** Lines that the chunk completes. */
  push(chunk: Uint8Array): string[] {
    const parts = this.#decoder.write(chunk).split("\n");
    const last = parts.pop() ?? "";
    if (parts.length === 0) {
      this.#extend(last);
      return [];
    }
    this.#extend(parts[0] ?? "");
    parts[0] = this.#take();
    this.#extend(last);
    const skipped = parts.length - this.#maxPerChunk;
    const kept = skipped > 0 ? parts.slice(skipped) : parts;
    const lines = kept.map((part) => this.#bounded(part));
    return skipped > 0
      ? [`… ${skipped} lines skipped: written faster than they can be kept`, ...lines]
      : lines;
  }

  /** The last line, when the stream ended without a newline. */
  end(): string[] {
    this.#extend(this.#decoder.end());
    const last = this.#take();
    return last === "" ? [] : [last];
  }

  #extend(text: string): void {
    const room = this.#maxLength - this.#open.length;
    this.#open += room >= text.length ? text : text.slice(0, room);
    this.#cut += Math.max(0, text.length - room);
  }

  #take(): string {
    const line = this.#cut > 0 ? `${this.#open}… (${this.#cut} more characters)` : withoutReturn(this.#open);
    this.#open = "";
    this.#cut = 0;
    return line;
  }

  #bounded(line: string): string {
    // The first one of a chunk may carry the note about its cut already.
    if (line.length <= this.#maxLength + 64) return withoutReturn(line);
    return `${line.slice(0, this.#maxLength)}… (${line.length - this.#maxLength} more characters)`;
  }
}

function withoutReturn(line: string): string {
  return line.endsWith("\r") ? line.slice(0, -1) : line;
}
