// Turns the body of a prediction into a JSON value: UTF-8, nesting and grammar checked, 64-bit integers on demand.
import { isUtf8 } from "node:buffer";
import type { JsonValue } from "../../containers/protocol.ts";
import { MAX_JSON_DEPTH } from "../config.ts";
import { InvalidJsonError } from "../errors.ts";

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const BACKSLASH = 0x5c;
const BYTE_ORDER_MARK = [0xef, 0xbb, 0xbf] as const;

export interface JsonOptions {
  /** What the body should hold, for the message: `{"input": …}`. */
  readonly expected: string;
  /** Reads integers that a double would round as bigints (which JsonValue does not say; elements.ts knows). */
  readonly keepsIntegers: boolean;
}

/** @throws InvalidJsonError with the offset of what is wrong */
export function parseJson(body: Buffer, options: JsonOptions): JsonValue {
  if (!isUtf8(body)) {
    throw new InvalidJsonError(
      "Error parsing JSON: the body is not UTF-8 text. Send JSON as UTF-8; a compressed body needs its Content-Encoding",
    );
  }
  if (isDeeperThan(body, MAX_JSON_DEPTH)) {
    throw new InvalidJsonError(`Error parsing JSON: it nests deeper than ${MAX_JSON_DEPTH} levels`, {
      details: { limit: MAX_JSON_DEPTH },
    });
  }
  const hasMark = BYTE_ORDER_MARK.every((byte, index) => body[index] === byte);
  const unmarked = hasMark ? body.subarray(BYTE_ORDER_MARK.length) : body;
  const text = unmarked.toString("utf8");
  try {
    return (options.keepsIntegers ? JSON.parse(text, keepInteger) : JSON.parse(text)) as JsonValue;
  } catch (error) {
    throw malformed(unmarked, text, { cause: error, expected: options.expected });
  }
}

function malformed(
  body: Buffer,
  text: string,
  options: { cause: unknown; expected: string },
): InvalidJsonError {
  const { cause, expected } = options;
  if (text.trim() === "") {
    return new InvalidJsonError(`Error parsing JSON: the body is empty. Expected ${expected}`, {
      details: { offset: 0 },
    });
  }
  const offset = errorOffset(body, text, cause);
  const found =
    offset < text.length
      ? `unexpected ${JSON.stringify(text.slice(offset, offset + 12))}`
      : "it ends too early";
  return new InvalidJsonError(`Error parsing JSON: ${found} (offset ${offset}). Expected ${expected}`, {
    cause,
    details: { offset },
  });
}

/** V8 names the position in most of its messages; where a value should begin and does not, it leaves it out. */
function errorOffset(body: Buffer, text: string, cause: unknown): number {
  const message = cause instanceof Error ? cause.message : "";
  const position = / at position (\d+)/.exec(message)?.[1];
  if (position !== undefined) return Number(position);
  if (message.startsWith("Unexpected end")) return text.length;
  // The others count characters, and so must this one.
  return body.toString("utf8", 0, badValueAt(body)).length;
}

/**
 * Index of the first byte where a value should begin and does not; strings before it are known to be well-formed. Over
 * bytes, since this is the loop's time: it takes less than the parsing that failed.
 */
function badValueAt(body: Buffer): number {
  let before: number | undefined;
  let at = 0;
  while (at < body.length) {
    const byte = body[at] as number;
    const kind = BYTE_KINDS[byte] ?? OTHER;
    if (kind === OTHER || (kind === CLOSER && isValueDue(before, byte))) return at;
    const end = kind <= OPENER ? at + 1 : endOfToken(body, at, kind);
    if (end < 0) return -1 - end;
    if (kind !== WHITE) before = byte;
    at = end;
  }
  return body.length;
}

/** Up to OPENER all are one byte long. */
const [OTHER, WHITE, CLOSER, OPENER, LETTER, NUMBER, STRING] = [0, 1, 2, 3, 4, 5, 6] as const;
const OPEN_LIST = 0x5b;
const CLOSE_LIST = 0x5d;

/** What a byte may begin. */
const BYTE_KINDS: Uint8Array = byteKinds({
  " \t\r\n": WHITE,
  abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ: LETTER,
  "-0123456789": NUMBER,
  '"': STRING,
  "[{": OPENER,
  "]},:": CLOSER,
});

function byteKinds(kinds: Readonly<Record<string, number>>): Uint8Array {
  const table = new Uint8Array(256);
  for (const [bytes, kind] of Object.entries(kinds))
    for (const byte of Buffer.from(bytes)) table[byte] = kind;
  return table;
}

/** `closer` stands where a value should, behind `before`. */
function isValueDue(before: number | undefined, closer: number): boolean {
  if (before === OPEN_LIST) return closer !== CLOSE_LIST;
  return before === undefined || before === COMMA || before === COLON;
}

/** Index behind it; -1 - n when it is wrong at n. */
function endOfToken(body: Buffer, at: number, kind: number): number {
  if (kind === STRING) return endOfString(body, at) + 1;
  if (kind === LETTER) return endOfLiteral(body, at);
  let end = at + 1;
  while (isOfNumber(body[end])) end += 1;
  return end;
}

/** Index behind true, false or null; -1 - n when it agrees up to n only. */
function endOfLiteral(body: Buffer, start: number): number {
  const literal = LITERALS.find((word) => word[0] === body[start]) ?? EMPTY;
  let same = 0;
  while (same < literal.length && body[start + same] === literal[same]) same += 1;
  return same > 0 && same === literal.length ? start + same : -1 - (start + same);
}

const LITERALS: readonly Buffer[] = ["true", "false", "null"].map((word) => Buffer.from(word));
const EMPTY: Buffer = Buffer.alloc(0);

function isOfNumber(byte: number | undefined): boolean {
  return byte !== undefined && IS_OF_NUMBER[byte] === 1;
}

const IS_OF_NUMBER: Uint8Array = byteKinds({ "0123456789.+-eE": 1 });

/** Longer ones are read as doubles: nobody writes an integer so, and each digit takes time. */
const MAX_INTEGER_LENGTH = 64;
const DECIMAL = /^(-?\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/;

function keepInteger(_key: string, value: unknown, context?: { readonly source?: string }): unknown {
  if (typeof value !== "number" || Number.isSafeInteger(value) || Math.abs(value) > 2 ** 64) return value;
  const source = context?.source ?? "";
  if (!Number.isInteger(value) || source.length > MAX_INTEGER_LENGTH) return value;
  return exactInteger(source) ?? value;
}

/** Of its text, however it is written: 9007199254740993.0 or 9.007199254740993e15. Undefined: it has a fraction. */
function exactInteger(source: string): bigint | undefined {
  const [, whole = "", fraction = "", exponent = "0"] = DECIMAL.exec(source) ?? [];
  const digits = whole + fraction;
  const zeros = Number(exponent) - fraction.length;
  if (zeros >= 0) return BigInt(digits + "0".repeat(zeros));
  return /^0*$/.test(digits.slice(zeros)) ? BigInt(digits.slice(0, zeros)) : undefined;
}

/** Counts brackets outside strings; the text need not be JSON. About 1 ns a byte. */
export function isDeeperThan(body: Buffer, levels: number): boolean {
  let depth = 0;
  for (let at = 0; at < body.length; at += 1) {
    const byte = body[at] as number;
    // "[" and "{" are 0x5b and 0x7b, "]" and "}" 0x5d and 0x7d.
    const bracket = byte & 0xdf;
    if (bracket === 0x5b) {
      depth += 1;
      if (depth > levels) return true;
    } else if (bracket === 0x5d) {
      depth -= 1;
    } else if (byte === QUOTE) {
      at = endOfString(body, at);
    }
  }
  return false;
}

/** Index of the quote that closes the string that opens at `start`, or the end of the body. */
export function endOfString(body: Buffer, start: number): number {
  let at = body.indexOf(QUOTE, start + 1);
  while (at !== -1) {
    let slashes = 0;
    while (body[at - 1 - slashes] === BACKSLASH) slashes += 1;
    if (slashes % 2 === 0) return at;
    at = body.indexOf(QUOTE, at + 1);
  }
  return body.length;
}
