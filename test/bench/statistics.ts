// Medians and spreads over the repeats of one run.

export interface Figure {
  readonly median: number;
  /** Half the distance between the lower and the upper quartile, as a share of the median. */
  readonly spread: number;
}

function figure(values: readonly number[]): Figure {
  const sorted = values.toSorted((one, other) => one - other);
  const median = quantile(sorted, 0.5);
  return { median, spread: (quantile(sorted, 0.75) - quantile(sorted, 0.25)) / 2 / Math.abs(median || 1) };
}

function quantile(sorted: readonly number[], share: number): number {
  const at = (sorted.length - 1) * share;
  const low = sorted[Math.floor(at)] ?? Number.NaN;
  const high = sorted[Math.ceil(at)] ?? Number.NaN;
  return low + (high - low) * (at - Math.floor(at));
}

/** Between two of the values where it falls between them. */
export function quantileOf(values: readonly number[], share: number): number {
  return quantile(
    values.toSorted((one, other) => one - other),
    share,
  );
}

/** Repeats of the same thing, value by value. */
export function figureOf<T>(samples: readonly T[], value: (sample: T) => number): Figure {
  return figure(samples.map(value));
}

/** The same of two things, one over the other. */
export function ratioOf<T>(over: readonly T[], under: readonly T[], value: (sample: T) => number): Figure {
  return ratio(over.map(value), under.map(value));
}

/** Ratios are taken round by round: what the machine does to one, it does to the other. */
export function ratio(over: readonly number[], under: readonly number[]): Figure {
  return figure(over.map((value, index) => value / (under[index] ?? Number.NaN)));
}
