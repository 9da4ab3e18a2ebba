// Reads the server's metrics as they are scraped, and what came between two scrapes.

/** One sample of the text. */
export interface MetricSample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** Samples of Prometheus text; comments and what is not understood are left out. */
export function parseMetrics(text: string): readonly MetricSample[] {
  return text.split("\n").flatMap((line) => {
    const [, name, labels = "", value] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
    if (name === undefined || value === undefined) return [];
    return [{ name, labels: parseLabels(labels), value: value === "+Inf" ? Infinity : Number(value) }];
  });
}

function parseLabels(text: string): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Array.from(text.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g), ([, name = "", value = ""]) => [
      name,
      value.replaceAll(/\\(.)/g, (_, escaped: string) => (escaped === "n" ? "\n" : escaped)),
    ]),
  );
}

/** A histogram: how many values were at most each bound, which rise. */
export interface Buckets {
  readonly bounds: readonly number[];
  /** Up to and with each bound. */
  readonly counts: readonly number[];
  readonly sum: number;
  readonly count: number;
}

type Match = (labels: Readonly<Record<string, string>>) => boolean;

/** The sum of a counter's or gauge's samples whose labels match. */
export function total(samples: readonly MetricSample[], name: string, match: Match): number {
  let sum = 0;
  for (const sample of samples) if (sample.name === name && match(sample.labels)) sum += sample.value;
  return sum;
}

/** One histogram of all series whose labels match. */
export function buckets(samples: readonly MetricSample[], name: string, match: Match): Buckets {
  const byBound = new Map<number, number>();
  for (const { name: own, labels, value } of samples) {
    if (own !== `${name}_bucket` || !match(labels)) continue;
    const bound = labels["le"] === "+Inf" ? Infinity : Number(labels["le"]);
    byBound.set(bound, (byBound.get(bound) ?? 0) + value);
  }
  const bounds = [...byBound.keys()].toSorted((one, other) => one - other);
  return {
    bounds,
    counts: bounds.map((bound) => byBound.get(bound) ?? 0),
    sum: total(samples, `${name}_sum`, match),
    count: total(samples, `${name}_count`, match),
  };
}

/** What came from `before` to `after`; a server that was started anew counts from nothing. */
export function difference(after: Buckets, before: Buckets | undefined): Buckets {
  if (before === undefined || before.count > after.count) return after;
  return {
    bounds: after.bounds,
    counts: after.counts.map(
      (count, at) => count - (before.counts[before.bounds.indexOf(after.bounds[at] ?? 0)] ?? 0),
    ),
    sum: after.sum - before.sum,
    count: after.count - before.count,
  };
}

/** Within its bucket as if values were spread evenly; undefined without values. Above the last bound: that bound. */
export function quantile({ bounds, counts, count }: Buckets, share: number): number | undefined {
  if (count <= 0) return undefined;
  const rank = share * count;
  const at = counts.findIndex((cumulative) => cumulative >= rank);
  const upper = bounds[at] ?? Infinity;
  const lower = at > 0 ? (bounds[at - 1] ?? 0) : 0;
  if (upper === Infinity) return lower;
  const below = at > 0 ? (counts[at - 1] ?? 0) : 0;
  const inside = (counts[at] ?? 0) - below;
  return inside === 0 ? upper : lower + ((rank - below) / inside) * (upper - lower);
}
