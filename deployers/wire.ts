// Reads the protobuf wire format out of a file: field by field, bounds-checked, without loading what is skipped.
import { readSync } from "node:fs";

/** The bytes are not what the wire format allows; the message says where. */
export class WireError extends Error {
  override readonly name = "WireError";
}

/** A stretch of a file: a message, a string, or any other length-delimited field. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/** One field. Varints are numbers: exact to 2^53, which no field we read comes near. */
export type Field =
  | { readonly number: number; readonly kind: "varint"; readonly value: number }
  | ({ readonly number: number; readonly kind: "bytes" } & Span)
  | ({ readonly number: number; readonly kind: "fixed" } & Span);

const WINDOW_BYTES = 16 * 1024;
const LONGEST_VARINT = 10;
const LONGEST_TEXT = 2 ** 20;

/** Random access to an open file through one small window: messages are read in order, weights are jumped over. */
export class WireFile {
  readonly size: number;
  readonly #fd: number;
  readonly #window: Uint8Array = new Uint8Array(WINDOW_BYTES);
  #windowStart = 0;
  #windowEnd = 0;

  constructor(fd: number, size: number) {
    this.#fd = fd;
    this.size = size;
  }

  /** The whole file as one message. */
  get span(): Span {
    return { start: 0, end: this.size };
  }

  /** Fields of a message, in the order of the file. @throws WireError */
  *fields(message: Span): Generator<Field, void, undefined> {
    for (const { field } of this.entries(message)) yield field;
  }

  /** Fields with all of their bytes, tag and length included. @throws WireError */
  *entries(message: Span): Generator<{ readonly field: Field; readonly whole: Span }, void, undefined> {
    let at = message.start;
    while (at < message.end) {
      const tag = this.#varint(at, message.end);
      const number = Math.floor(tag.value / 8);
      if (number === 0) throw new WireError(`byte ${at} is no field`);
      const { field, next } = this.#field({ number, wireType: tag.value % 8 }, tag.next, message.end);
      yield { field, whole: { start: at, end: next } };
      at = next;
    }
  }

  /** @throws WireError */
  text(span: Span): string {
    if (span.end - span.start > LONGEST_TEXT) {
      throw new WireError(`a text at byte ${span.start} is ${span.end - span.start} bytes long`);
    }
    return Buffer.from(this.bytes(span)).toString("utf8");
  }

  /** Numbers of a packed repeated field. @throws WireError */
  packed(span: Span): number[] {
    const values: number[] = [];
    for (let at = span.start; at < span.end;) {
      const { value, next } = this.#varint(at, span.end);
      values.push(value);
      at = next;
    }
    return values;
  }

  /** The bytes themselves; a view that holds until the next call where they are few. @throws WireError */
  bytes({ start, end }: Span): Uint8Array {
    if (start >= this.#windowStart && end <= this.#windowEnd) {
      return this.#window.subarray(start - this.#windowStart, end - this.#windowStart);
    }
    const bytes = new Uint8Array(end - start);
    for (let filled = 0; filled < bytes.length;) {
      const count = readSync(this.#fd, bytes, filled, bytes.length - filled, start + filled);
      if (count === 0) throw new WireError(`the file ends at byte ${start + filled}, while it is read`);
      filled += count;
    }
    return bytes;
  }

  #field(
    tag: { readonly number: number; readonly wireType: number },
    at: number,
    end: number,
  ): { field: Field; next: number } {
    const { number, wireType } = tag;
    if (wireType === 0) {
      const { value, next } = this.#varint(at, end);
      return { field: { number, kind: "varint", value }, next };
    }
    let start = at;
    let length: number;
    if (wireType === 1) length = 8;
    else if (wireType === 5) length = 4;
    else if (wireType === 2) ({ value: length, next: start } = this.#varint(at, end));
    else throw new WireError(`field ${number} at byte ${at} has the unknown wire type ${wireType}`);
    if (length < 0 || length > end - start) {
      throw new WireError(`field ${number} at byte ${at} takes ${length} bytes, but ${end - start} are left`);
    }
    const span = { start, end: start + length };
    return { field: { number, kind: wireType === 2 ? "bytes" : "fixed", ...span }, next: span.end };
  }

  #varint(at: number, end: number): { value: number; next: number } {
    let value = 0n;
    for (let index = 0; index < LONGEST_VARINT; index++) {
      if (at + index >= end) throw new WireError(`a number at byte ${at} is cut off`);
      const byte = this.#byte(at + index);
      value |= BigInt(byte & 0x7f) << BigInt(7 * index);
      if (byte < 0x80) return { value: Number(BigInt.asIntN(64, value)), next: at + index + 1 };
    }
    throw new WireError(`a number at byte ${at} is longer than ${LONGEST_VARINT} bytes`);
  }

  #byte(at: number): number {
    if (at < this.#windowStart || at >= this.#windowEnd) this.#load(at);
    return this.#window[at - this.#windowStart] ?? 0;
  }

  #load(at: number): void {
    const count = readSync(this.#fd, this.#window, 0, WINDOW_BYTES, at);
    if (count === 0) throw new WireError(`the file ends at byte ${at}, while it is read`);
    this.#windowStart = at;
    this.#windowEnd = at + count;
  }
}

/** A field that has to be length-delimited. @throws WireError */
export function bytesOf(field: Field): Span {
  if (field.kind !== "bytes") throw new WireError(`field ${field.number} is no message`);
  return field;
}

/** A field that has to be a number. @throws WireError */
export function numberOf(field: Field): number {
  if (field.kind !== "varint") throw new WireError(`field ${field.number} is no number`);
  return field.value;
}
