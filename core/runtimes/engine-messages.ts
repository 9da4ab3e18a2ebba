// What an engine streams: JSON lines of builds, pulls and events, a container's two outputs in one stream, files as tar.
import type { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { extract } from "tar-stream";

/** One message of a build, a pull or a push; or one event. */
export interface EngineMessage {
  readonly stream?: string;
  readonly status?: string;
  /** Layer that a status is about. */
  readonly id?: string;
  readonly progressDetail?: { readonly current?: number; readonly total?: number };
  readonly error?: string;
  readonly aux?: unknown;
}

/** Something that happened to a container or an image. */
export interface EngineEvent {
  readonly action: string;
  /** Of the container or image. */
  readonly id: string;
}

/** Messages of a stream, one a line, until it ends. @throws the signal's reason when aborted */
export async function* jsonLines(stream: Readable, signal: AbortSignal): AsyncIterable<EngineMessage> {
  const stop = (): void => void stream.destroy();
  signal.addEventListener("abort", stop, { once: true });
  let open = "";
  try {
    stream.setEncoding("utf8");
    for await (const chunk of stream) {
      const lines = (open + String(chunk)).split("\n");
      open = lines.pop() ?? "";
      yield* parsed(lines);
    }
    yield* parsed([open]);
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    signal.removeEventListener("abort", stop);
    stream.destroy();
  }
  signal.throwIfAborted();
}

function* parsed(lines: readonly string[]): Iterable<EngineMessage> {
  for (const line of lines) if (line.trim() !== "") yield JSON.parse(line) as EngineMessage;
}

/** Events of a stream, until it ends. @throws the signal's reason when aborted */
export async function* eventsOf(stream: Readable, signal: AbortSignal): AsyncIterable<EngineEvent> {
  for await (const message of jsonLines(stream, signal)) {
    const { Action: action, Actor: actor } = message as { Action?: string; Actor?: { ID?: string } };
    if (action !== undefined && actor?.ID !== undefined) yield { action, id: actor.ID };
  }
}

/** Text of the first file in a tar stream. */
export async function fileOfArchive(stream: Readable): Promise<string | undefined> {
  const entries = extract();
  stream.once("error", (error) => entries.destroy(error));
  try {
    for await (const entry of stream.pipe(entries)) {
      // Awaited here: the loop takes the entries away as it ends.
      if (entry.header.type === "file") return await text(entry);
      entry.resume();
    }
    return undefined;
  } finally {
    // What is left of it would keep its connection, and with that the process.
    stream.destroy();
  }
}

const HEADER_BYTES = 8;

export interface OutputFrame {
  readonly stream: "stdout" | "stderr";
  readonly data: Buffer;
}

/** Takes apart the frames of a log stream: one byte for the output, three of zeros, the length, the bytes. */
export class FrameSplitter {
  #rest: Buffer = Buffer.alloc(0);

  push(chunk: Buffer): OutputFrame[] {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const frames: OutputFrame[] = [];
    while (this.#rest.length >= HEADER_BYTES) {
      const end = HEADER_BYTES + this.#rest.readUInt32BE(4);
      if (this.#rest.length < end) break;
      const stream = this.#rest[0] === 2 ? "stderr" : "stdout";
      frames.push({ stream, data: this.#rest.subarray(HEADER_BYTES, end) });
      this.#rest = this.#rest.subarray(end);
    }
    return frames;
  }
}
