import { describe, expect, it } from "vitest";
import { InvalidOptionsError } from "../../../core/errors.ts";
import { planBatches, type BatchAxis, type BatchPlan } from "../../../deployers/tensor-model/batch-axis.ts";
import type { Dimension, ModelTensor } from "../../../deployers/tensor-model/tensors.ts";

type Shapes = Readonly<Record<string, readonly Dimension[] | undefined>>;

function tensors(shapes: Shapes): ModelTensor[] {
  return Object.entries(shapes).map(([name, dimensions]) => ({ name, datatype: "FP32", dimensions }));
}

function plan(inputs: Shapes, outputs: Shapes, batchAxis: BatchAxis = "auto"): BatchPlan {
  return planBatches({ inputs: tensors(inputs), outputs: tensors(outputs) }, batchAxis);
}

function axesOf({ axes }: BatchPlan): Readonly<Record<string, number | null>> {
  return Object.fromEntries([...axes].map(([{ name }, axis]) => [name, axis]));
}

interface Case {
  readonly what: string;
  readonly inputs: Shapes;
  readonly outputs: Shapes;
  readonly batching: "dynamic" | "one-by-one";
  readonly axes: Readonly<Record<string, number | null>>;
}

const CASES: readonly Case[] = [
  {
    what: "a name on the first axis of all",
    inputs: { image: ["batch", 8, 8, 1] },
    outputs: { scores: ["batch", 10], digit: ["batch"] },
    batching: "dynamic",
    axes: { image: 0, scores: 0, digit: 0 },
  },
  {
    what: "a name on a later axis of a state, and a scalar (Silero VAD, legacy)",
    inputs: { input: ["batch", "sequence"], sr: [], h: [2, "batch", 64] },
    outputs: { output: ["batch", 1], hn: [2, "batch", 64] },
    batching: "dynamic",
    axes: { input: 0, sr: null, h: 1, output: 0, hn: 1 },
  },
  {
    what: "a name that says nothing, but stands first everywhere",
    inputs: { a: ["s0", 3], b: ["s0", 4] },
    outputs: { y: ["s0", 2] },
    batching: "dynamic",
    axes: { a: 0, b: 0, y: 0 },
  },
  {
    what: "the batch on axis 1, as in recurrent nets that have time first",
    inputs: { x: ["time", "batch", 16] },
    outputs: { y: ["time", "batch", 4], last: ["batch", 4] },
    batching: "dynamic",
    axes: { x: 1, y: 1, last: 0 },
  },
  {
    what: "outputs that lost the name",
    inputs: { x: ["batch", 3] },
    outputs: { y: [null, 2], z: undefined },
    batching: "dynamic",
    axes: { x: 0, y: 0, z: 0 },
  },
  {
    what: "an input without the batch beside others that have it",
    inputs: { x: ["N", 3], threshold: [1] },
    outputs: { y: ["N"] },
    batching: "dynamic",
    axes: { x: 0, threshold: null, y: 0 },
  },
  {
    what: "numbered names (tf2onnx)",
    inputs: { x: ["unk__314", 76, 32, 1] },
    outputs: { y: ["unk__315", 1, 1, 96] },
    batching: "dynamic",
    axes: { x: 0, y: 0 },
  },
  {
    what: "numbered names (Paddle)",
    inputs: { x: ["p2o.DynamicDimension.0", 3, "p2o.DynamicDimension.1"] },
    outputs: { y: ["p2o.DynamicDimension.3", 2] },
    batching: "dynamic",
    axes: { x: 0, y: 0 },
  },
  {
    what: "first axes without a name",
    inputs: { x: [null, 3], s: [] },
    outputs: { y: [null] },
    batching: "dynamic",
    axes: { x: 0, s: null, y: 0 },
  },
  {
    what: "first axes fixed to 1",
    inputs: { x: [1, 128, 128, 3], s: [] },
    outputs: { boxes: [1, 512, 16], scores: [1, 512, 1] },
    batching: "one-by-one",
    axes: { x: 0, s: null, boxes: 0, scores: 0 },
  },
  {
    what: "an output whose length is another than the batch's",
    inputs: { x: [1, 3, 640, 640] },
    outputs: { boxes: ["detections", 6] },
    batching: "one-by-one",
    axes: { x: null, boxes: null },
  },
  {
    what: "a first axis that is time",
    inputs: { tokens: ["sequence_length"] },
    outputs: { states: ["sequence_length", 768] },
    batching: "one-by-one",
    axes: { tokens: null, states: null },
  },
  {
    what: "an output whose first axis is time, though the input has a batch (a spectrogram)",
    inputs: { input: ["batch_size", "samples"] },
    outputs: { output: ["time", 1, "Clipoutput_dim_2", 32] },
    batching: "one-by-one",
    axes: { input: null, output: null },
  },
  {
    what: "an unnamed state whose batch could be on any axis (Silero VAD 5)",
    inputs: { input: [null, null], state: [2, null, 128], sr: [] },
    outputs: { output: [null, 1], stateN: [null, null, null] },
    batching: "one-by-one",
    axes: { input: null, state: null, sr: null, output: null, stateN: null },
  },
  {
    what: "a later axis named N, which may count anything",
    inputs: { points: [1, 3, "N"] },
    outputs: { labels: [1, "N"] },
    batching: "one-by-one",
    axes: { points: 0, labels: 0 },
  },
  {
    what: "boxes that are dropped, so that rows do not correspond",
    inputs: { boxes: ["all", 4] },
    outputs: { kept: ["some", 4] },
    batching: "one-by-one",
    axes: { boxes: null, kept: null },
  },
  {
    what: "a batch that an output sums up",
    inputs: { x: ["batch", 3] },
    outputs: { loss: [] },
    batching: "one-by-one",
    axes: { x: null, loss: null },
  },
  {
    what: "only scalars",
    inputs: { a: [], b: [] },
    outputs: { y: [null] },
    batching: "one-by-one",
    axes: { a: null, b: null, y: null },
  },
  {
    what: "the same name twice in one tensor",
    inputs: { pairs: ["batch", "batch"] },
    outputs: { y: ["batch"] },
    batching: "one-by-one",
    axes: { pairs: null, y: null },
  },
  {
    what: "a fixed first axis of more than 1, which may be anything",
    inputs: { x: [3, 2] },
    outputs: { y: [3] },
    batching: "one-by-one",
    axes: { x: null, y: null },
  },
];

describe("the batch axis, read from the file", () => {
  it.each(CASES)("$what", ({ inputs, outputs, batching, axes }) => {
    const found = plan(inputs, outputs);
    expect(found.batching).toBe(batching);
    expect(axesOf(found)).toEqual(axes);
  });

  it("says so where it stays in doubt, and not where there is none", () => {
    expect(plan({ x: [null, null], state: [2, null] }, { y: [null] }).note).toContain("batchAxis");
    expect(plan({ x: [1, 3] }, { y: [1, 2] }).note).toBeUndefined();
    expect(plan({ x: [3, 2] }, { y: [3] }).note).toBeUndefined();
  });
});

describe("a batch axis that is given", () => {
  const inputs = { input: [null, null], state: [2, null, 128], sr: [] };
  const outputs = { output: [null, 1], stateN: [null, null, null] };

  it("by name: tensors that are not named have none", () => {
    const found = plan(inputs, outputs, { input: 0, state: 1, output: 0, stateN: 1 });
    expect(found.batching).toBe("dynamic");
    expect(axesOf(found)).toEqual({ input: 0, state: 1, sr: null, output: 0, stateN: 1 });
  });

  it("as one number, for all tensors that have such an axis", () => {
    const found = plan({ x: [null, 4], s: [] }, { y: [null] }, 0);
    expect(found).toMatchObject({ batching: "dynamic" });
    expect(axesOf(found)).toEqual({ x: 0, s: null, y: 0 });
  });

  it("null: none, though the file has one", () => {
    const found = plan({ x: ["batch", 4] }, { y: ["batch"] }, null);
    expect(found).toMatchObject({ batching: "one-by-one" });
    expect(axesOf(found)).toEqual({ x: null, y: null });
  });

  it("fixed to more than 1: as many rows a call", () => {
    expect(plan({ x: [3, 2] }, { y: [3], z: [null] }, 0)).toMatchObject({
      batching: "dynamic",
      fixedBatch: 3,
    });
  });

  it("fixed to 1: one by one", () => {
    const found = plan({ x: [1, 2] }, { y: [1] }, 0);
    expect(found.batching).toBe("one-by-one");
    expect(found.fixedBatch).toBeUndefined();
  });

  it.each<readonly [BatchAxis, string]>([
    [{ inputt: 0 }, 'names "inputt"'],
    [{ input: 2 }, '"input" has 2 dimensions'],
    [{ state: 0, input: 0, stateN: 2, output: 1 }, '"state" 2, "output" 1'],
  ])("%j is refused, where the model cannot have it", (batchAxis, message) => {
    expect(() => plan(inputs, outputs, batchAxis)).toThrow(InvalidOptionsError);
    expect(() => plan(inputs, outputs, batchAxis)).toThrow(message);
  });
});
