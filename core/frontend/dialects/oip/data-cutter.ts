// Cuts the lists of numbers out of an inference request's JSON, read into packed memory straight from its bytes. What is
// left is short, and JSON as before, with each list's place in the order in its stead. It answers null to anything unusual
// or wrong: JSON.parse then decides, and words the error.
import type { Datatype } from "../../../../containers/protocol.ts";
import {
  CLOSE_LIST,
  CLOSE_OBJECT,
  COLON,
  JsonCursor,
  OPEN_LIST,
  OPEN_OBJECT,
  UNUSUAL,
  usual,
} from "../../json-cursor.ts";
import { NumberReader, type NumberType } from "../../number-reader.ts";

/** The data of an input, which came in the JSON. */
export interface NumberList {
  readonly datatype: Datatype;
  readonly count: number;
  /** Packed, in memory of its own. */
  readonly data: Uint8Array;
}

export interface CutBody {
  /** The JSON without the lists, a byte a character; UTF-8 as it came. */
  readonly rest: string;
  readonly lists: readonly NumberList[];
}

/** How the numbers of a datatype are read, and packed from what they were read as. */
interface Reading {
  readonly as: NumberType;
  readonly pack: (reader: NumberReader) => Uint8Array;
}

type SmallIntegers = new (numbers: ArrayLike<number>) => ArrayBufferView;

const AS_READ = (reader: NumberReader): Uint8Array => reader.pack();

function integer(create: SmallIntegers, min: number, max: number): Reading {
  const pack = (reader: NumberReader): Uint8Array => {
    const { numbers } = reader;
    for (let index = 0; index < numbers.length; index += 1) {
      const value = numbers[index] as number;
      if (!(value >= min && value <= max && Number.isInteger(value))) throw UNUSUAL;
    }
    return bytesOf(new create(numbers));
  };
  return { as: "FP64", pack };
}

/** Beyond 2^53 their digits are JSON.parse's to read. */
function wide(min: number): Reading {
  const pack = (reader: NumberReader): Uint8Array => {
    const { numbers } = reader;
    const halves = new Int32Array(numbers.length * 2);
    for (let index = 0; index < numbers.length; index += 1) {
      const value = numbers[index] as number;
      if (!(value >= min && Number.isSafeInteger(value))) throw UNUSUAL;
      halves[index * 2] = value;
      halves[index * 2 + 1] = Math.floor(value / 2 ** 32);
    }
    return bytesOf(halves);
  };
  return { as: "FP64", pack };
}

function bytesOf({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

const READINGS: ReadonlyMap<string, Reading> = new Map<Datatype, Reading>([
  ["FP32", { as: "FP32", pack: AS_READ }],
  ["FP64", { as: "FP64", pack: AS_READ }],
  ["INT32", { as: "INT32", pack: AS_READ }],
  ["BOOL", { as: "BOOL", pack: AS_READ }],
  ["INT8", integer(Int8Array, -(2 ** 7), 2 ** 7 - 1)],
  ["INT16", integer(Int16Array, -(2 ** 15), 2 ** 15 - 1)],
  ["UINT8", integer(Uint8Array, 0, 2 ** 8 - 1)],
  ["UINT16", integer(Uint16Array, 0, 2 ** 16 - 1)],
  ["UINT32", integer(Uint32Array, 0, 2 ** 32 - 1)],
  ["INT64", wide(-Infinity)],
  ["UINT64", wide(0)],
]);

/** False for types whose data is not cut out. */
export function isCut(datatype: string): boolean {
  return READINGS.has(datatype);
}

/** One body at a time. Keep one: its scratch memory is reused. */
export class DataCutter {
  readonly #cursor = new JsonCursor();
  readonly #readers = new Map<NumberType, NumberReader>();
  #lists: NumberList[] = [];
  #rest = "";
  /** Where in the body what is not in `rest` yet begins. */
  #kept = 0;

  /** Null: JSON.parse should look at the body as it is, or there is nothing to cut out of it. */
  cut(body: Buffer): CutBody | null {
    this.#cursor.begin(body);
    this.#lists = [];
    this.#rest = "";
    this.#kept = 0;
    try {
      return usual(() => this.#request());
    } finally {
      this.#cursor.end();
    }
  }

  #request(): CutBody {
    const cursor = this.#cursor;
    let hasInputs = false;
    cursor.expect(OPEN_OBJECT);
    do {
      cursor.skipName();
      const isInputs = cursor.isName("inputs");
      cursor.expect(COLON);
      if (!isInputs) {
        cursor.skipValue();
        continue;
      }
      if (hasInputs) throw UNUSUAL;
      hasInputs = true;
      cursor.expect(OPEN_LIST);
      do this.#input();
      while (cursor.hasMore(CLOSE_LIST));
    } while (cursor.hasMore(CLOSE_OBJECT));
    cursor.expectEnd();
    if (this.#lists.length === 0) throw UNUSUAL;
    return { rest: this.#rest + this.#text(cursor.body.length), lists: this.#lists };
  }

  #input(): void {
    const cursor = this.#cursor;
    let datatype: string | undefined;
    let hasData = false;
    cursor.expect(OPEN_OBJECT);
    do {
      cursor.skipName();
      const [isDatatype, isData] = [cursor.isName("datatype"), cursor.isName("data")];
      cursor.expect(COLON);
      if (isDatatype) {
        if (datatype !== undefined) throw UNUSUAL;
        datatype = cursor.name();
      } else if (isData) {
        // How to read it has to be known by now.
        if (hasData || datatype === undefined) throw UNUSUAL;
        hasData = true;
        this.#data(datatype as Datatype);
      } else {
        cursor.skipValue();
      }
    } while (cursor.hasMore(CLOSE_OBJECT));
  }

  #data(datatype: Datatype): void {
    const cursor = this.#cursor;
    const reading = READINGS.get(datatype);
    if (reading === undefined) {
      // A number would be taken for the place of a list.
      if (cursor.skipSpace() !== OPEN_LIST) throw UNUSUAL;
      cursor.skipValue();
      return;
    }
    cursor.skipSpace();
    this.#rest += this.#text(cursor.at) + String(this.#lists.length);
    cursor.expect(OPEN_LIST);
    const reader = this.#readerOf(reading.as);
    reader.begin();
    try {
      reader.lists();
      this.#lists.push({ datatype, count: reader.count, data: reading.pack(reader) });
    } finally {
      reader.end();
    }
    this.#kept = cursor.at;
  }

  #readerOf(type: NumberType): NumberReader {
    let reader = this.#readers.get(type);
    if (reader === undefined) {
      reader = new NumberReader(type, this.#cursor);
      this.#readers.set(type, reader);
    }
    return reader;
  }

  /** What is to stay, up to `end`. */
  #text(end: number): string {
    return this.#cursor.body.toString("latin1", this.#kept, end);
  }
}
