// Views of the pool that Node cuts small Buffers from: their own bytes go along, not the pool's others.
import { isMarkedAsUntransferable } from "node:worker_threads";
import { ALIGNMENT, type StateNode } from "../../../containers/closure-format.ts";
import type { Walk } from "./walk.ts";

/** Only Node itself marks buffers of this size: nobody may have them moved to another thread. */
export function isPool(buffer: ArrayBufferLike): boolean {
  return buffer.byteLength === Buffer.poolSize && isMarkedAsUntransferable(buffer);
}

/** Gives slices of a pool a buffer: those that overlap the same one, and all the pool where it is captured itself. */
export function placePooled(walk: Walk): void {
  for (const [buffer, slices] of walk.pooled) {
    const whole = walk.knownId(buffer);
    const sorted = slices.toSorted((a, b) => a.start - b.start);
    for (const { id, start } of sorted) {
      const node = walk.nodes[id];
      if (node?.kind === "view" && whole !== undefined) walk.nodes[id] = { ...node, buffer: ["#", whole] };
      if (node?.kind === "view" && whole === undefined) placeSlice(node, { id, start, buffer, walk });
    }
  }
}

interface PooledSlice {
  readonly id: number;
  readonly start: number;
  readonly buffer: ArrayBufferLike;
  readonly walk: Walk;
}

function placeSlice(node: StateNode & { readonly kind: "view" }, slice: PooledSlice): void {
  const { id, start, buffer, walk } = slice;
  let region = walk.regions.get(buffer);
  if (region === undefined || start >= region.end) {
    const end = regionEnd(walk.pooled.get(buffer) ?? [], start);
    // Typed arrays need their alignment; what lies before the slice stays zero.
    const from = start - (start % ALIGNMENT);
    region = { id: walk.reserve(), start: from, end };
    walk.regions.set(buffer, region);
    const bytes = new Uint8Array(end - from);
    bytes.set(new Uint8Array(buffer, start, end - start), start - from);
    walk.nodes[region.id] = { kind: "buffer", at: walk.data.add(bytes), length: bytes.length };
  }
  walk.nodes[id] = { ...node, buffer: ["#", region.id], offset: start - region.start };
}

/** Where the slices end that overlap, one after the other, from `start` on. */
function regionEnd(
  slices: readonly { readonly start: number; readonly end: number }[],
  start: number,
): number {
  let end = start;
  for (const each of slices.toSorted((a, b) => a.start - b.start))
    if (each.start === start || (each.start > start && each.start < end)) end = Math.max(end, each.end);
  return end;
}
