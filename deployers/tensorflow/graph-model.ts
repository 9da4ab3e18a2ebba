// The contract of a graph model: inputs and outputs out of the signature and the graph in a model.json.
import { z } from "zod";
import { InvalidModelFileError, UnsupportedModelError } from "../../core/index.ts";
import type { Dimension, ModelTensor } from "../tensor-model/tensors.ts";
import { elementTypeName, tfjsDatatype } from "./element-types.ts";
import type { ModelJson } from "./model-json.ts";

const shapeSchema = z.looseObject({
  dim: z.array(z.looseObject({ size: z.coerce.number().optional() })).optional(),
  unknownRank: z.boolean().optional(),
});
const dtypeSchema = z.union([z.string(), z.number()]);
const tensorSchema = z.looseObject({
  name: z.string().optional(),
  dtype: dtypeSchema.optional(),
  tensorShape: shapeSchema.optional(),
  resourceId: z.unknown().optional(),
});
const tensorsSchema = z.record(z.string(), tensorSchema);
const signatureSchema = z.looseObject({
  inputs: tensorsSchema.optional(),
  outputs: tensorsSchema.optional(),
});
const nodeSchema = z.looseObject({
  name: z.string(),
  op: z.string(),
  input: z.array(z.string()).optional(),
  attr: z
    .record(z.string(), z.looseObject({ type: dtypeSchema.optional(), shape: shapeSchema.optional() }))
    .optional(),
});

type SignatureEntry = z.infer<typeof tensorSchema>;
type Node = z.infer<typeof nodeSchema>;
type Shape = z.infer<typeof shapeSchema> | undefined;

/** With its name in the graph: "Identity:0". */
export type GraphTensor = ModelTensor & { readonly node: string };

/**
 * By the names of the signature; where the file has none, placeholders and the nodes that no other takes.
 * @throws InvalidModelFileError, UnsupportedModelError
 */
export function graphTensors(model: ModelJson): {
  readonly inputs: readonly GraphTensor[];
  readonly outputs: readonly GraphTensor[];
} {
  const nodes = graphNodes(model);
  const written = model.signature ?? model.userDefinedMetadata?.["signature"];
  const signature = signatureSchema.safeParse(written).data;
  return {
    inputs: signed(signature?.inputs)?.map((entry) => input(entry, nodes)) ?? placeholders(nodes),
    outputs: signed(signature?.outputs)?.map(output) ?? ends(nodes),
  };
}

function graphNodes({ modelTopology }: ModelJson): ReadonlyMap<string, Node> {
  const checked = z.array(nodeSchema).min(1).safeParse(modelTopology["node"]);
  if (checked.success) return new Map(checked.data.map((node) => [node.name, node]));
  throw new InvalidModelFileError(
    "modelTopology of the graph model has no list of nodes; give the model.json that tensorflowjs_converter wrote",
  );
}

/** Entries of a signature in the order of the file; undefined where it has none. */
function signed(
  entries: Readonly<Record<string, SignatureEntry>> | undefined,
): readonly (readonly [string, SignatureEntry])[] | undefined {
  // A resource is a table inside the model, which TensorFlow.js feeds itself.
  const tensors = Object.entries(entries ?? {}).filter(
    ([, { dtype = 1, resourceId }]) =>
      elementTypeName(dtype) !== "RESOURCE" && (resourceId === undefined || resourceId === null),
  );
  return tensors.length === 0 ? undefined : tensors;
}

function input(
  [name, { name: node = name, dtype, tensorShape }]: readonly [string, SignatureEntry],
  nodes: ReadonlyMap<string, Node>,
): GraphTensor {
  const attributes = nodes.get(node.replace(/:\d+$/, ""))?.attr;
  const dimensions = dimensionsOf(tensorShape) ?? dimensionsOf(attributes?.["shape"]?.shape);
  if (dimensions === undefined) {
    throw new UnsupportedModelError(
      `input "${name}" has no shape in the file; convert the model again from one with shapes in its signature (free dimensions are fine)`,
      { details: { input: name } },
    );
  }
  const datatype = tfjsDatatype(dtype ?? attributes?.["dtype"]?.type ?? 1, { role: "input", name });
  return { name, node, datatype, dimensions };
}

function output([name, { name: node = name, dtype, tensorShape }]: readonly [
  string,
  SignatureEntry,
]): GraphTensor {
  const datatype = tfjsDatatype(dtype ?? 1, { role: "output", name });
  return { name, node, datatype, dimensions: dimensionsOf(tensorShape) };
}

function placeholders(nodes: ReadonlyMap<string, Node>): readonly GraphTensor[] {
  const found = [...nodes.values()].filter(({ op }) => op === "Placeholder");
  return found.map(({ name }) => input([name, {}], nodes));
}

/** What no other node takes; what is only waited for (NoOp, constants) is none. */
function ends(nodes: ReadonlyMap<string, Node>): readonly GraphTensor[] {
  const taken = new Set(
    [...nodes.values()].flatMap((node) => node.input ?? []).map((name) => name.replace(/^\^|:\d+$/g, "")),
  );
  return [...nodes.values()]
    .filter(({ name, op }) => !taken.has(name) && !["NoOp", "Const", "Placeholder"].includes(op))
    .map(({ name, attr }) =>
      output([name, { dtype: attr?.["output_type"]?.type ?? attr?.["DstT"]?.type ?? attr?.["T"]?.type }]),
    );
}

/** undefined: the file does not tell. */
function dimensionsOf(shape: Shape): readonly Dimension[] | undefined {
  if (shape === undefined || shape.unknownRank === true) return undefined;
  return (shape.dim ?? []).map(({ size = 0 }) => (size < 0 ? null : size));
}
