// How a replica does: one that fails batch after batch where another answers is left out, and tried again now and then.

/** After so many failed batches in a row it counts as failing. */
const FAILING_AFTER = 3;
/** Pause of an ejected replica: doubles with every probe that is not answered. */
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 60_000;

export class Health {
  /** Called whenever it is ejected, or gets batches again. */
  onChange: (() => void) | undefined;
  #failures = 0;
  #failedAt = -Infinity;
  #pauseMs = 0;
  #probeAt = -Infinity;
  #isProbed = false;
  #ejectedFor: string | undefined;

  /** It failed the last few batches, whoever is to blame. */
  get isFailing(): boolean {
    return this.#failures >= FAILING_AFTER;
  }

  /** Why it gets no batches; undefined: it does. */
  get ejectedFor(): string | undefined {
    return this.#ejectedFor;
  }

  /** A probe was sent, and has not failed: it was not answered yet, or was lost. */
  get isProbed(): boolean {
    return this.#isProbed;
  }

  /** Left out, and not to be tried yet. @param now `performance.now()` ms */
  isResting(now: number): boolean {
    return this.#ejectedFor !== undefined && now < this.#probeAt;
  }

  /**
   * A batch that was sent at `sentAt` failed as a whole. Those that were on their way together count as one, so that a
   * replica which holds many is not given up for one bad moment.
   */
  noteFailure(sentAt: number, now: number): void {
    if (sentAt < this.#failedAt) return;
    this.#failedAt = now;
    this.#failures += 1;
  }

  /** What failed was the fault of the queries: a probe that failed says nothing, and there is another one soon. */
  acquit(now: number): void {
    if (this.#ejectedFor === undefined) this.#failures = 0;
    else this.#pause(FIRST_PAUSE_MS, now);
  }

  /**
   * A batch was sent to it: where that is a probe, the next one has to wait, since this one may end without a word on the
   * replica (no time left, a connection lost).
   */
  noteSent(now: number): void {
    if (this.#ejectedFor === undefined || this.isResting(now)) return;
    this.#pause(this.#nextPauseMs, now);
    this.#isProbed = true;
  }

  /** It gets batches as any other, and is judged anew. */
  reinstate(): void {
    this.#failures = 0;
    this.#pauseMs = 0;
    this.#isProbed = false;
    if (this.#ejectedFor === undefined) return;
    this.#ejectedFor = undefined;
    this.onChange?.();
  }

  /** It answered a batch. True when it was ejected until then. */
  noteAnswer(): boolean {
    const wasEjected = this.#ejectedFor !== undefined;
    this.reinstate();
    return wasEjected;
  }

  /** Leaves it out for a while, longer every time in a row. Returns for how many ms. */
  eject(why: string, now: number): number {
    // That of a probe is longer already.
    this.#pause(this.#isProbed ? this.#pauseMs : this.#nextPauseMs, now);
    const isNew = this.#ejectedFor === undefined;
    this.#ejectedFor = why;
    if (isNew) this.onChange?.();
    return this.#pauseMs;
  }

  get #nextPauseMs(): number {
    return Math.min(LONGEST_PAUSE_MS, Math.max(FIRST_PAUSE_MS, 2 * this.#pauseMs));
  }

  #pause(ms: number, now: number): void {
    this.#isProbed = false;
    this.#pauseMs = ms;
    this.#probeAt = now + ms;
  }
}
