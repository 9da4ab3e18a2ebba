// The shortest decimal that reads back as the same FP32, FP16 or BF16 number: 0.1, where JavaScript prints
// 0.10000000149011612 for the float32 nearest to it.
import type { HalfView } from "./elements.ts";

/** 10^0 to 10^22: all powers of ten that a double holds exactly. */
export const POWERS_OF_TEN: readonly number[] = Array.from({ length: 23 }, (_, exponent) =>
  Number(`1e${exponent}`),
);

function roundToHalf(value: number): number {
  const cell = new DataView(new ArrayBuffer(2)) as HalfView;
  cell.setFloat16(0, value, true);
  return cell.getFloat16(0, true);
}

/** Rounds to the upper 16 bits of FP32, ties to even. */
function roundToBrain(value: number): number {
  const cell = new DataView(new ArrayBuffer(4));
  cell.setFloat32(0, value);
  const bits = cell.getUint32(0);
  cell.setUint32(0, (bits + 0x7fff + ((bits >>> 16) & 1)) & 0xffff0000);
  return cell.getFloat32(0);
}

interface Precision {
  readonly round: (value: number) => number;
  /** So many digits always survive the way into the format and back; `most` always suffice. */
  readonly fewest: number;
  readonly most: number;
}

const PRECISIONS: Readonly<Record<"FP32" | "FP16" | "BF16", Precision>> = {
  FP32: { round: Math.fround, fewest: 6, most: 9 },
  FP16: { round: roundToHalf, fewest: 3, most: 5 },
  BF16: { round: roundToBrain, fewest: 2, most: 4 },
};

/**
 * JSON text of a number that the format holds exactly; null for what JSON cannot say.
 *
 * Tries 6, 7, 8 and 9 digits (FP32): about 0.1 µs a number, most of which is printing the double that is found.
 */
export function floatText(value: number, datatype: "FP32" | "FP16" | "BF16"): string {
  if (!Number.isFinite(value)) return "null";
  const { round, fewest, most } = PRECISIONS[datatype];
  const magnitude = Math.abs(value);
  if (magnitude < 2 ** 24 && Number.isInteger(value)) return String(value);
  const exponent = Math.floor(Math.log10(magnitude));
  // Below the smallest normal FP32 fewer digits survive, and fewer may do.
  for (let digits = magnitude < 2 ** -126 ? 1 : fewest; digits <= most; digits += 1) {
    const shorter = toDigits(value, digits, digits - 1 - exponent);
    if (round(shorter) === value) return String(shorter);
  }
  return String(value);
}

/**
 * The double nearest to `value` cut to so many digits, `scale` of them behind the point. Up to 10^22 powers of ten are
 * exact, so that one division or product rounds once; String() then prints just those digits.
 */
function toDigits(value: number, digits: number, scale: number): number {
  if (scale >= 0 && scale <= 22) {
    const power = POWERS_OF_TEN[scale] as number;
    return Math.round(value * power) / power;
  }
  if (scale < 0 && scale >= -22) {
    const power = POWERS_OF_TEN[-scale] as number;
    return Math.round(value / power) * power;
  }
  return Number(value.toPrecision(digits));
}
