// Reads lists of JSON's numbers straight from bytes into packed memory, 1.5 to 2.4 times faster than JSON.parse.
import { FP32_OVERFLOW } from "../query/elements.ts";
import { POWERS_OF_TEN } from "../query/float-text.ts";
import { CLOSE_LIST, COMMA, endOfSpace, type JsonCursor, MINUS, OPEN_LIST, UNUSUAL } from "./json-cursor.ts";

/** What the numbers are kept as; BOOL: true and 1 as 1, false and 0 as 0. */
export type NumberType = "FP32" | "FP64" | "INT32" | "BOOL";

type Numbers = Float32Array | Float64Array | Int32Array | Uint8Array;

const SPACE = 0x20;
const PLUS = 0x2b;
const POINT = 0x2e;
const ZERO = 0x30;
const NINE = 0x39;

const ARRAYS = { FP32: Float32Array, FP64: Float64Array, INT32: Int32Array, BOOL: Uint8Array } as const;
const TRUE: Buffer = Buffer.from("true");
const FALSE: Buffer = Buffer.from("false");

/** Integers of so many digits are exact as doubles. */
const EXACT_DIGITS = 15;
const FIRST_CAPACITY = 1024;
/** Scratch memory above this is given back after the body that needed it. */
const KEPT_CAPACITY = 2 ** 19;
/** So few digits are one 32-bit integer. */
const PLAIN_DIGITS = 9;
/** Lists nested deeper are left to JSON.parse; bodies may nest 64 deep. */
const MAX_DEPTH = 32;

function isPlain(whole: number, scale: number, firstDigit: number | undefined): boolean {
  return whole > 0 && whole + scale <= PLAIN_DIGITS && (whole === 1 || firstDigit !== ZERO);
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= ZERO && byte <= NINE;
}

function isExponent(byte: number | undefined): boolean {
  return byte === 0x65 || byte === 0x45;
}

/** Reads where its cursor stands, and leaves it behind what was read. Keep one: its scratch memory is reused. */
export class NumberReader {
  readonly #type: NumberType;
  readonly #cursor: JsonCursor;
  readonly #leastCapacity: number;
  #scratch: Numbers;
  #scratchBytes: Uint8Array;
  #count = 0;

  /** @param rowLength numbers that come at least, where that is known */
  constructor(type: NumberType, cursor: JsonCursor, rowLength = 0) {
    this.#type = type;
    this.#cursor = cursor;
    this.#leastCapacity = Math.max(FIRST_CAPACITY, rowLength);
    this.#scratch = this.#allocate(this.#leastCapacity);
    this.#scratchBytes = new Uint8Array(this.#scratch.buffer);
  }

  /** Numbers read since `begin`. */
  get count(): number {
    return this.#count;
  }

  begin(): void {
    this.#count = 0;
  }

  /** Gives scratch memory back that is too much to keep. */
  end(): void {
    if (this.#scratch.length > KEPT_CAPACITY + this.#leastCapacity)
      this.#use(this.#allocate(this.#leastCapacity));
  }

  /** All numbers read since `begin`, until the next one is read. */
  get numbers(): Numbers {
    return this.#scratch.subarray(0, this.#count);
  }

  /** A copy of them in memory of its own. */
  pack(): Uint8Array {
    return this.#scratchBytes.slice(0, this.#count * this.#scratch.BYTES_PER_ELEMENT);
  }

  /** Behind a "[": numbers up to its "]", in lists however nested that hold either lists or numbers. */
  lists(depth = 1): void {
    const cursor = this.#cursor;
    if (cursor.skipSpace() !== OPEN_LIST) {
      this.list();
      return;
    }
    if (depth === MAX_DEPTH) throw UNUSUAL;
    do {
      cursor.expect(OPEN_LIST);
      this.lists(depth + 1);
    } while (cursor.hasMore(CLOSE_LIST));
  }

  /** Behind a "[": numbers up to its "]". */
  list(): void {
    const cursor = this.#cursor;
    if (cursor.skipSpace() === CLOSE_LIST) {
      cursor.at += 1;
      return;
    }
    const type = this.#type;
    const overflow = type === "FP32" ? FP32_OVERFLOW : Infinity;
    do {
      cursor.skipSpace();
      if (type !== "BOOL") this.#plainNumbers();
      const value = type === "BOOL" ? this.#flag() : this.number();
      if (type === "INT32" ? value !== (value | 0) : !(Math.abs(value) < overflow)) throw UNUSUAL;
      if (this.#count === this.#scratch.length) this.#grow();
      this.#scratch[this.#count] = value;
      this.#count += 1;
    } while (cursor.hasMore(CLOSE_LIST));
  }

  /**
   * Numbers of at most nine digits that are followed by a comma, as long as they come: integer arithmetic makes them
   * three times as fast. Stops before the first other one.
   */
  #plainNumbers(): void {
    const { body } = this.#cursor;
    const scratch = this.#scratch;
    const point = this.#type === "INT32" ? -1 : POINT;
    let { at } = this.#cursor;
    let count = this.#count;
    while (count < scratch.length) {
      const start = at;
      const isNegative = body[at] === MINUS;
      if (isNegative) at += 1;
      const firstDigit = at;
      let mantissa = 0;
      while (isDigit(body[at])) mantissa = (mantissa * 10 + (body[at++] as number) - ZERO) | 0;
      const whole = at - firstDigit;
      let scale = 0;
      if (body[at] === point) {
        const firstDecimal = ++at;
        while (isDigit(body[at])) mantissa = (mantissa * 10 + (body[at++] as number) - ZERO) | 0;
        // Nothing behind the point: too many digits for this loop, so that the other one decides.
        scale = at - firstDecimal || PLAIN_DIGITS;
      }
      if (body[at] !== COMMA || !isPlain(whole, scale, body[firstDigit])) {
        at = start;
        break;
      }
      const magnitude = mantissa / (POWERS_OF_TEN[scale] as number);
      scratch[count] = isNegative ? -magnitude : magnitude;
      count += 1;
      at += 1;
      if ((body[at] as number) <= SPACE) at = endOfSpace(body, at);
    }
    this.#cursor.at = at;
    this.#count = count;
  }

  /**
   * A number of JSON's grammar. Up to 15 digits are exact as a double and so is a power of ten up to 10^22: their one
   * division rounds as reading the decimal would. The rest goes to Number().
   */
  number(): number {
    const cursor = this.#cursor;
    const { body, at: start } = cursor;
    const isNegative = body[start] === MINUS;
    if (isNegative) cursor.at += 1;
    const firstDigit = cursor.at;
    let mantissa = this.#digits(0);
    let digits = cursor.at - firstDigit;
    if (digits === 0 || (digits > 1 && body[firstDigit] === ZERO)) throw UNUSUAL;
    let scale = 0;
    if (body[cursor.at] === POINT) {
      cursor.at += 1;
      const firstDecimal = cursor.at;
      mantissa = this.#digits(mantissa);
      scale = cursor.at - firstDecimal;
      digits += scale;
      if (scale === 0) throw UNUSUAL;
    }
    if (digits > EXACT_DIGITS || isExponent(body[cursor.at])) return this.#rareNumber(start);
    const magnitude = scale === 0 ? mantissa : mantissa / (POWERS_OF_TEN[scale] as number);
    return isNegative ? -magnitude : magnitude;
  }

  /** Appends the digits ahead to `mantissa`. */
  #digits(mantissa: number): number {
    const { body } = this.#cursor;
    let value = mantissa;
    let { at } = this.#cursor;
    while (isDigit(body[at])) value = value * 10 + (body[at++] as number) - ZERO;
    this.#cursor.at = at;
    return value;
  }

  /** A number with an exponent or many digits, whose grammar was checked up to the exponent. */
  #rareNumber(start: number): number {
    const cursor = this.#cursor;
    const { body } = cursor;
    if (isExponent(body[cursor.at])) {
      cursor.at += 1;
      if (body[cursor.at] === MINUS || body[cursor.at] === PLUS) cursor.at += 1;
      const firstDigit = cursor.at;
      this.#digits(0);
      if (cursor.at === firstDigit) throw UNUSUAL;
    }
    return Number(body.toString("latin1", start, cursor.at));
  }

  /** true, false, 1 or 0. */
  #flag(): number {
    const cursor = this.#cursor;
    const { body, at } = cursor;
    const digit = (body[at] as number) - ZERO;
    if (digit === 0 || digit === 1) {
      cursor.at += 1;
      return digit;
    }
    const word = body[at] === TRUE[0] ? TRUE : FALSE;
    for (const [index, byte] of word.entries()) if (body[at + index] !== byte) throw UNUSUAL;
    cursor.at += word.length;
    return word === TRUE ? 1 : 0;
  }

  #grow(): void {
    const larger = this.#allocate(this.#scratch.length * 2);
    larger.set(this.#scratch);
    this.#use(larger);
  }

  #use(scratch: Numbers): void {
    this.#scratch = scratch;
    this.#scratchBytes = new Uint8Array(scratch.buffer);
  }

  #allocate(length: number): Numbers {
    return new ARRAYS[this.#type](length);
  }
}
