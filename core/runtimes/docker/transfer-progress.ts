// How far a pull or a push has come, over all its layers, from what the engine says of each.
import type { EngineMessage } from "../engine.ts";

const PERCENT_STEP = 10;

interface Layer {
  readonly current: number;
  /** undefined until the engine says it. */
  readonly total: number | undefined;
}

export class TransferProgress {
  readonly #layers = new Map<string, Layer>();
  #percent = 0;

  /** Percent, in steps of ten, when it is more than said before. */
  take({ id, status = "", progressDetail }: EngineMessage): number | undefined {
    if (id === undefined) return undefined;
    // Of a layer that is there already nothing moves.
    if (/already exists$|^Mounted from /i.test(status)) this.#layers.delete(id);
    else if (/^(?:Pulling fs layer|Waiting|Preparing)$/.test(status)) this.#add(id);
    // Unpacking repeats what downloading has counted.
    else if (/^(?:Downloading|Pushing)$/.test(status)) this.#move(id, progressDetail);
    else if (/^(?:Download complete|Pull complete|Pushed)$/.test(status)) this.#finish(id);
    else return undefined;
    return this.#more();
  }

  #add(id: string): void {
    if (!this.#layers.has(id)) this.#layers.set(id, { current: 0, total: undefined });
  }

  #move(id: string, { current = 0, total = 0 }: EngineMessage["progressDetail"] = {}): void {
    if (total > 0) this.#layers.set(id, { current: Math.min(current, total), total });
  }

  #finish(id: string): void {
    const layer = this.#layers.get(id);
    if (layer === undefined) return;
    const total = layer.total ?? this.#usualTotal();
    this.#layers.set(id, { current: total, total });
  }

  #more(): number | undefined {
    const usual = this.#usualTotal();
    let done = 0;
    let all = 0;
    for (const { current, total = usual } of this.#layers.values()) {
      done += current;
      all += total;
    }
    // Divided first: 100 × all ÷ all can be a little less than 100.
    const percent = Math.floor((done / Math.max(1, all)) * (100 / PERCENT_STEP)) * PERCENT_STEP;
    if (percent <= this.#percent) return undefined;
    this.#percent = percent;
    return percent;
  }

  /** What a layer is taken for whose size is not known yet: as large as the others. */
  #usualTotal(): number {
    const known = Array.from(this.#layers.values(), ({ total }) => total).filter(
      (total) => total !== undefined,
    );
    return known.length === 0 ? 1 : known.reduce((sum, total) => sum + total, 0) / known.length;
  }
}
