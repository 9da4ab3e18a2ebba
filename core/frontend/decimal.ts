// Doubles of decimals, as reading their text would round them, from their digits: in half the time of Number().
import { POWERS_OF_TEN } from "../query/float-text.ts";

/** So many digits are one 32-bit integer. */
export const INT32_DIGITS = 9;
/** More are left to Number(): a double never needs as many. */
const MOST_DIGITS = 2 * INT32_DIGITS;
/** Integers of so many digits are exact as doubles. */
const EXACT_DIGITS = 15;

/** high / 10^scale or, of more than nine digits, (high · 10^(digits - 9) + low) / 10^scale. */
export interface Decimal {
  /** The first nine digits, or all. */
  high: number;
  /** Up to nine more. */
  low: number;
  /** Digits without zeros in front. */
  digits: number;
  /** Below zero: times a power of ten. */
  scale: number;
}

/**
 * The nearest double, or with `isFloat` one whose nearest float is that of the nearest double; NaN where that takes more
 * than this.
 */
export function toDouble({ high, low, digits, scale }: Decimal, isFloat: boolean): number {
  const power = POWERS_OF_TEN[Math.abs(scale)];
  if (power === undefined || digits > MOST_DIGITS) return high === 0 ? 0 : Number.NaN;
  const shift = digits > INT32_DIGITS ? (POWERS_OF_TEN[digits - INT32_DIGITS] as number) : 1;
  const mantissa = high * shift + low;
  const value = scale < 0 ? mantissa * power : mantissa / power;
  // Both are exact: one operation rounds as reading the decimal would.
  if (digits <= EXACT_DIGITS) return value;
  if (!isFloat) return scale < 0 ? Number.NaN : quotient(high, shift, low, power);
  // Rounded three times, so that it is off by less than 2^-51 of it.
  const isSure = Math.fround(value * (1 - 2 ** -50)) === Math.fround(value * (1 + 2 ** -50));
  return isSure ? value : Number.NaN;
}

/** Veltkamp's constant: splits a double into halves whose products are exact. */
const SPLITTER = 2 ** 27 + 1;

/** What the rounded product of two doubles lacks (Dekker). */
function productError(one: number, other: number, product: number): number {
  const bigOne = one * SPLITTER;
  const oneHigh = bigOne - (bigOne - one);
  const oneLow = one - oneHigh;
  const bigOther = other * SPLITTER;
  const otherHigh = bigOther - (bigOther - other);
  const otherLow = other - otherHigh;
  return oneLow * otherLow - (product - oneHigh * otherHigh - oneLow * otherHigh - oneHigh * otherLow);
}

/** (high · shift + low) / power to about 100 bits, then rounded; NaN where those do not say which way. */
// oxlint-disable-next-line max-params
function quotient(high: number, shift: number, low: number, power: number): number {
  const product = high * shift;
  const sum = product + low;
  const rest = productError(high, shift, product) + (low - (sum - product));
  const first = sum / power;
  const back = first * power;
  const second = (sum - back - productError(first, power, back) + rest) / power;
  const slack = first * 2 ** -98;
  const value = first + (second - slack);
  return value === first + (second + slack) ? value : Number.NaN;
}
