// A loaded model of tensors: batches through its session, with user functions before and behind it if wanted.
import type { Batch, BatchResult, LoadContext, LoadedModel } from "../loader.ts";
import type { Contract } from "../protocol.ts";
import { elementCount } from "../tensors.ts";
import { TYPED_ARRAYS } from "../typed-arrays.ts";
import { importFunctions } from "../user-function.ts";
import { tensorResult } from "./outputs.ts";
import { ProcessedModel } from "./processing.ts";
import { Runner } from "./runner.ts";
import type { TensorSession } from "./session.ts";
import type { TensorModelSettings, TensorSettings } from "./settings.ts";
import { fromWire, type Stack } from "./stack.ts";

/** The model of an open session, as a loader gives it. Check the settings before the session is opened. */
export async function tensorModel(
  session: TensorSession,
  settings: TensorModelSettings,
  context: LoadContext,
): Promise<LoadedModel> {
  const { contract } = context.manifest;
  const runner = new Runner(session, settings);
  const predict =
    settings.processing === undefined
      ? (batch: Batch): Promise<BatchResult> => predictTensors(runner, contract, batch)
      : await processed(runner, settings, context);
  return {
    predict,
    // User functions may keep what they are given.
    releasesInputs: settings.processing === undefined,
    warmUp: () => runner.warmUp(settings.inputs.map(zeroRow)),
    close: () => session.close(),
  };
}

async function predictTensors(runner: Runner, contract: Contract, batch: Batch): Promise<BatchResult> {
  return tensorResult(await runner.run(batch.inputs.map(fromWire), batch.count, batch), contract.outputs);
}

async function processed(
  runner: Runner,
  settings: TensorModelSettings,
  { modelDir, manifest }: LoadContext,
): Promise<(batch: Batch) => Promise<BatchResult>> {
  const { file, preprocess, postprocess } = settings.processing ?? { file: "" };
  const names = [preprocess, postprocess].filter((name) => name !== undefined);
  const functions = await importFunctions(modelDir, file, names);
  const find = (name: string | undefined): (typeof functions)[number] | undefined =>
    functions.find((fn) => fn.name === name);
  const model = new ProcessedModel({
    runner,
    settings,
    outputs: manifest.contract.outputs,
    preprocess: find(preprocess),
    postprocess: find(postprocess),
  });
  return (batch) => model.predict(batch);
}

/** @throws Error when manifest and contract do not fit together: a mistake of the deployer */
export function checkSettings(settings: TensorModelSettings, contract: Contract): void {
  if (!isList(settings.inputs) || !isList(settings.outputs))
    throw new Error("the manifest needs model.inputs and model.outputs");
  if (settings.processing?.preprocess === undefined) sameNames(settings.inputs, contract.inputs, "inputs");
  if (settings.processing !== undefined && isJson(contract)) return;
  if (settings.processing?.postprocess !== undefined)
    throw new Error(
      "with a postprocess function the contract must have one BYTES output with content type json",
    );
  sameNames(settings.outputs, contract.outputs, "outputs");
}

function isJson({ outputs }: Contract): boolean {
  return outputs.length === 1 && outputs[0]?.contentType === "json";
}

function isList(value: unknown): boolean {
  return Array.isArray(value) && value.length > 0;
}

function sameNames(
  settings: readonly TensorSettings[],
  contract: Contract["inputs"],
  what: "inputs" | "outputs",
): void {
  const got = contract.map(({ name }) => name);
  const expected = settings.map(({ name }) => name);
  if (got.length === expected.length && got.every((name, index) => name === expected[index])) return;
  throw new Error(`model.${what} are ${expected.join(", ")}, the contract's are ${got.join(", ")}`);
}

/** One row of zeros or empty strings; free dimensions are 1. */
function zeroRow({ datatype, shape }: TensorSettings): Stack {
  const dims = [1, ...shape.map((size) => (size === -1 ? 1 : size))];
  const length = elementCount(dims);
  if (datatype === "BYTES") return { data: Array.from({ length }, () => ""), dims };
  const TypedArray = TYPED_ARRAYS[datatype] as unknown as new (length: number) => Float32Array;
  return { data: new TypedArray(length), dims };
}
