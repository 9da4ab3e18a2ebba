// Which inputs and outputs of a model can be served: element types, and what has to be left out or refused.
import { UnsupportedModelError, type Datatype } from "../../core/index.ts";
import type { ModelTensor, ModelTensors } from "../tensor-model/tensors.ts";
import type { OnnxModelFile, OnnxValue } from "./model-file.ts";

/**
 * The tensors of a model.
 * @throws UnsupportedModelError naming the input or output that onnxruntime or the wire format cannot take
 */
export function modelTensors(model: OnnxModelFile): ModelTensors {
  const inputs = model.inputs.map((input) => tensor("input", input));
  if (inputs.length === 0) {
    throw new UnsupportedModelError(
      "the model has no input; export it with its input as a graph input, not as a constant",
    );
  }
  for (const input of inputs) {
    if (input.dimensions !== undefined) continue;
    throw new UnsupportedModelError(
      `the shape of input "${input.name}" is not in the file; export the model with one (free dimensions are fine), or add it with onnx.shape_inference`,
    );
  }
  const left = model.outputs.filter(({ type }) => type.kind !== "tensor");
  const outputs = model.outputs.filter((output) => !left.includes(output));
  if (outputs.length === 0) {
    throw new UnsupportedModelError(
      `no output is a tensor (${left.map(describe).join(", ")}); export the model with tensor outputs, such as zipmap=False with skl2onnx`,
    );
  }
  return {
    inputs,
    outputs: outputs.map((output) => tensor("output", output)),
    strings: "text",
    notes: left.map(
      (output) => `output ${describe(output)} is left out, since it is no tensor; it is not computed`,
    ),
  };
}

/** The tensors with free dimensions fixed by name, as the session will have them. */
export function withSizes(tensors: ModelTensors, sizes: Readonly<Record<string, number>>): ModelTensors {
  const fixed = ({ dimensions, ...rest }: ModelTensor): ModelTensor => ({
    ...rest,
    dimensions: dimensions?.map((size) => (typeof size === "string" ? (sizes[size] ?? size) : size)),
  });
  return { ...tensors, inputs: tensors.inputs.map(fixed), outputs: tensors.outputs.map(fixed) };
}

function describe({ name, type }: OnnxValue): string {
  return `"${name}" (${type.kind})`;
}

function tensor(role: "input" | "output", { name, type }: OnnxValue): ModelTensor {
  if (type.kind !== "tensor") {
    throw new UnsupportedModelError(
      `${role} "${name}" is a ${type.kind}, and only tensors can be served; export the model with a tensor in its place`,
    );
  }
  const datatype = DATATYPES.get(type.elementType);
  if (datatype === undefined) {
    const element = REFUSED_TYPES.get(type.elementType) ?? `element type ${type.elementType}`;
    throw new UnsupportedModelError(
      `${role} "${name}" is a tensor of ${element}, which onnxruntime-node cannot ${role === "input" ? "take" : "give"}; put a Cast to float in the model`,
    );
  }
  return { name, datatype, dimensions: type.dimensions };
}

/** TensorProto.DataType to the wire's. */
const DATATYPES: ReadonlyMap<number, Datatype> = new Map([
  [1, "FP32"],
  [2, "UINT8"],
  [3, "INT8"],
  [4, "UINT16"],
  [5, "INT16"],
  [6, "INT32"],
  [7, "INT64"],
  [8, "BYTES"],
  [9, "BOOL"],
  [10, "FP16"],
  [11, "FP64"],
  [12, "UINT32"],
  [13, "UINT64"],
] as const);

/** What a session with it fails on ("Unsupported data type"), even where the output is not fetched. */
const REFUSED_TYPES: ReadonlyMap<number, string> = new Map([
  [0, "no element type"],
  [14, "complex64"],
  [15, "complex128"],
  [16, "bfloat16"],
  [17, "float8e4m3fn"],
  [18, "float8e4m3fnuz"],
  [19, "float8e5m2"],
  [20, "float8e5m2fnuz"],
  [21, "uint4"],
  [22, "int4"],
  [23, "float4e2m1"],
  [24, "float8e8m0"],
  [25, "uint2"],
  [26, "int2"],
]);
