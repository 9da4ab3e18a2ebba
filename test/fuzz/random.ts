// Random values that a seed tells: the same seed gives the same requests.

export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** From 0 up to, but without, 1 (mulberry32). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  /** From 0 up to, but without, `end`. */
  int(end: number): number {
    return Math.floor(this.next() * end);
  }

  chance(share: number): boolean {
    return this.next() < share;
  }

  pick<T>(from: readonly [T, ...T[]]): T {
    return from[this.int(from.length)] ?? from[0];
  }

  bytes(length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => this.int(256)));
  }

  /** Any JSON value, nested at most `depth` deep. */
  json(depth = 3): unknown {
    const kind = this.int(depth > 0 ? 8 : 6);
    if (kind === 0) return null;
    if (kind === 1) return this.chance(0.5);
    if (kind === 2) return this.pick([0, -1, 1.5, 1e308, -0, 2 ** 31, 2 ** 53, 1e-320]);
    if (kind === 3) return this.next() * 10 ** (this.int(40) - 20);
    if (kind <= 5) return this.text();
    const length = this.int(5);
    if (kind === 6) return Array.from({ length }, () => this.json(depth - 1));
    return Object.fromEntries(Array.from({ length }, () => [this.text(), this.json(depth - 1)]));
  }

  text(): string {
    return this.pick([
      "",
      "x",
      "input",
      "käse",
      "\u0000",
      "💥",
      "\ud800",
      '"',
      "__proto__",
      "1",
      "a".repeat(this.int(300)),
    ]);
  }
}
