// What goes over an infer socket, as both its ends read it: HTTP/1.1 messages of a head and a body of the length it says.
import { HEADERS } from "./protocol.ts";

export const END_OF_HEAD = "\r\n\r\n";
/** A longer head is none of ours. */
const MAX_HEAD_BYTES = 16 * 1024;
const NUMBER = /^\d{1,15}$/;

/** Head of a message: its first line, and the numbers in its headers. */
export interface MessageHead {
  /** "POST /v2/models/digits/infer HTTP/1.1", "HTTP/1.1 200 OK". */
  readonly start: string;
  readonly contentLength: number;
  /** Length of the JSON in front of the tensors; undefined: the body is all JSON. */
  readonly headerLength: number | undefined;
  /** Of a call: ms until nobody waits any more. */
  readonly deadlineMs: number | undefined;
  /** Of a reply: the loader's own time. */
  readonly computeUs: number | undefined;
}

export interface MessageReaderParts {
  /** Where a body of so many bytes goes; its start is aligned for typed-array views. */
  readonly memory: (size: number) => Uint8Array;
  readonly onMessage: (head: MessageHead, body: Uint8Array) => void;
}

/** A message whose body is still coming. */
interface Arriving {
  readonly head: MessageHead;
  readonly body: Uint8Array;
  filled: number;
}

/** Reads one connection's messages, of which the next comes when this one is answered. */
export class MessageReader {
  readonly #parts: MessageReaderParts;
  /** A head that came in parts. */
  #head: Buffer | undefined;
  #arriving: Arriving | undefined;

  constructor(parts: MessageReaderParts) {
    this.#parts = parts;
  }

  /** A message has begun and is not whole. */
  get isInMessage(): boolean {
    return this.#head !== undefined || this.#arriving !== undefined;
  }

  /** Reads what has come; nothing of it is kept. @throws Error whose text goes on from "the reply " or "the call " */
  take(chunk: Buffer): void {
    const rest = this.#arriving === undefined ? this.#readHead(chunk) : chunk;
    const arriving = this.#arriving;
    if (rest === undefined || arriving === undefined) return;
    const { head, body, filled } = arriving;
    if (filled + rest.byteLength > body.byteLength) throw new Error("is longer than it says");
    body.set(rest, filled);
    arriving.filled += rest.byteLength;
    if (arriving.filled < body.byteLength) return;
    this.#arriving = undefined;
    this.#parts.onMessage(head, body);
  }

  /** Returns what came behind the head; undefined while it is not whole. */
  #readHead(chunk: Buffer): Buffer | undefined {
    const bytes = this.#head === undefined ? chunk : Buffer.concat([this.#head, chunk]);
    const end = bytes.indexOf(END_OF_HEAD, 0, "latin1");
    if (end === -1 && bytes.byteLength < MAX_HEAD_BYTES) {
      this.#head = Buffer.from(bytes);
      return undefined;
    }
    this.#head = undefined;
    const head = end === -1 ? undefined : headOf(bytes.toString("latin1", 0, end));
    if (head === undefined) throw new Error("is not one of ours");
    this.#arriving = { head, body: this.#parts.memory(head.contentLength), filled: 0 };
    return bytes.subarray(end + END_OF_HEAD.length);
  }
}

/** Undefined: it does not say how long its body is. */
function headOf(text: string): MessageHead | undefined {
  const startEnd = text.indexOf("\r\n");
  let contentLength: number | undefined;
  let headerLength: number | undefined;
  let deadlineMs: number | undefined;
  let computeUs: number | undefined;
  for (let at = startEnd; at !== -1;) {
    const colon = text.indexOf(":", at);
    if (colon === -1) break;
    const end = text.indexOf("\r\n", colon);
    const key = text.slice(at + 2, colon).toLowerCase();
    const value = text.slice(colon + 1, end === -1 ? undefined : end).trim();
    if (NUMBER.test(value)) {
      if (key === "content-length") contentLength = Number(value);
      else if (key === HEADERS.inferenceHeaderLength) headerLength = Number(value);
      else if (key === HEADERS.deadlineMs) deadlineMs = Number(value);
      else if (key === HEADERS.computeUs) computeUs = Number(value);
    }
    at = end;
  }
  if (contentLength === undefined) return undefined;
  return { start: text.slice(0, startEnd), contentLength, headerLength, deadlineMs, computeUs };
}
