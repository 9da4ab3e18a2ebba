// Fields of an inference request's JSON, checked one by one.
import type { Datatype, JsonValue } from "../../../../containers/protocol.ts";
import { DATATYPE_BYTES, DATATYPES } from "../../../../containers/protocol.ts";
import { elementCount } from "../../../../containers/tensors.ts";
import { InvalidRequestError } from "../../../errors.ts";
import { describeValue } from "../../../query/rows.ts";

export type Fields = { readonly [key: string]: JsonValue };

/**
 * Some clients write whole numbers as text, since the protocol's gRPC form has parameters of 64 bits. Null stands for what
 * is not there here and elsewhere: clients made from schemas write every field.
 */
export function natural(value: JsonValue | undefined, field: string): number | undefined {
  if (value === undefined || value === null) return undefined;
  const number = typeof value === "string" && /^\d{1,15}$/.test(value) ? Number(value) : value;
  if (typeof number === "number" && Number.isSafeInteger(number) && number >= 0) return number;
  throw new InvalidRequestError(`${field}: expected a whole number from 0, got ${describeValue(value)}`);
}

export function flag(value: JsonValue | undefined, field: string): boolean | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value === "boolean") return value;
  throw new InvalidRequestError(`${field}: expected true or false, got ${describeValue(value)}`);
}

export function parametersOf(fields: Fields, place: string): Fields {
  const { parameters } = fields;
  return parameters === undefined || parameters === null ? {} : objectOf(parameters, place);
}

export function objectOf(value: JsonValue, place: string): Fields {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Fields;
  throw new InvalidRequestError(`${place}: expected an object, got ${describeValue(value)}`);
}

export function datatypeOf({ name, datatype }: Fields): Datatype {
  if (typeof datatype === "string" && Object.hasOwn(DATATYPE_BYTES, datatype)) return datatype as Datatype;
  const known = DATATYPES.join(", ");
  throw new InvalidRequestError(
    `input "${nameOf(name)}": expected a datatype of ${known}; got ${describeValue(datatype)}`,
  );
}

export function shapeOf({ name, shape }: Fields): readonly number[] {
  const isShape =
    Array.isArray(shape) &&
    shape.length <= MAX_RANK &&
    shape.every((size) => typeof size === "number" && Number.isSafeInteger(size) && size >= 0);
  if (isShape && Number.isSafeInteger(elementCount(shape as readonly number[])))
    return shape as readonly number[];
  throw new InvalidRequestError(
    `input "${nameOf(name)}": expected a shape of whole numbers from 0, got ${shapeText(shape)}`,
  );
}

const MAX_RANK = 32;

function nameOf(name: JsonValue | undefined): string {
  return typeof name === "string" ? name.slice(0, 100) : "";
}

function shapeText(shape: unknown): string {
  return Array.isArray(shape) ? `[${shape.slice(0, 8).map(describeValue).join(",")}]` : describeValue(shape);
}
