// The log of one replica: its last lines in memory, more of them in a bounded file, and readers that follow.
import type { Readable } from "node:stream";
import type { LogLine } from "../types.ts";
import type { LogOptions } from "./runtime.ts";
import { LineSplitter } from "./lines.ts";
import type { LogFile } from "./log-file.ts";

const MAX_LINES = 1_000;
const MAX_CHARACTERS = 2 ** 20;

/**
 * Lines are numbered. A follower is only a number, the next line it wants, so a slow one costs no memory: it is told
 * how many lines it missed.
 */
export class ReplicaLog {
  readonly #file: LogFile;
  readonly #waiting = new Set<() => void>();
  readonly #lines: LogLine[] = [];
  #first = 0;
  #characters = 0;
  #hasEnded = false;

  constructor(file: LogFile) {
    this.#file = file;
  }

  /** Reads a stream of the child to its end; never rejects. Does not read faster than the file is written. */
  async pump(stream: Readable, name: LogLine["stream"]): Promise<void> {
    const splitter = new LineSplitter();
    try {
      for await (const chunk of stream) await this.append(name, splitter.push(chunk as Buffer));
    } catch {
      // Destroyed by us, when something that outlived the child keeps the other end open.
    }
    await this.append(name, splitter.end());
  }

  /** Resolves when the lines are in the file too. @param at when they were written; default now */
  async append(
    stream: LogLine["stream"],
    texts: readonly string[],
    at: string = new Date().toISOString(),
  ): Promise<void> {
    if (texts.length === 0 || this.#hasEnded) return;
    let entry = "";
    for (const text of texts) {
      entry += `${this.#first + this.#lines.length} ${at} ${stream} ${text}\n`;
      this.#lines.push({ at, stream, text });
      this.#characters += text.length;
    }
    this.#trim();
    this.#wake();
    await this.#file.write(entry);
  }

  tail(lines: number): readonly LogLine[] {
    return lines <= 0 ? [] : this.#lines.slice(-lines);
  }

  async *read(options: LogOptions): AsyncIterable<LogLine> {
    const { since } = options;
    const sinceMs = since === undefined ? -Infinity : Date.parse(since);
    for await (const line of this.#read(options)) if (Date.parse(line.at) >= sinceMs) yield line;
  }

  async *#read({
    signal,
    follow = false,
    since,
    tail = since === undefined ? 100 : Infinity,
  }: LogOptions): AsyncIterable<LogLine> {
    const end = this.#first + this.#lines.length;
    const cursor = { next: Math.max(0, end - Math.max(0, tail)) };
    if (cursor.next < this.#first) {
      const kept = this.#first;
      yield* await this.#fromFile(cursor.next, kept);
      cursor.next = kept;
    }
    for (;;) {
      yield* this.#kept(cursor, signal);
      if (!follow || this.#hasEnded || isAborted(signal)) return;
      await this.#change(signal);
    }
  }

  /** No more lines come; followers end. */
  async end(): Promise<void> {
    this.#hasEnded = true;
    this.#wake();
    await this.#file.close();
  }

  /** Removes the file; the lines in memory stay. */
  async removeFile(): Promise<void> {
    await this.#file.remove();
  }

  /** Lines from the cursor on, as long as there are any; they may grow and be trimmed between two steps. */
  *#kept(cursor: { next: number }, signal: AbortSignal | undefined): Iterable<LogLine> {
    while (cursor.next < this.#first + this.#lines.length && !isAborted(signal)) {
      if (cursor.next < this.#first) {
        yield skippedNote(this.#first - cursor.next);
        cursor.next = this.#first;
      }
      const line = this.#lines[cursor.next - this.#first];
      cursor.next += 1;
      if (line !== undefined) yield line;
    }
  }

  #trim(): void {
    // Twice the limit before anything is dropped, so that dropping costs little per line.
    if (this.#lines.length <= 2 * MAX_LINES && this.#characters <= 2 * MAX_CHARACTERS) return;
    let dropped = Math.max(0, this.#lines.length - MAX_LINES);
    let characters = this.#characters;
    for (const line of this.#lines.slice(0, dropped)) characters -= line.text.length;
    while (characters > MAX_CHARACTERS && dropped < this.#lines.length) {
      characters -= this.#lines[dropped]?.text.length ?? 0;
      dropped += 1;
    }
    this.#lines.splice(0, dropped);
    this.#first += dropped;
    this.#characters = characters;
  }

  async #fromFile(from: number, to: number): Promise<LogLine[]> {
    const lines: LogLine[] = [];
    for (const entry of (await this.#file.text()).split("\n")) {
      const parts = /^(\d+) (\S+) (stdout|stderr) ([^]*)$/.exec(entry);
      const number = Number(parts?.[1]);
      if (parts === null || number < from || number >= to) continue;
      const stream = parts[3] === "stderr" ? "stderr" : "stdout";
      lines.push({ at: parts[2] ?? "", stream, text: parts[4] ?? "" });
    }
    return lines;
  }

  #wake(): void {
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }

  #change(signal: AbortSignal | undefined): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.add(resolve);
    if (signal === undefined) return promise;
    const stop = (): void => {
      this.#waiting.delete(resolve);
      resolve();
    };
    signal.addEventListener("abort", stop, { once: true });
    return promise.finally(() => signal.removeEventListener("abort", stop));
  }
}

function isAborted(signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true;
}

function skippedNote(count: number): LogLine {
  return {
    at: new Date().toISOString(),
    stream: "stderr",
    text: `… ${count} lines skipped: this reader is too slow`,
  };
}
