// Loader of functions: an export of a module in the bundle, or a live function with the state it was deployed with.
import { callForRows } from "../call-rows.ts";
import { CallContext } from "../call-signal.ts";
import type { Batch, BatchResult, LoadContext, LoadedModel, Loader } from "../loader.ts";
import { encodeOutput, invalidOutput, jsonResult, type RowResult } from "../json-output.ts";
import { schemaProblem } from "../json-schema.ts";
import type { ItemError, JsonObject, JsonValue } from "../protocol.ts";
import { importFunctions } from "../user-function.ts";
import { decodeRows } from "../values.ts";
import { loadClosure, type ClosureFiles } from "./closure.ts";

/** `manifest.model` of a bundle with loader "function": a module, or the files of a live function. */
export type FunctionModelSettings = ModuleSettings | LiveSettings;

export interface ModuleSettings {
  /** The module in the bundle: "function.mjs". */
  readonly file: string;
  /** Its export: `(inputs, { signal }) => outputs`, also async. */
  readonly export: string;
}

export interface LiveSettings extends ClosureFiles {
  /** Whether it takes one input a call, not a list. */
  readonly isSingle: boolean;
}

/** How this model's function is called. */
interface Callable {
  readonly name: string;
  readonly isSingle: boolean;
  call(input: unknown, context: { readonly signal: AbortSignal }): unknown;
}

interface HeldCallable extends Callable {
  readonly held: (text: Encoded) => Encoded;
}

export const loader: Loader = {
  async load({ modelDir, manifest }: LoadContext): Promise<LoadedModel> {
    const [output, ...others] = manifest.contract.outputs;
    if (output?.contentType !== "json" || others.length > 0)
      throw new Error("the contract of a function must have one BYTES output with content type json");
    const settings = manifest.model as unknown as Partial<ModuleSettings & LiveSettings>;
    const fn =
      settings.codeFile === undefined
        ? await loadExport(modelDir, settings)
        : await loadLive(modelDir, settings as LiveSettings);
    const held = { ...fn, held: holdTo(manifest.schemas?.output, fn.name) };
    return {
      predict: (batch) => predict(held, output.name, batch),
      // Every other value is decoded into one of its own.
      releasesInputs: manifest.contract.inputs.every(
        ({ datatype, contentType }) =>
          datatype !== "BYTES" || contentType === "json" || contentType === "str",
      ),
    };
  },
};

async function loadExport(modelDir: string, settings: Partial<ModuleSettings>): Promise<Callable> {
  const { file, export: name } = settings;
  if (typeof file !== "string" || typeof name !== "string")
    throw new Error(
      'the manifest of a function needs model.file and model.export, such as "function.mjs" and "predict"',
    );
  const [fn] = await importFunctions(modelDir, file, [name]);
  if (fn === undefined) throw new Error(`${file} has no export ${name}`);
  return { name, isSingle: false, call: (inputs, context) => fn.call(inputs, context) };
}

async function loadLive(modelDir: string, settings: LiveSettings): Promise<Callable> {
  const { fn, setup } = await loadClosure(modelDir, settings);
  const resources = await setup?.();
  return {
    name: "fn",
    isSingle: settings.isSingle,
    call: (input, context) => fn(input, resources, context),
  };
}

type Encoded = Uint8Array | ItemError;

/** Makes the text of an output an error where it does not fit the schema that the model's author gave. */
function holdTo(schema: JsonObject | undefined, name: string): (text: Encoded) => Encoded {
  if (schema === undefined) return (text) => text;
  const decoder = new TextDecoder();
  return (text) => {
    if (!(text instanceof Uint8Array)) return text;
    const problem = schemaProblem(schema, JSON.parse(decoder.decode(text)) as JsonValue);
    if (problem === undefined) return text;
    return invalidOutput(
      `${name} returned an output that does not fit the schema output: output${problem.place} ${problem.reason}`,
    );
  };
}

async function predict(fn: HeldCallable, outputName: string, batch: Batch): Promise<BatchResult> {
  const { values, errors } = decodeRows(batch);
  const rows = Array.from(values.keys()).filter((row) => errors?.[row] === undefined);
  const results = await callRows(fn, rows, { values, batch });
  const texts: Encoded[] = values.map((_, row) => errors?.[row] ?? NO_OUTPUT);
  for (const [index, row] of rows.entries()) {
    const result = results[index];
    if (result !== undefined)
      texts[row] = "error" in result ? result.error : fn.held(encodeOutput(result.value, fn.name));
  }
  return jsonResult(outputName, texts);
}

interface Rows {
  readonly values: readonly unknown[];
  readonly batch: Batch;
}

async function callRows(
  fn: Callable,
  rows: readonly number[],
  { values, batch }: Rows,
): Promise<readonly RowResult[]> {
  const context = new CallContext(batch);
  const { name } = fn;
  const signal = (): AbortSignal => batch.signal;
  if (!fn.isSingle) {
    let decoded: readonly unknown[] | undefined = values;
    const call = (some: readonly number[]): unknown => {
      // The function may have changed what it got: halves of a failed batch are decoded anew.
      const inputs = decoded ?? decodeRows(batch).values;
      decoded = undefined;
      return fn.call(
        some.map((row) => inputs[row]),
        context,
      );
    };
    return callForRows(rows, { name, signal, call });
  }
  const call = async ([row = 0]: readonly number[]): Promise<unknown> => [
    await fn.call(values[row], context),
  ];
  const results = await Promise.all(rows.map((row) => callForRows([row], { name, signal, call })));
  return results.flat();
}

const NO_OUTPUT: ItemError = invalidOutput("the function gave no output");
