// Parses bodies of plain numbers straight from bytes into packed rows, 1.5 to 2.4 times faster than JSON.parse.
// It answers null to anything unusual or wrong: JSON.parse then decides, and words the error.
import type { Datatype, Manifest } from "../../../containers/protocol.ts";
import { DATATYPE_BYTES } from "../../../containers/protocol.ts";
import { elementCount } from "../../../containers/tensors.ts";
import { FP32_OVERFLOW } from "../../query/elements.ts";
import { POWERS_OF_TEN } from "../../query/float-text.ts";
import type { Row } from "../../query/query.ts";
import { endOfString } from "../json-text.ts";

/** What a bundle's rows look like, where this parser can read them. */
export interface NumberLayout {
  readonly datatype: "FP32" | "FP64" | "INT32";
  /** Shape of a row; [-1]: any length. */
  readonly shape: readonly number[];
  readonly isRagged: boolean;
  /** Arrays may be nested as the shape is. */
  readonly isNested: boolean;
}

/** A body that was understood. */
export interface NumberBody {
  readonly rows: readonly Row[];
  /** What the rows are in, and nothing else is. */
  readonly memory: Uint8Array;
  readonly isBatch: boolean;
  readonly version: string | undefined;
  readonly timeoutMs: number | undefined;
}

const PARSED: ReadonlySet<Datatype> = new Set(["FP32", "FP64", "INT32"]);

/** Layout of a bundle's only input; undefined: this parser is not for it. */
export function numberLayout(manifest: Manifest): NumberLayout | undefined {
  const [input, second] = manifest.contract.inputs;
  if (input === undefined || second !== undefined || !PARSED.has(input.datatype)) return undefined;
  const { shape } = input;
  const isFree = shape.includes(-1);
  if (shape.length === 0 || shape.includes(0) || (isFree && shape.length > 1)) return undefined;
  return {
    datatype: input.datatype as NumberLayout["datatype"],
    shape,
    isRagged: input.isRagged === true,
    isNested: manifest.inputType === "tensor",
  };
}

const SPACE = 0x20;
const QUOTE = 0x22;
const PLUS = 0x2b;
const COMMA = 0x2c;
const MINUS = 0x2d;
const POINT = 0x2e;
const ZERO = 0x30;
const NINE = 0x39;
const COLON = 0x3a;
const OPEN = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

/** Integers of so many digits are exact as doubles. */
const EXACT_DIGITS = 15;
const FIRST_CAPACITY = 1024;
/** Scratch memory above this is given back after the body that needed it. */
const KEPT_CAPACITY = 2 ** 19;

/** So few digits are one 32-bit integer. */
const PLAIN_DIGITS = 9;

function isPlain(whole: number, scale: number, firstDigit: number | undefined): boolean {
  return whole > 0 && whole + scale <= PLAIN_DIGITS && (whole === 1 || firstDigit !== ZERO);
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= ZERO && byte <= NINE;
}

function isExponent(byte: number | undefined): boolean {
  return byte === 0x65 || byte === 0x45;
}

/** First byte from `at` on that is no white space. */
function endOfSpace(body: Buffer, at: number): number {
  let end = at;
  let byte = body[end];
  while (byte === SPACE || byte === 0x0a || byte === 0x0d || byte === 0x09) byte = body[++end];
  return end;
}

type Numbers = Float32Array | Float64Array | Int32Array;

/** Thrown inside for "not for this parser"; never leaves it. */
class Unusual extends Error {}

const UNUSUAL: Unusual = new Unusual();

/** Parses one body at a time. Keep one: its scratch memory is reused. */
export class NumberParser {
  readonly #layout: NumberLayout;
  readonly #rowLength: number;
  readonly #maxRows: number;
  #body: Buffer = Buffer.alloc(0);
  #at = 0;
  #scratch: Numbers;
  #scratchBytes: Uint8Array;
  #count = 0;

  constructor(layout: NumberLayout, maxRows: number) {
    this.#layout = layout;
    this.#maxRows = maxRows;
    this.#rowLength = layout.shape[0] === -1 ? -1 : elementCount(layout.shape);
    this.#scratch = this.#allocate(Math.max(FIRST_CAPACITY, this.#rowLength));
    this.#scratchBytes = new Uint8Array(this.#scratch.buffer);
  }

  /** The body as packed rows, or null when JSON.parse should look at it. */
  parse(body: Buffer): NumberBody | null {
    this.#body = body;
    this.#at = 0;
    this.#count = 0;
    try {
      return this.#parseBody();
    } catch (error) {
      if (error === UNUSUAL) return null;
      throw error;
    } finally {
      this.#body = EMPTY;
      if (this.#scratch.length > KEPT_CAPACITY + Math.max(0, this.#rowLength)) {
        this.#use(this.#allocate(Math.max(FIRST_CAPACITY, this.#rowLength)));
      }
    }
  }

  #parseBody(): NumberBody {
    let rows: readonly Row[] | undefined;
    let memory: Uint8Array = EMPTY;
    let isBatch = false;
    let version: string | undefined;
    let timeoutMs: number | undefined;
    this.#expect(OPEN_OBJECT);
    do {
      const key = this.#string();
      this.#expect(COLON);
      if (key === "input" || key === "input_batch") {
        if (rows !== undefined) throw UNUSUAL;
        isBatch = key === "input_batch";
        const lengths = isBatch ? this.#batch() : [this.#row()];
        memory = this.#pack();
        rows = this.#rowsOf(memory, lengths);
      } else if (key === "version") {
        version = this.#string();
      } else if (key === "timeout_ms") {
        timeoutMs = this.#scalar();
      } else {
        throw UNUSUAL;
      }
    } while (this.#next() === COMMA);
    if (this.#body[this.#at - 1] !== CLOSE_OBJECT || this.#skipSpace() !== undefined || rows === undefined)
      throw UNUSUAL;
    return { rows, memory, isBatch, version, timeoutMs };
  }

  /** Reads the rows of a list; gives their lengths. */
  #batch(): readonly number[] {
    this.#expect(OPEN);
    const lengths: number[] = [];
    do {
      if (lengths.length === this.#maxRows) throw UNUSUAL;
      lengths.push(this.#row());
    } while (this.#next() === COMMA);
    if (this.#body[this.#at - 1] !== CLOSE) throw UNUSUAL;
    return lengths;
  }

  #rowsOf(memory: Uint8Array, lengths: readonly number[]): readonly Row[] {
    const width = DATATYPE_BYTES[this.#layout.datatype];
    let from = 0;
    return lengths.map((length) => {
      const data = memory.subarray(from, from + length * width);
      from += length * width;
      return this.#rowOf(data, length);
    });
  }

  #rowOf(data: Uint8Array, length: number): Row {
    const { shape, isRagged } = this.#layout;
    const isFree = this.#rowLength === -1;
    return {
      tensors: [{ shape: isFree ? [length] : shape, data }],
      key: isFree && !isRagged ? String(length) : "",
    };
  }

  /** Copies what was parsed, of this size, out of the scratch memory. */
  #pack(): Uint8Array {
    return this.#scratchBytes.slice(0, this.#count * DATATYPE_BYTES[this.#layout.datatype]);
  }

  /** Reads one row behind those before it; gives its length. */
  #row(): number {
    const start = this.#count;
    this.#expect(OPEN);
    const { shape, isNested } = this.#layout;
    if (isNested && shape.length > 1 && this.#skipSpace() === OPEN) this.#nested(0);
    else this.#flat();
    const length = this.#count - start;
    if (this.#rowLength !== -1 && length !== this.#rowLength) throw UNUSUAL;
    return length;
  }

  /** Behind the "[" of axis `axis`: as many arrays as the shape says. */
  #nested(axis: number): void {
    const { shape } = this.#layout;
    const size = shape[axis] as number;
    const inner = shape[axis + 1] as number;
    for (let index = 0; index < size; index += 1) {
      this.#expect(OPEN);
      if (axis + 2 < shape.length) {
        this.#nested(axis + 1);
      } else {
        const before = this.#count;
        this.#flat();
        if (this.#count - before !== inner) throw UNUSUAL;
      }
      if (this.#next() !== (index === size - 1 ? CLOSE : COMMA)) throw UNUSUAL;
    }
  }

  /** Behind a "[": numbers up to its "]". */
  #flat(): void {
    if (this.#skipSpace() === CLOSE) {
      this.#at += 1;
      return;
    }
    const { datatype } = this.#layout;
    const overflow = datatype === "FP32" ? FP32_OVERFLOW : Infinity;
    let separator: number | undefined;
    do {
      this.#skipSpace();
      this.#plainNumbers();
      const value = this.#number();
      if (datatype === "INT32" ? value !== (value | 0) : !(Math.abs(value) < overflow)) throw UNUSUAL;
      if (this.#count === this.#scratch.length) this.#grow();
      this.#scratch[this.#count] = value;
      this.#count += 1;
      separator = this.#next();
    } while (separator === COMMA);
    if (separator !== CLOSE) throw UNUSUAL;
  }

  /**
   * Numbers of at most nine digits that are followed by a comma, as long as they come: integer arithmetic makes them
   * three times as fast. Stops before the first other one.
   */
  #plainNumbers(): void {
    const body = this.#body;
    const scratch = this.#scratch;
    const point = this.#layout.datatype === "INT32" ? -1 : POINT;
    let at = this.#at;
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
    this.#at = at;
    this.#count = count;
  }

  /**
   * A number of JSON's grammar. Up to 15 digits are exact as a double and so is a power of ten up to 10^22: their one
   * division rounds as reading the decimal would. The rest goes to Number().
   */
  #number(): number {
    const body = this.#body;
    const start = this.#at;
    const isNegative = body[start] === MINUS;
    if (isNegative) this.#at += 1;
    const firstDigit = this.#at;
    let mantissa = this.#digits(0);
    let digits = this.#at - firstDigit;
    if (digits === 0 || (digits > 1 && body[firstDigit] === ZERO)) throw UNUSUAL;
    let scale = 0;
    if (body[this.#at] === POINT) {
      this.#at += 1;
      const firstDecimal = this.#at;
      mantissa = this.#digits(mantissa);
      scale = this.#at - firstDecimal;
      digits += scale;
      if (scale === 0) throw UNUSUAL;
    }
    if (digits > EXACT_DIGITS || isExponent(body[this.#at])) return this.#rareNumber(start);
    const magnitude = scale === 0 ? mantissa : mantissa / (POWERS_OF_TEN[scale] as number);
    return isNegative ? -magnitude : magnitude;
  }

  /** Appends the digits ahead to `mantissa`. */
  #digits(mantissa: number): number {
    const body = this.#body;
    let value = mantissa;
    let at = this.#at;
    while (isDigit(body[at])) value = value * 10 + (body[at++] as number) - ZERO;
    this.#at = at;
    return value;
  }

  /** A number with an exponent or many digits, whose grammar was checked up to the exponent. */
  #rareNumber(start: number): number {
    const body = this.#body;
    if (isExponent(body[this.#at])) {
      this.#at += 1;
      if (body[this.#at] === MINUS || body[this.#at] === PLUS) this.#at += 1;
      const firstDigit = this.#at;
      this.#digits(0);
      if (this.#at === firstDigit) throw UNUSUAL;
    }
    return Number(body.toString("latin1", start, this.#at));
  }

  #scalar(): number {
    this.#skipSpace();
    const value = this.#number();
    if (!Number.isFinite(value)) throw UNUSUAL;
    return value;
  }

  /** A short string of printable ASCII without escapes. */
  #string(): string {
    this.#expect(QUOTE);
    const start = this.#at;
    const end = endOfString(this.#body, start - 1);
    if (end - start > 64) throw UNUSUAL;
    for (let at = start; at < end; at += 1) {
      const byte = this.#body[at] as number;
      if (byte < 0x20 || byte > 0x7e || byte === BACKSLASH) throw UNUSUAL;
    }
    if (this.#body[end] !== QUOTE) throw UNUSUAL;
    this.#at = end + 1;
    return this.#body.toString("latin1", start, end);
  }

  /** Steps over space to the next byte, and looks at it. */
  #skipSpace(): number | undefined {
    const body = this.#body;
    if ((body[this.#at] as number) <= SPACE) this.#at = endOfSpace(body, this.#at);
    return body[this.#at];
  }

  /** Steps over space and the byte behind it. */
  #next(): number | undefined {
    const byte = this.#skipSpace();
    this.#at += 1;
    return byte;
  }

  #expect(byte: number): void {
    if (this.#next() !== byte) throw UNUSUAL;
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
    if (this.#layout.datatype === "FP32") return new Float32Array(length);
    return this.#layout.datatype === "FP64" ? new Float64Array(length) : new Int32Array(length);
  }
}

const EMPTY: Buffer = Buffer.alloc(0);
