// Things kept by the bytes of a row: found through a hash, told apart by comparing every byte.
import type { Row } from "./query.ts";

/** Rows of equal hash that are kept. By chance there are two at most; whoever makes them up would make every look-up slow. */
const MAX_CHAIN = 32;

export type RowHash = (row: Row) => number;

/** What can be kept: it carries its row and the row's hash. */
export interface Keyed {
  readonly row: Row;
  readonly hash: number;
}

export class RowMap<T extends Keyed> {
  readonly #chains = new Map<number, T[]>();

  get(row: Row, hash: number): T | undefined {
    return this.#chains.get(hash)?.find((entry) => isEqualRow(entry.row, row));
  }

  /** Takes the place of the entry of an equal row. False: it is not kept, since too many others have its hash. */
  set(entry: T): boolean {
    const chain = this.#chains.get(entry.hash);
    if (chain === undefined) {
      this.#chains.set(entry.hash, [entry]);
      return true;
    }
    const at = chain.findIndex((other) => isEqualRow(other.row, entry.row));
    if (at < 0 && chain.length === MAX_CHAIN) return false;
    if (at < 0) chain.push(entry);
    else chain[at] = entry;
    return true;
  }

  /** Removes this very entry; one that took its place stays. */
  delete(entry: T): void {
    const chain = this.#chains.get(entry.hash);
    const at = chain?.indexOf(entry) ?? -1;
    if (chain === undefined || at < 0) return;
    chain.splice(at, 1);
    if (chain.length === 0) this.#chains.delete(entry.hash);
  }

  clear(): void {
    this.#chains.clear();
  }
}

/** True when both rows hold the same bytes in the same shapes. */
function isEqualRow(one: Row, other: Row): boolean {
  if (one.tensors.length !== other.tensors.length) return false;
  return one.tensors.every(({ shape, data }, index) => {
    const tensor = other.tensors[index];
    if (tensor === undefined || tensor.data.byteLength !== data.byteLength) return false;
    if (tensor.shape.length !== shape.length || !shape.every((size, axis) => size === tensor.shape[axis])) {
      return false;
    }
    return Buffer.compare(tensor.data, data) === 0;
  });
}

/** MurmurHash3 (32 bits) over the bytes of a row. Equal rows hash equally; shapes are left to the comparison. */
export function hashRow(row: Row): number {
  let hash = row.tensors.length;
  for (const { data } of row.tensors) hash = hashBytes(data, hash);
  return hash >>> 0;
}

function hashBytes(data: Uint8Array, seed: number): number {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const words = data.byteLength & ~3;
  let hash = seed;
  for (let at = 0; at < words; at += 4) hash = mix(hash, view.getInt32(at, true));
  let tail = 0;
  for (let at = words; at < data.byteLength; at += 1) tail = (tail << 8) | view.getUint8(at);
  return finish(mix(hash, tail) ^ data.byteLength);
}

function mix(hash: number, word: number): number {
  const scaled = Math.imul(word, 0xcc9e2d51);
  const mixed = hash ^ Math.imul((scaled << 15) | (scaled >>> 17), 0x1b873593);
  return (Math.imul((mixed << 13) | (mixed >>> 19), 5) + 0xe6546b64) | 0;
}

function finish(hash: number): number {
  const once = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  const twice = Math.imul(once ^ (once >>> 13), 0xc2b2ae35);
  return twice ^ (twice >>> 16);
}
