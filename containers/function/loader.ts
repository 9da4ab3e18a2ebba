// Loader of functions: an ES module in the bundle whose named export takes a list of inputs and returns a list.
import { callForRows } from "../call-rows.ts";
import type { Batch, BatchResult, LoadContext, LoadedModel, Loader } from "../loader.ts";
import { encodeOutput, invalidOutput, jsonResult } from "../json-output.ts";
import type { ItemError } from "../protocol.ts";
import { importFunctions, type UserFunction } from "../user-function.ts";
import { decodeRows } from "../values.ts";

/** `manifest.model` of a bundle with loader "function". */
export interface FunctionModelSettings {
  /** The module in the bundle: "function.mjs". */
  readonly file: string;
  /** Its export: `(inputs, { signal }) => outputs`, also async. */
  readonly export: string;
}

export const loader: Loader = {
  async load({ modelDir, manifest }: LoadContext): Promise<LoadedModel> {
    const settings = manifest.model as unknown as FunctionModelSettings;
    if (typeof settings.file !== "string" || typeof settings.export !== "string")
      throw new Error(
        'the manifest of a function needs model.file and model.export, such as "function.mjs" and "predict"',
      );
    const [output, ...others] = manifest.contract.outputs;
    if (output?.contentType !== "json" || others.length > 0)
      throw new Error("the contract of a function must have one BYTES output with content type json");
    const [fn] = await importFunctions(modelDir, settings.file, [settings.export]);
    if (fn === undefined) throw new Error(`${settings.file} has no export ${settings.export}`);
    return { predict: (batch) => predict(fn, output.name, batch) };
  },
};

async function predict(fn: UserFunction, outputName: string, batch: Batch): Promise<BatchResult> {
  const { values, errors } = decodeRows(batch);
  const rows = Array.from(values.keys()).filter((row) => errors?.[row] === undefined);
  const context = {
    get signal(): AbortSignal {
      return batch.signal;
    },
  };
  const results = await callForRows(rows, {
    name: fn.name,
    signal: () => batch.signal,
    call: (some) =>
      fn.call(
        some.map((row) => values[row]),
        context,
      ),
  });
  const texts: (Uint8Array | ItemError)[] = values.map((_, row) => errors?.[row] ?? NO_OUTPUT);
  for (const [index, row] of rows.entries()) {
    const result = results[index];
    if (result !== undefined)
      texts[row] = "error" in result ? result.error : encodeOutput(result.value, fn.name);
  }
  return jsonResult(outputName, texts);
}

const NO_OUTPUT: ItemError = invalidOutput("the function gave no output");
