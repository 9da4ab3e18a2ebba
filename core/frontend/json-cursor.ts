// Steps through the bytes of a JSON text that is as clients usually write it, and gives up at anything unusual or wrong:
// JSON.parse then decides, and words the error.
import { endOfString } from "./json-text.ts";

export const COMMA = 0x2c;
export const MINUS = 0x2d;
export const COLON = 0x3a;
export const OPEN_LIST = 0x5b;
export const CLOSE_LIST = 0x5d;
export const OPEN_OBJECT = 0x7b;
export const CLOSE_OBJECT = 0x7d;
const SPACE = 0x20;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;

const MAX_NAME_LENGTH = 64;

const EMPTY: Buffer = Buffer.alloc(0);

/** Thrown for "not for this reader"; `usual` catches it. */
class Unusual extends Error {}

export const UNUSUAL: Unusual = new Unusual();

/** What `read` makes of a body, or null when that gave up. */
export function usual<T>(read: () => T): T | null {
  try {
    return read();
  } catch (error) {
    if (error === UNUSUAL) return null;
    throw error;
  }
}

/** First byte from `at` on that is no white space. */
export function endOfSpace(body: Buffer, at: number): number {
  let end = at;
  let byte = body[end];
  while (byte === SPACE || byte === 0x0a || byte === 0x0d || byte === 0x09) byte = body[++end];
  return end;
}

/** One body at a time; `body` and `at` are also its readers' to move. */
export class JsonCursor {
  body: Buffer = EMPTY;
  at = 0;
  #nameAt = 0;

  begin(body: Buffer): void {
    this.body = body;
    this.at = 0;
  }

  /** Lets go of the body. */
  end(): void {
    this.body = EMPTY;
  }

  /** Steps over space to the next byte, and looks at it. */
  skipSpace(): number | undefined {
    const { body } = this;
    if ((body[this.at] as number) <= SPACE) this.at = endOfSpace(body, this.at);
    return body[this.at];
  }

  /** Steps over space and the byte behind it. */
  next(): number | undefined {
    const byte = this.skipSpace();
    this.at += 1;
    return byte;
  }

  expect(byte: number): void {
    if (this.next() !== byte) throw UNUSUAL;
  }

  /** Steps behind the comma before another member or element: true; or behind the bracket that closes them: false. */
  hasMore(closing: number): boolean {
    const byte = this.next();
    if (byte !== COMMA && byte !== closing) throw UNUSUAL;
    return byte === COMMA;
  }

  /** Nothing but space is left. */
  expectEnd(): void {
    if (this.skipSpace() !== undefined) throw UNUSUAL;
  }

  /** A short string of printable ASCII without escapes. */
  name(): string {
    this.skipName();
    return this.body.toString("latin1", this.#nameAt, this.at - 1);
  }

  /** Steps over such a string, which `isName` then knows. */
  skipName(): void {
    this.expect(QUOTE);
    const { body, at: start } = this;
    const most = start + MAX_NAME_LENGTH;
    let at = start;
    for (let byte = body[at]; byte !== QUOTE; byte = body[++at]) {
      if (byte === undefined || byte < SPACE || byte > 0x7e || byte === BACKSLASH || at === most)
        throw UNUSUAL;
    }
    this.#nameAt = start;
    this.at = at + 1;
  }

  /** Whether the name just stepped over is this one. */
  isName(name: string): boolean {
    const { body, at: end } = this;
    const start = this.#nameAt;
    if (end - 1 - start !== name.length) return false;
    for (let index = 0; index < name.length; index += 1)
      if (body[start + index] !== name.charCodeAt(index)) return false;
    return true;
  }

  /** Steps over a value of any kind up to what follows it. Its grammar is left to whoever parses what was stepped over. */
  skipValue(): void {
    const { body } = this;
    let depth = 0;
    let at = this.at;
    for (; at < body.length; at += 1) {
      const byte = body[at] as number;
      if (byte === QUOTE) at = endOfString(body, at);
      else if (byte === OPEN_LIST || byte === OPEN_OBJECT) depth += 1;
      else if (depth === 0 && (byte === COMMA || byte === CLOSE_LIST || byte === CLOSE_OBJECT)) break;
      else if (byte === CLOSE_LIST || byte === CLOSE_OBJECT) depth -= 1;
    }
    this.at = at;
  }
}
