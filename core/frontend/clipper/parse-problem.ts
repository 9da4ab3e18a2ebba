// What Clipper's JSON library (RapidJSON 1.1) says of text that is not JSON: its words, and its offset in bytes.

export interface ParseProblem {
  /** With its full stop. */
  readonly text: string;
  readonly offset: number;
}

const TEXTS = {
  empty: "The document is empty.",
  more: "The document root must not be followed by other values.",
  value: "Invalid value.",
  name: "Missing a name for object member.",
  colon: "Missing a colon after a name of object member.",
  member: "Missing a comma or } after an object member.",
  element: "Missing a comma or ] after an array element.",
  hex: "Incorrect hex digit after \\u escape in string.",
  surrogate: "The surrogate pair in string is invalid.",
  escape: "Invalid escape character in string.",
  quote: "Missing a closing quotation mark in string.",
  fraction: "Miss fraction part in number.",
  exponent: "Miss exponent in number.",
} as const;

/** Ends the scan where the problem is; never leaves this file. */
class Found extends Error {
  readonly problem: ParseProblem;

  constructor(kind: keyof typeof TEXTS, offset: number) {
    super(TEXTS[kind]);
    this.problem = { text: TEXTS[kind], offset };
  }
}

/** Undefined: it finds nothing wrong. The nesting has to be bounded before. */
export function parseProblem(body: Buffer): ParseProblem | undefined {
  try {
    new Scanner(body).document();
    return undefined;
  } catch (error) {
    if (error instanceof Found) return error.problem;
    throw error;
  }
}

const LITERALS: Readonly<Record<string, string>> = { n: "null", t: "true", f: "false" };
const ESCAPES = '"/\\bfnrt';

class Scanner {
  readonly #text: string;
  #at = 0;

  constructor(body: Buffer) {
    // One character a byte. The library reads a C string, which ends at the first NUL.
    const text = body.toString("latin1");
    const end = text.indexOf("\0");
    this.#text = end === -1 ? text : text.slice(0, end);
  }

  document(): void {
    this.#space();
    if (this.#peek() === "") throw new Found("empty", this.#at);
    this.#value();
    this.#space();
    if (this.#peek() !== "") throw new Found("more", this.#at);
  }

  #value(): void {
    const first = this.#peek();
    const literal = LITERALS[first];
    if (literal !== undefined) this.#literal(literal);
    else if (first === '"') this.#string();
    else if (first === "{") this.#object();
    else if (first === "[") this.#array();
    else this.#number();
  }

  #literal(word: string): void {
    for (const letter of word) if (!this.#take(letter)) throw new Found("value", this.#at);
  }

  #object(): void {
    this.#at++;
    this.#space();
    if (this.#take("}")) return;
    do {
      this.#space();
      if (this.#peek() !== '"') throw new Found("name", this.#at);
      this.#string();
      this.#space();
      if (!this.#take(":")) throw new Found("colon", this.#at);
      this.#space();
      this.#value();
      this.#space();
    } while (this.#take(","));
    if (!this.#take("}")) throw new Found("member", this.#at);
  }

  #array(): void {
    this.#at++;
    this.#space();
    if (this.#take("]")) return;
    do {
      this.#space();
      this.#value();
      this.#space();
    } while (this.#take(","));
    if (!this.#take("]")) throw new Found("element", this.#at);
  }

  #number(): void {
    this.#take("-");
    if (!this.#take("0") && this.#digits() === 0) throw new Found("value", this.#at);
    if (this.#take(".") && this.#digits() === 0) throw new Found("fraction", this.#at);
    if (!this.#take("e") && !this.#take("E")) return;
    if (!this.#take("+")) this.#take("-");
    if (this.#digits() === 0) throw new Found("exponent", this.#at);
  }

  #digits(): number {
    const start = this.#at;
    while (isDigit(this.#text.charCodeAt(this.#at))) this.#at++;
    return this.#at - start;
  }

  #string(): void {
    this.#at++;
    while (!this.#take('"')) {
      const next = this.#peek();
      if (next === "") throw new Found("quote", this.#at);
      if (next < " ") throw new Found("escape", this.#at);
      if (next === "\\") this.#escape();
      else this.#at++;
    }
  }

  /** Wrong ones are told by where they begin. */
  #escape(): void {
    const start = this.#at;
    this.#at++;
    const kind = this.#peek();
    this.#at++;
    if (kind !== "u") {
      if (kind === "" || !ESCAPES.includes(kind)) throw new Found("escape", start);
      return;
    }
    const unit = this.#hex(start);
    if (unit < 0xd800 || unit > 0xdbff) return;
    if (!this.#take("\\") || !this.#take("u")) throw new Found("surrogate", start);
    const second = this.#hex(start);
    if (second < 0xdc00 || second > 0xdfff) throw new Found("surrogate", start);
  }

  #hex(start: number): number {
    const digits = this.#text.slice(this.#at, this.#at + 4);
    if (!/^[0-9a-fA-F]{4}$/.test(digits)) throw new Found("hex", start);
    this.#at += 4;
    return Number.parseInt(digits, 16);
  }

  #space(): void {
    while (isSpace(this.#text.charCodeAt(this.#at))) this.#at++;
  }

  /** The next character; empty at the end. */
  #peek(): string {
    return this.#text[this.#at] ?? "";
  }

  #take(character: string): boolean {
    if (this.#peek() !== character) return false;
    this.#at++;
    return true;
  }
}

// By code, since a body may have millions of characters, and the loop waits meanwhile.

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39;
}

function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x09 || code === 0x0a || code === 0x0d;
}
