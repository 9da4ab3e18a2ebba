// A model of tensors between user functions: values to feeds, rows of one shape through the model, outputs to JSON.
import { callForRows } from "../call-rows.ts";
import { CallContext } from "../call-signal.ts";
import { encodeOutput, invalidOutput, jsonResult } from "../json-output.ts";
import type { Batch, BatchResult } from "../loader.ts";
import type { ItemError, TensorSpec } from "../protocol.ts";
import { notRun, type UserFunction } from "../user-function.ts";
import { decodeRows } from "../values.ts";
import { readFeed } from "./feeds.ts";
import { isError, nestedJson, tensorResult } from "./outputs.ts";
import { type RowOutputs, type Runner, toRows } from "./runner.ts";
import type { TensorModelSettings, ProcessingContext, RowTensor } from "./settings.ts";
import { fromWire, join, rowOf } from "./stack.ts";

export interface ProcessedModelParts {
  readonly runner: Runner;
  readonly settings: TensorModelSettings;
  /** Outputs of the contract. */
  readonly outputs: readonly TensorSpec[];
  readonly preprocess: UserFunction | undefined;
  readonly postprocess: UserFunction | undefined;
}

/** Outputs of the model, and the inputs that the postprocess function gets. */
interface Rows {
  readonly outputs: readonly RowOutputs[];
  readonly values: readonly unknown[];
}

export class ProcessedModel {
  readonly #parts: ProcessedModelParts;

  constructor(parts: ProcessedModelParts) {
    this.#parts = parts;
  }

  async predict(batch: Batch): Promise<BatchResult> {
    const context = new CallContext(batch);
    const { outputs: specs } = this.#parts;
    const rows = await this.#modelRows(batch, context);
    const [only] = specs;
    if (specs.length !== 1 || only?.contentType !== "json")
      return tensorResult({ kind: "rows", rows: rows.outputs }, specs);
    return jsonResult(only.name, await this.#texts(rows, context));
  }

  async #modelRows(batch: Batch, context: ProcessingContext): Promise<Rows> {
    const { runner, settings, preprocess } = this.#parts;
    if (preprocess !== undefined) return this.#preprocessed(batch, preprocess, context);
    const stacks = batch.inputs.map(fromWire);
    const outputs = toRows(await runner.run(stacks, batch.count, context), batch.count);
    const values = outputs.map((_, row) =>
      Object.fromEntries(stacks.map((stack, index) => [settings.inputs[index]?.name, rowOf(stack, row)])),
    );
    return { outputs, values };
  }

  async #preprocessed(batch: Batch, preprocess: UserFunction, context: ProcessingContext): Promise<Rows> {
    const { values, errors } = decodeRows(batch);
    const outputs: RowOutputs[] = values.map((_, row) => errors?.[row] ?? NO_OUTPUT);
    const good = Array.from(values.keys()).filter((row) => errors?.[row] === undefined);
    const feeds = await callForRows(good, {
      name: preprocess.name,
      signal: () => context.signal,
      call: (some) =>
        preprocess.call(
          some.map((row) => values[row]),
          context,
        ),
    });
    const tensors = new Map<number, readonly RowTensor[]>();
    for (const [index, row] of good.entries()) {
      const read = this.#readFeed(feeds[index]);
      if (isError(read)) outputs[row] = read;
      else tensors.set(row, read);
    }
    await this.#runGroups(tensors, outputs, context);
    return { outputs, values };
  }

  #readFeed(feed: Awaited<ReturnType<typeof callForRows>>[number] | undefined): RowOutputs {
    if (feed === undefined || "error" in feed) return feed?.error ?? invalidOutput("preprocess gave no feed");
    try {
      return readFeed(feed.value, this.#parts.settings.inputs);
    } catch (error) {
      return invalidOutput((error as Error).message);
    }
  }

  /** Rows of equal shapes run together. */
  async #runGroups(
    tensors: ReadonlyMap<number, readonly RowTensor[]>,
    outputs: RowOutputs[],
    context: ProcessingContext,
  ): Promise<void> {
    const groups = Map.groupBy(tensors, ([, row]) => row.map(({ dims }) => dims.join()).join("|"));
    let isFirst = true;
    for (const group of groups.values()) {
      if (!isFirst && context.signal.aborted) {
        for (const [row] of group) outputs[row] = notRun(context.signal);
        continue;
      }
      isFirst = false;
      const stacks = this.#parts.settings.inputs.map((_, index) =>
        join(group.flatMap(([, row]) => row.slice(index, index + 1))),
      );
      const results = toRows(await this.#parts.runner.run(stacks, group.length, context), group.length);
      for (const [index, [row]] of group.entries()) {
        const result = results[index];
        if (result !== undefined) outputs[row] = result;
      }
    }
  }

  async #texts({ outputs, values }: Rows, context: ProcessingContext): Promise<(Uint8Array | ItemError)[]> {
    const { postprocess } = this.#parts;
    if (postprocess === undefined)
      return outputs.map((row) => (isError(row) ? row : Buffer.from(this.#jsonOf(row))));
    const good = Array.from(outputs.keys()).filter((row) => !isErrorAt(outputs, row));
    const results = await callForRows(good, {
      name: postprocess.name,
      signal: () => context.signal,
      call: (some) =>
        postprocess.call(
          some.map((row) => this.#byName(outputs[row])),
          some.map((row) => values[row]),
          context,
        ),
    });
    const texts: (Uint8Array | ItemError)[] = outputs.map((row) => (isError(row) ? row : NO_OUTPUT));
    for (const [index, row] of good.entries()) {
      const result = results[index];
      if (result !== undefined)
        texts[row] = "error" in result ? result.error : encodeOutput(result.value, postprocess.name);
    }
    return texts;
  }

  #byName(row: RowOutputs | undefined): Readonly<Record<string, RowTensor | undefined>> {
    const tensors = row === undefined || isError(row) ? [] : row;
    return Object.fromEntries(this.#parts.settings.outputs.map(({ name }, index) => [name, tensors[index]]));
  }

  #jsonOf(row: readonly RowTensor[]): string {
    const { outputs } = this.#parts.settings;
    const texts = outputs.map(({ datatype }, index) => {
      const tensor = row[index];
      return tensor === undefined ? "null" : nestedJson(tensor, datatype);
    });
    if (texts.length === 1) return texts[0] ?? "null";
    return `{${outputs.map(({ name }, index) => `${JSON.stringify(name)}:${texts[index]}`).join(",")}}`;
  }
}

const NO_OUTPUT: ItemError = invalidOutput("the model gave no output");

function isErrorAt(outputs: readonly RowOutputs[], row: number): boolean {
  const output = outputs[row];
  return output === undefined || isError(output);
}
