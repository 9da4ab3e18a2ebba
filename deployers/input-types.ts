// Names of input types with Clipper's short forms, and the static type of one input of each.
import type { InputType, JsonValue } from "../core/index.ts";

/** Names by what they mean: the long one and Clipper's short forms. */
interface Names {
  readonly integers: "integers" | "ints" | "integer" | "int" | "i";
  readonly floats: "floats" | "float" | "f";
  readonly doubles: "doubles" | "double" | "d";
  readonly bytes: "bytes" | "byte" | "b";
  readonly strings: "strings" | "string" | "strs" | "str" | "s";
  readonly json: "json";
}

type ValueInputType = Exclude<InputType, "tensor">;

/** An input type of a function: Clipper's five, also in its short forms ("doubles", "double", "d"), or "json". */
export type InputTypeName = Names[ValueInputType];

/** "d" gives "doubles". */
type LongInputType<T extends InputTypeName> = {
  [Long in ValueInputType]: T extends Names[Long] ? Long : never;
}[ValueInputType];

const LONG_NAMES: { readonly [T in InputTypeName]: LongInputType<T> } = {
  integers: "integers",
  ints: "integers",
  integer: "integers",
  int: "integers",
  i: "integers",
  floats: "floats",
  float: "floats",
  f: "floats",
  doubles: "doubles",
  double: "doubles",
  d: "doubles",
  bytes: "bytes",
  byte: "bytes",
  b: "bytes",
  strings: "strings",
  string: "strings",
  strs: "strings",
  str: "strings",
  s: "strings",
  json: "json",
};

/** A list of numbers, plain or typed; the client writes either as JSON. */
export type NumberList =
  | readonly number[]
  | Int8Array
  | Int16Array
  | Int32Array
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | Float32Array
  | Float64Array;

interface InputValues {
  readonly integers: NumberList;
  readonly floats: NumberList;
  readonly doubles: NumberList;
  readonly bytes: Uint8Array;
  readonly strings: string;
  readonly json: JsonValue;
}

/** What `predict` takes for an input type. Bytes travel as base64; the client encodes them. */
export type InputOf<T extends InputTypeName> = InputValues[LongInputType<T>];

interface FunctionValues {
  readonly integers: number[];
  readonly floats: number[];
  readonly doubles: number[];
  readonly bytes: Buffer;
  readonly strings: string;
  readonly json: JsonValue;
}

/** What a function gets for one input of an input type. */
export type ValueOf<T extends InputTypeName> = FunctionValues[LongInputType<T>];

/** Every name there is. */
/** For messages: the long names only. */
export const SHOWN_INPUT_TYPES = '"integers", "floats", "doubles", "bytes", "strings" or "json"';

export const INPUT_TYPE_NAMES: readonly InputTypeName[] = Object.keys(LONG_NAMES) as InputTypeName[];

export function longInputType(name: InputTypeName): ValueInputType {
  return LONG_NAMES[name];
}
