// Parses bodies of plain numbers straight from bytes into packed rows. It answers null to anything unusual or wrong:
// JSON.parse then decides, and words the error.
import type { Datatype, Manifest } from "../../../containers/protocol.ts";
import { DATATYPE_BYTES } from "../../../containers/protocol.ts";
import { elementCount } from "../../../containers/tensors.ts";
import type { Row } from "../../query/query.ts";
import {
  CLOSE_LIST,
  CLOSE_OBJECT,
  COLON,
  JsonCursor,
  OPEN_LIST,
  OPEN_OBJECT,
  UNUSUAL,
  usual,
} from "../json-cursor.ts";
import { isDeeperThan } from "../json-text.ts";
import { NumberReader, type NumberType } from "../number-reader.ts";

/** What a bundle's rows look like, where this parser can read them. */
export interface NumberLayout {
  readonly datatype: NumberType;
  /** Shape of a row; [-1]: any length. */
  readonly shape: readonly number[];
  readonly isRagged: boolean;
  /** Arrays may be nested as the shape is. */
  readonly isNested: boolean;
}

/** How a dialect words its bodies. */
export interface NumberForm {
  /** Member that holds one row; undefined: none does. */
  readonly one?: string;
  /** Member that holds a list of rows. */
  readonly list: string;
  /** A body that is a list is one row itself. */
  readonly hasBareRow?: boolean;
  /** Members `version` and `timeout_ms` are options; else they are like all others, which nobody reads. */
  readonly hasOptions?: boolean;
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
export function numberLayout({ contract, inputType, schemas }: Manifest): NumberLayout | undefined {
  const [input, second] = contract.inputs;
  if (input === undefined || second !== undefined || !PARSED.has(input.datatype)) return undefined;
  // Schemas are about JSON values, which are not made here.
  if (schemas?.input !== undefined) return undefined;
  const { shape } = input;
  const isFree = shape.includes(-1);
  if (shape.length === 0 || shape.includes(0) || (isFree && shape.length > 1)) return undefined;
  return {
    datatype: input.datatype as NumberLayout["datatype"],
    shape,
    isRagged: input.isRagged === true,
    isNested: inputType === "tensor",
  };
}

/** Members that nobody reads are looked at with JSON.parse up to this length. */
const MAX_OTHER_LENGTH = 256;
const MAX_OTHER_DEPTH = 16;

interface Settings {
  readonly form: NumberForm;
  readonly maxRows: number;
}

/** Parsers of one dialect's bodies, each kept as long as the manifest that it reads for. */
export class NumberParsers {
  readonly #settings: Settings;
  /** null: not for the number parser. */
  readonly #parsers = new WeakMap<Manifest, NumberParser | null>();

  constructor(settings: Settings) {
    this.#settings = settings;
  }

  /** The body as packed rows, or null when JSON.parse should look at it. */
  parse(manifest: Manifest, body: Buffer): NumberBody | null {
    let parser = this.#parsers.get(manifest);
    if (parser === undefined) {
      const layout = numberLayout(manifest);
      parser = layout === undefined ? null : new NumberParser(layout, this.#settings);
      this.#parsers.set(manifest, parser);
    }
    return parser === null ? null : parser.parse(body);
  }
}

/** Parses one body at a time. Keep one: its scratch memory is reused. */
export class NumberParser {
  readonly #layout: NumberLayout;
  readonly #form: NumberForm;
  readonly #rowLength: number;
  readonly #maxRows: number;
  readonly #cursor = new JsonCursor();
  readonly #reader: NumberReader;

  constructor(layout: NumberLayout, { form, maxRows }: Settings) {
    this.#layout = layout;
    this.#form = form;
    this.#maxRows = maxRows;
    this.#rowLength = layout.shape[0] === -1 ? -1 : elementCount(layout.shape);
    this.#reader = new NumberReader(layout.datatype, this.#cursor, this.#rowLength);
  }

  /** The body as packed rows, or null when JSON.parse should look at it. */
  parse(body: Buffer): NumberBody | null {
    this.#cursor.begin(body);
    this.#reader.begin();
    try {
      return usual(() => this.#parseBody());
    } finally {
      this.#cursor.end();
      this.#reader.end();
    }
  }

  #parseBody(): NumberBody {
    const cursor = this.#cursor;
    if (this.#form.hasBareRow === true && cursor.skipSpace() === OPEN_LIST) return this.#bareRow();
    let body: Pick<NumberBody, "rows" | "memory" | "isBatch"> | undefined;
    let version: string | undefined;
    let timeoutMs: number | undefined;
    cursor.expect(OPEN_OBJECT);
    do {
      const key = cursor.name();
      cursor.expect(COLON);
      if (key === this.#form.one || key === this.#form.list) {
        if (body !== undefined) throw UNUSUAL;
        const isBatch = key === this.#form.list;
        body = this.#rowsOf(isBatch ? this.#batch() : [this.#row()], isBatch);
      } else if (this.#form.hasOptions !== true) {
        this.#other();
      } else if (key === "version") {
        version = cursor.name();
      } else if (key === "timeout_ms") {
        timeoutMs = this.#scalar();
      } else {
        throw UNUSUAL;
      }
    } while (cursor.hasMore(CLOSE_OBJECT));
    cursor.expectEnd();
    if (body === undefined) throw UNUSUAL;
    return { ...body, version, timeoutMs };
  }

  #bareRow(): NumberBody {
    const rows = this.#rowsOf([this.#row()], false);
    this.#cursor.expectEnd();
    return { ...rows, version: undefined, timeoutMs: undefined };
  }

  /** A small member that nobody reads. */
  #other(): void {
    const cursor = this.#cursor;
    const start = cursor.at;
    cursor.skipValue();
    const value = cursor.body.subarray(start, cursor.at);
    if (value.length > MAX_OTHER_LENGTH || isDeeperThan(value, MAX_OTHER_DEPTH)) throw UNUSUAL;
    if (value.some((byte) => byte > 0x7f)) throw UNUSUAL;
    try {
      JSON.parse(value.toString("latin1"));
    } catch {
      throw UNUSUAL;
    }
  }

  #scalar(): number {
    this.#cursor.skipSpace();
    const value = this.#reader.number();
    if (!Number.isFinite(value)) throw UNUSUAL;
    return value;
  }

  /** Reads the rows of a list; gives their lengths. */
  #batch(): readonly number[] {
    const cursor = this.#cursor;
    cursor.expect(OPEN_LIST);
    const lengths: number[] = [];
    do {
      if (lengths.length === this.#maxRows) throw UNUSUAL;
      lengths.push(this.#row());
    } while (cursor.hasMore(CLOSE_LIST));
    return lengths;
  }

  /** Copies the rows of these lengths, which have been read, out of the scratch memory. */
  #rowsOf(lengths: readonly number[], isBatch: boolean): Pick<NumberBody, "rows" | "memory" | "isBatch"> {
    const memory = this.#reader.pack();
    const width = DATATYPE_BYTES[this.#layout.datatype];
    let from = 0;
    const rows = lengths.map((length) => {
      const data = memory.subarray(from, from + length * width);
      from += length * width;
      return this.#rowOf(data, length);
    });
    return { rows, memory, isBatch };
  }

  #rowOf(data: Uint8Array, length: number): Row {
    const { shape, isRagged } = this.#layout;
    const isFree = this.#rowLength === -1;
    return {
      tensors: [{ shape: isFree ? [length] : shape, data }],
      key: isFree && !isRagged ? String(length) : "",
    };
  }

  /** Reads one row behind those before it; gives its length. */
  #row(): number {
    const reader = this.#reader;
    const start = reader.count;
    this.#cursor.expect(OPEN_LIST);
    const { shape, isNested } = this.#layout;
    if (isNested && shape.length > 1 && this.#cursor.skipSpace() === OPEN_LIST) this.#nested(0);
    else reader.list();
    const length = reader.count - start;
    if (this.#rowLength !== -1 && length !== this.#rowLength) throw UNUSUAL;
    return length;
  }

  /** Behind the "[" of axis `axis`: as many arrays as the shape says. */
  #nested(axis: number): void {
    const { shape } = this.#layout;
    const size = shape[axis] as number;
    const inner = shape[axis + 1] as number;
    for (let index = 0; index < size; index += 1) {
      this.#cursor.expect(OPEN_LIST);
      if (axis + 2 < shape.length) {
        this.#nested(axis + 1);
      } else {
        const before = this.#reader.count;
        this.#reader.list();
        if (this.#reader.count - before !== inner) throw UNUSUAL;
      }
      if (this.#cursor.hasMore(CLOSE_LIST) !== index < size - 1) throw UNUSUAL;
    }
  }
}
