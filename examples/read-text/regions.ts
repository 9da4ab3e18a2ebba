// Lines of text in the detector's map: connected regions, the tightest slanted box around each, grown to the letters.
import type { Box } from "./pixels.ts";

/** How sure the detector is of each pixel, 0 to 1, row by row. */
export interface ProbabilityMap {
  readonly data: ArrayLike<number>;
  readonly width: number;
  readonly height: number;
}

export interface Region {
  readonly box: Box;
  /** Mean of the map inside. */
  readonly score: number;
}

interface Point {
  readonly x: number;
  readonly y: number;
}

/** As PaddleOCR has them. */
const MIN_PIXEL = 0.3;
const MIN_SCORE = 0.6;
/** The detector marks the core of a line: area times this, divided by the circumference, is added on each side. */
const GROWTH = 1.6;
/** Thinner ones are noise. */
const MIN_SIDE = 4;

/** The lines of text, from top to bottom. */
export function findRegions(map: ProbabilityMap): Region[] {
  const seen = new Uint8Array(map.width * map.height);
  const regions: Region[] = [];
  for (let start = 0; start < seen.length; start++) {
    if (seen[start] === 1 || (map.data[start] ?? 0) <= MIN_PIXEL) continue;
    const pixels = flood(map, start, seen);
    const score = pixels.reduce((sum, pixel) => sum + (map.data[pixel] ?? 0), 0) / pixels.length;
    const box = tightBox(hull(pixels, map.width));
    if (score >= MIN_SCORE && Math.min(box.width, box.height) >= MIN_SIDE) {
      regions.push({ box: grown(box), score });
    }
  }
  return regions.toSorted(({ box: a }, { box: b }) => a.y - b.y);
}

/** All pixels that hang together with `start`. */
function flood(map: ProbabilityMap, start: number, seen: Uint8Array): number[] {
  const pixels = [start];
  seen[start] = 1;
  // Grows while it is walked.
  for (const pixel of pixels) {
    for (const next of neighbours(map, pixel)) {
      if (seen[next] === 1 || (map.data[next] ?? 0) <= MIN_PIXEL) continue;
      seen[next] = 1;
      pixels.push(next);
    }
  }
  return pixels;
}

function neighbours({ width, height }: ProbabilityMap, pixel: number): number[] {
  const x = pixel % width;
  const y = (pixel - x) / width;
  const columns = [x - 1, x, x + 1].filter((column) => column >= 0 && column < width);
  const rows = [y - 1, y, y + 1].filter((row) => row >= 0 && row < height);
  return rows.flatMap((row) => columns.map((column) => row * width + column));
}

/** The convex hull (monotone chain) of the pixels' corners. */
function hull(pixels: readonly number[], width: number): Point[] {
  const points = pixels
    .flatMap((pixel) => {
      const x = pixel % width;
      const y = (pixel - x) / width;
      return [
        { x, y },
        { x: x + 1, y },
        { x, y: y + 1 },
        { x: x + 1, y: y + 1 },
      ];
    })
    .toSorted((a, b) => a.x - b.x || a.y - b.y);
  return [...chain(points), ...chain(points.toReversed())];
}

function chain(points: readonly Point[]): Point[] {
  const kept: Point[] = [];
  for (const point of points) {
    while (kept.length > 1 && !turnsLeft(kept.at(-2), kept.at(-1), point)) kept.pop();
    kept.push(point);
  }
  return kept.slice(0, -1);
}

function turnsLeft(a: Point | undefined, b: Point | undefined, c: Point): boolean {
  if (a === undefined || b === undefined) return true;
  return (b.x - a.x) * (c.y - a.y) - (b.y - a.y) * (c.x - a.x) > 0;
}

/** The smallest box around a hull: one of its sides lies along one of the hull's. */
function tightBox(corners: readonly Point[]): Box {
  const boxes = corners.map((corner, index) => {
    const next = corners[(index + 1) % corners.length] ?? corner;
    return boxAt(corners, Math.atan2(next.y - corner.y, next.x - corner.x));
  });
  const best = boxes.reduce((a, b) => (b.width * b.height < a.width * a.height ? b : a));
  return lying(best);
}

function boxAt(corners: readonly Point[], angle: number): Box {
  const cos = Math.cos(angle);
  const sin = Math.sin(angle);
  const along = corners.map(({ x, y }) => x * cos + y * sin);
  const across = corners.map(({ x, y }) => y * cos - x * sin);
  const [left, right] = [Math.min(...along), Math.max(...along)];
  const [top, bottom] = [Math.min(...across), Math.max(...across)];
  const [u, v] = [(left + right) / 2, (top + bottom) / 2];
  return { x: u * cos - v * sin, y: u * sin + v * cos, width: right - left, height: bottom - top, angle };
}

/** The same box with its width nearest to the horizontal: text that stands upright reads from left to right. */
function lying(box: Box): Box {
  const quarters = Math.round(box.angle / (Math.PI / 2));
  const angle = box.angle - (quarters * Math.PI) / 2;
  return quarters % 2 === 0 ? { ...box, angle } : { ...box, angle, width: box.height, height: box.width };
}

function grown(box: Box): Box {
  const { width, height } = box;
  const margin = (GROWTH * width * height) / (2 * (width + height));
  return { ...box, width: width + 2 * margin, height: height + 2 * margin };
}
