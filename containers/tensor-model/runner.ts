// Runs stacked rows through a session: all at once where the model allows, else row by row.
import type { Batch } from "../loader.ts";
import type { ItemError } from "../protocol.ts";
import { logError, modelError, notRun } from "../user-function.ts";
import type { TensorSession } from "./session.ts";
import type { TensorModelSettings, TensorSettings, RowTensor } from "./settings.ts";
import { fromModelLayout, hasEqualRows, padRows, rowOf, rowsOf, type Stack, toModelLayout } from "./stack.ts";

/** A row's outputs in the order of the settings, or why it has none. */
export type RowOutputs = readonly RowTensor[] | ItemError;

/** Outputs of all rows together, or one by one where they came so. */
export type RunResult =
  | { readonly kind: "stacked"; readonly outputs: readonly Stack[] }
  | { readonly kind: "rows"; readonly rows: readonly RowOutputs[] };

export class Runner {
  readonly #session: Pick<TensorSession, "runtime" | "run">;
  readonly #settings: TensorModelSettings;
  readonly #canStack: boolean;

  constructor(session: Pick<TensorSession, "runtime" | "run">, settings: TensorModelSettings) {
    this.#session = session;
    this.#settings = settings;
    this.#canStack =
      settings.batching === "dynamic" && settings.outputs.every(({ batchAxis }) => batchAxis !== null);
  }

  /**
   * `inputs` in the order of the settings, `count` rows each. Never rejects: errors are the rows'. Rows that fail
   * together are halved until the bad ones are alone. Rows that have not run when the signal aborts fail.
   */
  async run(inputs: readonly Stack[], count: number, call: Pick<Batch, "signal">): Promise<RunResult> {
    if (count > 1 && !this.#fitsOneRun(inputs)) return this.#runHalves(inputs, count, call);
    try {
      return await this.#runStacked(inputs, count, call);
    } catch (error) {
      // A bad row fails the whole run; alone it costs nobody else his answer.
      if (count > 1 && !call.signal.aborted) return this.#runHalves(inputs, count, call);
      logError(this.#session.runtime, error);
      return { kind: "rows", rows: Array.from({ length: count }, () => modelError(error)) };
    }
  }

  /** One run on zeros. @throws what the runtime throws */
  async warmUp(inputs: readonly Stack[]): Promise<void> {
    await this.#runOnce(inputs, { count: 1, size: this.#settings.fixedBatch ?? 1 });
  }

  #fitsOneRun(inputs: readonly Stack[]): boolean {
    return (
      this.#canStack &&
      this.#settings.inputs.every(({ batchAxis }, index) => {
        const input = inputs[index];
        return batchAxis !== null || (input !== undefined && hasEqualRows(input));
      })
    );
  }

  async #runHalves(inputs: readonly Stack[], count: number, call: Pick<Batch, "signal">): Promise<RunResult> {
    const middle = Math.ceil(count / 2);
    const rows: RowOutputs[] = [];
    for (const [start, end] of [
      [0, middle],
      [middle, count],
    ] as const) {
      const size = end - start;
      const part = inputs.map((input) => rowsOf(input, start, end));
      rows.push(
        ...(start > 0 && call.signal.aborted
          ? notRunRows(size, call)
          : toRows(await this.run(part, size, call), size)),
      );
    }
    return { kind: "rows", rows };
  }

  async #runStacked(
    inputs: readonly Stack[],
    count: number,
    call: Pick<Batch, "signal">,
  ): Promise<RunResult> {
    const size = this.#settings.fixedBatch ?? count;
    if (count <= size) return { kind: "stacked", outputs: await this.#runOnce(inputs, { count, size }) };
    const rows: RowOutputs[] = [];
    for (let start = 0; start < count; start += size) {
      if (start > 0 && call.signal.aborted) {
        rows.push(...notRunRows(count - start, call));
        break;
      }
      const end = Math.min(start + size, count);
      const part = inputs.map((input) => rowsOf(input, start, end));
      const outputs = await this.#runOnce(part, { count: end - start, size });
      rows.push(...toRows({ kind: "stacked", outputs }, end - start));
    }
    return { kind: "rows", rows };
  }

  /** One session run of `size` rows, of which the first `count` are asked for. */
  async #runOnce(
    inputs: readonly Stack[],
    rows: { readonly count: number; readonly size: number },
  ): Promise<Stack[]> {
    const feeds = this.#settings.inputs.map(({ batchAxis }, index) => {
      const input = inputs[index];
      if (input === undefined) throw new Error(`input ${index} is missing`);
      return batchAxis === null ? rowOf(input, 0) : toModelLayout(padRows(input, rows.size), batchAxis);
    });
    const outputs = await this.#session.run(feeds);
    return this.#settings.outputs.map((settings, index) => {
      const output = outputs[index];
      if (output === undefined) throw new Error(`output ${settings.name} is missing`);
      const stack = toStack(output, settings, rows.size);
      return rows.count === rows.size ? stack : rowsOf(stack, 0, rows.count);
    });
  }
}

function toStack(output: RowTensor, { name, batchAxis }: TensorSettings, size: number): Stack {
  if (batchAxis === null) return { data: output.data, dims: [1, ...output.dims] };
  if (output.dims[batchAxis] === size) return fromModelLayout(output, batchAxis);
  throw new Error(
    `output ${name} has shape [${output.dims.join(",")}] for a batch of ${size}: its axis ${batchAxis} is not the batch`,
  );
}

function notRunRows(count: number, { signal }: Pick<Batch, "signal">): ItemError[] {
  return Array.from({ length: count }, () => notRun(signal));
}

/** The rows of a result, as views. */
export function toRows(result: RunResult, count: number): readonly RowOutputs[] {
  if (result.kind === "rows") return result.rows;
  return Array.from({ length: count }, (_, row) => result.outputs.map((output) => rowOf(output, row)));
}
