import { describe, expectTypeOf, it } from "vitest";
import { z } from "zod";
import type { FunctionModelSettings } from "../../containers/function/loader.ts";
import type { OnnxModelSettings } from "../../containers/onnx/settings.ts";
import type { TensorModelSettings } from "../../containers/tensor-model/settings.ts";
import type { TensorFlowModelSettings } from "../../containers/tensorflow/settings.ts";
import type {
  DeployedApplication,
  InputOf,
  NumberList,
  TensorInput,
  TensorOutput,
  Windjammer,
} from "../../deployers/index.ts";
import { deployFunction, deployOnnxModel, dryRun, type DryRun } from "../../deployers/index.ts";
import type { TensorPlan } from "../../deployers/tensor-model/contract.ts";
import type { BundledModel } from "../../deployers/tensorflow/model-files.ts";
import type { TensorFlowBackend } from "../../deployers/tensorflow/runtime-packages.ts";

// Never called: only the types of what they return count.
const calls = (wj: Windjammer) => ({
  sum: () =>
    deployFunction(wj, {
      name: "sum",
      version: "1",
      inputType: "doubles",
      module: "./sum.ts",
      export: "sum",
      packages: {},
    }),
  short: () => deployFunction(wj, { name: "sum", version: "1", inputType: "d", module: "./sum.ts" }),
  typed: () =>
    deployFunction<"strings", { label: string }>(wj, {
      name: "c",
      version: "1",
      inputType: "strings",
      module: "c.ts",
    }),
  bytes: () =>
    deployFunction(wj, { name: "b", version: "1", inputType: "bytes", module: new URL("file:///b.ts") }),
  json: () => deployFunction(wj, { name: "j", version: "1", inputType: "json", module: "j.ts" }),
  digits: () =>
    deployOnnxModel(wj, {
      name: "digits",
      version: "1",
      model: "digits.onnx",
      latencyObjectiveMs: 50,
      defaultOutput: null,
    }),
  typedDigits: () =>
    deployOnnxModel<number[][], number[]>(wj, { name: "digits", version: "1", model: "digits.onnx" }),
  live: () =>
    deployFunction(wj, {
      name: "l",
      version: "1",
      inputType: "doubles",
      fn: (xs) => xs.map((x) => x.length),
    }),
  schema: () =>
    deployFunction(wj, {
      name: "s",
      version: "1",
      input: z.object({ a: z.number() }),
      single: true,
      setup: async () => "k",
      fn: ({ a }, k) => `${k}${a}`,
    }),
  singleList: () =>
    deployFunction(wj, {
      name: "s",
      version: "1",
      inputType: "strings",
      single: true,
      fn: (text) => [text.length],
    }),
  outputs: () =>
    deployFunction(wj, {
      name: "o",
      version: "1",
      input: z.object({ a: z.number() }),
      output: z.object({ score: z.number() }),
      setup: async () => new Map([["k", 1]]),
      fn: (inputs, table) => inputs.map(({ a }) => ({ score: a + (table.get("k") ?? 0) })),
    }),
  dry: () =>
    dryRun({ inputType: "ints", fn: (xs) => xs.map((x) => ({ sum: x.length })) }, [[1], new Int32Array(2)]),
  wrongOutput: () =>
    deployFunction(wj, {
      name: "w",
      version: "1",
      // @ts-expect-error the schema of outputs wants numbers
      input: z.string(),
      output: z.number(),
      fn: (texts) => texts.map((text) => text),
    }),
  // @ts-expect-error the inputs are texts
  dryWrong: () => dryRun({ inputType: "strings", single: true, fn: (text) => text }, [1]),
  // @ts-expect-error a function takes no tensors
  tensor: () => deployFunction(wj, { name: "t", version: "1", inputType: "tensor", module: "t.ts" }),
  unknown: () =>
    deployFunction(wj, {
      name: "t",
      version: "1",
      inputType: "json",
      module: "t.ts",
      // @ts-expect-error no such option
      exports: "x",
    }),
});

type Result<K extends keyof ReturnType<typeof calls>> = Awaited<ReturnType<ReturnType<typeof calls>[K]>>;

describe("static types", () => {
  it("follow a function's input type, long or short", () => {
    expectTypeOf<Result<"sum">>().toEqualTypeOf<DeployedApplication<NumberList>>();
    expectTypeOf<Result<"short">>().toEqualTypeOf<DeployedApplication<NumberList>>();
    expectTypeOf<Result<"typed">>().toEqualTypeOf<DeployedApplication<string, { label: string }>>();
    expectTypeOf<Result<"bytes">>().toEqualTypeOf<DeployedApplication<Uint8Array>>();
    expectTypeOf<Result<"json">>().toEqualTypeOf<DeployedApplication>();
    expectTypeOf<number[]>().toExtend<InputOf<"floats">>();
    expectTypeOf<Float32Array>().toExtend<InputOf<"f">>();
    expectTypeOf<string>().not.toExtend<InputOf<"floats">>();
  });

  it("are tensors for an ONNX model, or what the user says", () => {
    expectTypeOf<Result<"digits">>().toEqualTypeOf<DeployedApplication<TensorInput, TensorOutput>>();
    expectTypeOf<Result<"typedDigits">>().toEqualTypeOf<DeployedApplication<number[][], number[]>>();
    expectTypeOf<number[][][]>().toExtend<TensorInput>();
    expectTypeOf<{ input: Float32Array; sr: number }>().toExtend<TensorInput>();
    expectTypeOf<{ scores: number[]; digit: number }>().toExtend<TensorOutput>();
  });

  it("of what the deployers write fit what the loaders read", () => {
    expectTypeOf<TensorPlan>().toExtend<TensorModelSettings>();
    expectTypeOf<TensorPlan & { file: string }>().toExtend<OnnxModelSettings>();
    expectTypeOf<
      TensorPlan & Pick<BundledModel, "format" | "file"> & { backend: TensorFlowBackend }
    >().toExtend<TensorFlowModelSettings>();
    expectTypeOf<{ file: string; export: string }>().toExtend<FunctionModelSettings>();
  });
});

describe("live functions", () => {
  it("give handles of the types that fn and its schema have", () => {
    type Handle<K extends "live" | "schema" | "singleList" | "outputs"> = Awaited<
      ReturnType<ReturnType<typeof calls>[K]>
    >;
    expectTypeOf<Handle<"live">>().toEqualTypeOf<DeployedApplication<NumberList, number>>();
    expectTypeOf<Handle<"singleList">>().toEqualTypeOf<DeployedApplication<string, number[]>>();
    expectTypeOf<Handle<"outputs">>().toEqualTypeOf<DeployedApplication<{ a: number }, { score: number }>>();
    expectTypeOf<Awaited<ReturnType<ReturnType<typeof calls>["dry"]>>>().toEqualTypeOf<
      DryRun<{ sum: number }>
    >();
    expectTypeOf<Handle<"schema">>().toEqualTypeOf<DeployedApplication<{ a: number }, string>>();
  });
});
