// The ONNX models of the benchmark, with made-up weights: a small MLP, a convnet of some ms a row, means of images.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { onnxModel } from "../helpers/onnx-writer.ts";
import { randomNumbers } from "../core/query/batching/random.ts";

export const PIXELS = 784;
/** Channels, height and width. */
export const IMAGE = [3, 224, 224] as const;

/** Where they lie. */
export interface OnnxModels {
  readonly mlp: string;
  readonly convnet: string;
  /** Takes an image, costs next to nothing: the mean of each channel. */
  readonly means: string;
}

export async function writeOnnxModels(folder: string): Promise<OnnxModels> {
  const write = async (name: string, model: Uint8Array): Promise<string> => {
    const path = join(folder, `${name}.onnx`);
    await writeFile(path, model);
    return path;
  };
  return {
    mlp: await write("mlp", mlp()),
    convnet: await write("convnet", convnet()),
    means: await write("means", means()),
  };
}

type Weights = {
  readonly name: string;
  readonly type: "float32";
  readonly dims: readonly number[];
  readonly data: Float32Array;
};

function weightsFrom(seed: number): (name: string, dims: readonly number[]) => Weights {
  const random = randomNumbers(seed);
  return (name, dims) => {
    const count = dims.reduce((product, size) => product * size, 1);
    // Small enough that no layer grows the values.
    const scale = 2 / Math.sqrt(dims.length === 2 ? (dims[0] ?? 1) : count / (dims[0] ?? 1));
    const data = Float32Array.from({ length: count }, () => (random() - 0.5) * scale);
    return { name, type: "float32", dims, data };
  };
}

/** 784-256-256-10. */
function mlp(): Uint8Array {
  const weights = weightsFrom(1);
  return onnxModel({
    inputs: [{ name: "pixels", type: "float32", shape: ["batch", PIXELS] }],
    outputs: [{ name: "scores", type: "float32", shape: ["batch", 10] }],
    nodes: [
      { op: "Gemm", inputs: ["pixels", "w1", "b1"], outputs: ["g1"] },
      { op: "Relu", inputs: ["g1"], outputs: ["h1"] },
      { op: "Gemm", inputs: ["h1", "w2", "b2"], outputs: ["g2"] },
      { op: "Relu", inputs: ["g2"], outputs: ["h2"] },
      { op: "Gemm", inputs: ["h2", "w3", "b3"], outputs: ["scores"] },
    ],
    initializers: [
      weights("w1", [PIXELS, 256]),
      weights("b1", [256]),
      weights("w2", [256, 256]),
      weights("b2", [256]),
      weights("w3", [256, 10]),
      weights("b3", [10]),
    ],
  });
}

/** Two convolutions on 28 × 28 pixels, then scores. */
function convnet(): Uint8Array {
  const weights = weightsFrom(2);
  const convolution = { kernel_shape: [3, 3], pads: [1, 1, 1, 1] };
  return onnxModel({
    inputs: [{ name: "pixels", type: "float32", shape: ["batch", PIXELS] }],
    outputs: [{ name: "scores", type: "float32", shape: ["batch", 10] }],
    nodes: [
      { op: "Reshape", inputs: ["pixels", "image"], outputs: ["x"] },
      { op: "Conv", inputs: ["x", "c1"], outputs: ["y1"], attributes: convolution },
      { op: "Relu", inputs: ["y1"], outputs: ["z1"] },
      { op: "Conv", inputs: ["z1", "c2"], outputs: ["y2"], attributes: convolution },
      { op: "Relu", inputs: ["y2"], outputs: ["z2"] },
      { op: "GlobalAveragePool", inputs: ["z2"], outputs: ["pooled"] },
      { op: "Flatten", inputs: ["pooled"], outputs: ["flat"] },
      { op: "MatMul", inputs: ["flat", "w"], outputs: ["scores"] },
    ],
    initializers: [
      { name: "image", type: "int64", dims: [4], data: BigInt64Array.of(-1n, 1n, 28n, 28n) },
      weights("c1", [128, 1, 3, 3]),
      weights("c2", [256, 128, 3, 3]),
      weights("w", [256, 10]),
    ],
  });
}

function means(): Uint8Array {
  return onnxModel({
    inputs: [{ name: "image", type: "float32", shape: ["batch", ...IMAGE] }],
    outputs: [{ name: "means", type: "float32", shape: ["batch", IMAGE[0]] }],
    nodes: [
      { op: "GlobalAveragePool", inputs: ["image"], outputs: ["pooled"] },
      { op: "Flatten", inputs: ["pooled"], outputs: ["means"] },
    ],
  });
}
