// Turns the body of a prediction into a JSON value: UTF-8, nesting and grammar checked, 64-bit integers on demand.
import { isUtf8 } from "node:buffer";
import type { JsonValue } from "../../containers/protocol.ts";
import { MAX_JSON_DEPTH } from "../config.ts";
import { InvalidJsonError } from "../errors.ts";

const QUOTE = 0x22;
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
  const text = body.toString("utf8", hasMark ? BYTE_ORDER_MARK.length : 0);
  try {
    return (options.keepsIntegers ? JSON.parse(text, keepInteger) : JSON.parse(text)) as JsonValue;
  } catch (error) {
    throw malformed(text, error, options.expected);
  }
}

function malformed(text: string, cause: unknown, expected: string): InvalidJsonError {
  if (text.trim() === "") {
    return new InvalidJsonError(`Error parsing JSON: the body is empty. Expected ${expected}`, {
      details: { offset: 0 },
    });
  }
  const offset = errorOffset(text, cause);
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
function errorOffset(text: string, cause: unknown): number {
  const message = cause instanceof Error ? cause.message : "";
  const position = / at position (\d+)/.exec(message)?.[1];
  if (position !== undefined) return Number(position);
  return message.startsWith("Unexpected end") ? text.length : badValueAt(text);
}

/** First place where a value should begin and does not; strings before it are known to be well-formed. */
function badValueAt(text: string): number {
  let before = "";
  for (let at = 0; at < text.length; at += 1) {
    const char = text.charAt(at);
    if (" \t\r\n".includes(char)) continue;
    if (/[a-z]/i.test(char)) {
      const length = literalLength(text, at);
      if (length < 0) return at - length - 1;
      at += length - 1;
    } else if (/[-\d]/.test(char)) {
      while (/[-+.\deE]/.test(text.charAt(at + 1))) at += 1;
    } else if (char === '"') {
      at = closingQuote(text, at);
    } else if (
      !"[]{},:".includes(char) ||
      (isValueDue(before) && "]},:".includes(char) && before + char !== "[]")
    ) {
      return at;
    }
    before = char;
  }
  return text.length;
}

function isValueDue(before: string): boolean {
  return before === "" || "[,:".includes(before);
}

/** Length of true, false or null at `at`; -1 - n when only the first n characters agree. */
function literalLength(text: string, at: number): number {
  const literal = ["true", "false", "null"].find((word) => word.charAt(0) === text.charAt(at)) ?? "";
  let same = 0;
  while (same < literal.length && text.charAt(at + same) === literal.charAt(same)) same += 1;
  return literal !== "" && same === literal.length ? same : -1 - same;
}

function closingQuote(text: string, start: number): number {
  let at = start + 1;
  while (at < text.length && text.charAt(at) !== '"') at += text.charAt(at) === "\\" ? 2 : 1;
  return at;
}

function keepInteger(_key: string, value: unknown, context?: { readonly source?: string }): unknown {
  if (typeof value !== "number" || Number.isSafeInteger(value)) return value;
  const source = context?.source ?? "";
  return /^-?\d+$/.test(source) ? BigInt(source) : value;
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
