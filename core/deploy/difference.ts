// Compares an output with the expected one: numbers within a tolerance, everything else exactly, at any depth.
import type { JsonValue } from "../../containers/protocol.ts";

/** Where two values differ first. */
export interface Difference {
  /** "output", "output[3]", "output.label". */
  readonly path: string;
  /** Undefined: nothing was expected there. */
  readonly expected?: JsonValue;
  /** Undefined: nothing came there. */
  readonly got?: JsonValue;
}

/**
 * First difference, or undefined when `got` is as expected.
 * @param tolerance largest allowed |got - expected| / max(1, |expected|) of a number
 */
export function findDifference(
  expected: JsonValue,
  got: JsonValue,
  tolerance: number,
): Difference | undefined {
  return differ(expected, got, { tolerance, path: "output" });
}

interface Place {
  readonly tolerance: number;
  readonly path: string;
}

function differ(expected: JsonValue, got: JsonValue, place: Place): Difference | undefined {
  if (typeof expected === "number" && typeof got === "number") {
    const isClose = Math.abs(got - expected) <= place.tolerance * Math.max(1, Math.abs(expected));
    return isClose ? undefined : { path: place.path, expected, got };
  }
  if (isList(expected) && isList(got)) return differList(expected, got, place);
  if (isObject(expected) && isObject(got)) return differObject(expected, got, place);
  return expected === got ? undefined : { path: place.path, expected, got };
}

function differList(
  expected: readonly JsonValue[],
  got: readonly JsonValue[],
  { tolerance, path }: Place,
): Difference | undefined {
  for (let index = 0; index < Math.max(expected.length, got.length); index++) {
    const found = differMember(expected[index], got[index], { tolerance, path: `${path}[${index}]` });
    if (found !== undefined) return found;
  }
  return undefined;
}

function differObject(
  expected: { readonly [key: string]: JsonValue },
  got: { readonly [key: string]: JsonValue },
  { tolerance, path }: Place,
): Difference | undefined {
  for (const key of new Set([...Object.keys(expected), ...Object.keys(got)])) {
    const member = /^[A-Za-z_]\w*$/.test(key) ? `${path}.${key}` : `${path}[${JSON.stringify(key)}]`;
    const found = differMember(
      Object.hasOwn(expected, key) ? expected[key] : undefined,
      Object.hasOwn(got, key) ? got[key] : undefined,
      { tolerance, path: member },
    );
    if (found !== undefined) return found;
  }
  return undefined;
}

function differMember(
  expected: JsonValue | undefined,
  got: JsonValue | undefined,
  place: Place,
): Difference | undefined {
  if (expected === undefined) return got === undefined ? undefined : { path: place.path, got };
  if (got === undefined) return { path: place.path, expected };
  return differ(expected, got, place);
}

function isList(value: JsonValue): value is readonly JsonValue[] {
  return Array.isArray(value);
}

function isObject(value: JsonValue): value is { readonly [key: string]: JsonValue } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
