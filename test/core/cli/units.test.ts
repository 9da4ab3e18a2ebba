import { expect, test } from "vitest";
import { bytesText, durationText, percentText, threeDigits } from "../../../core/cli/units.ts";

test("sizes, times and shares are short, and as exact as they are known", () => {
  expect([0, 512, 2048, 163.4 * 2 ** 20, 3 * 2 ** 40].map(bytesText)).toEqual([
    "0 B",
    "512 B",
    "2.00 KiB",
    "163 MiB",
    "3.00 TiB",
  ]);
  expect([0, 0.4216, 12.34, 3_120, 125_000, 7_500_000, 200_000_000].map(durationText)).toEqual([
    "0 ms",
    "0.422 ms",
    "12.3 ms",
    "3.12 s",
    "2 min 5 s",
    "2 h 5 min",
    "2 d 7 h",
  ]);
  expect([0, 0.00001, 99.94, 99.96, 123.4, -1.5].map(threeDigits)).toEqual([
    "0",
    "0",
    "99.9",
    "100.0",
    "123",
    "-1.50",
  ]);
  expect([0, 0.004, 0.12, 3.5].map(percentText)).toEqual(["0%", "0.4%", "12%", "350%"]);
});
