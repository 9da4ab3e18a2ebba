// Writes small TensorFlow.js models for tests: a model.json with its weights, as tensorflowjs_converter would.

/** A node of a graph; `attr` in the JSON form of GraphDef. */
interface GraphNode {
  readonly name: string;
  readonly op: string;
  readonly input?: readonly string[];
  readonly attr?: Readonly<Record<string, unknown>>;
}

export interface TfjsGraph {
  readonly nodes: readonly GraphNode[];
  /** Constants by name; each becomes a node too. */
  readonly weights: Readonly<
    Record<string, { readonly shape: readonly number[]; readonly data: Float32Array | Int32Array }>
  >;
  readonly signature?: unknown;
}

/** Tensors of a signature: `tensors({ x: { node: "x:0", dtype: "DT_FLOAT", shape: [-1, 2] } })`. */
export function tensors(
  described: Readonly<
    Record<string, { readonly node: string; readonly dtype: string; readonly shape?: readonly number[] }>
  >,
): Readonly<Record<string, unknown>> {
  return Object.fromEntries(
    Object.entries(described).map(([name, { node, dtype, shape }]) => [
      name,
      { name: node, dtype, ...(shape === undefined ? {} : { tensorShape: shapeOf(shape) }) },
    ]),
  );
}

function shapeOf(shape: readonly number[]): { readonly dim: readonly { readonly size: string }[] } {
  return { dim: shape.map((size) => ({ size: `${size}` })) };
}

export function placeholder(name: string, dtype: string, shape: readonly number[]): GraphNode {
  return { name, op: "Placeholder", attr: { dtype: { type: dtype }, shape: { shape: shapeOf(shape) } } };
}

/** Files of a graph model. */
export function graphModel({
  nodes,
  weights,
  signature,
}: TfjsGraph): Readonly<Record<string, string | Uint8Array>> {
  const entries = Object.entries(weights);
  const constants = entries.map(([name, { shape, data }]) => {
    const dtype = data instanceof Int32Array ? "DT_INT32" : "DT_FLOAT";
    const value = { tensor: { dtype, tensorShape: shapeOf(shape) } };
    return { name, op: "Const", attr: { dtype: { type: dtype }, value } };
  });
  const model = {
    format: "graph-model",
    generatedBy: "2.9.1",
    convertedBy: "test",
    ...(signature === undefined ? {} : { signature }),
    modelTopology: { node: [...constants, ...nodes], library: {}, versions: { producer: 1087 } },
    weightsManifest: [
      {
        paths: ["weights.bin"],
        weights: entries.map(([name, { shape, data }]) => ({
          name,
          shape,
          dtype: data instanceof Int32Array ? "int32" : "float32",
        })),
      },
    ],
  };
  const bytes = entries.map(([, { data }]) => Buffer.from(data.buffer, data.byteOffset, data.byteLength));
  return { "model.json": JSON.stringify(model), "weights.bin": new Uint8Array(Buffer.concat(bytes)) };
}

/** Looks numbers up in a table; an index beyond it makes the whole run fail. */
export function tableModel(values: readonly number[]): Readonly<Record<string, string | Uint8Array>> {
  return graphModel({
    nodes: [
      placeholder("index", "DT_INT32", [-1]),
      {
        name: "value",
        op: "GatherV2",
        input: ["table", "index", "axis"],
        attr: {
          Tparams: { type: "DT_FLOAT" },
          Tindices: { type: "DT_INT32" },
          Taxis: { type: "DT_INT32" },
          batch_dims: { i: "0" },
        },
      },
    ],
    weights: {
      table: { shape: [values.length], data: Float32Array.from(values) },
      axis: { shape: [], data: Int32Array.of(0) },
    },
    signature: {
      inputs: tensors({ index: { node: "index:0", dtype: "DT_INT32", shape: [-1] } }),
      outputs: tensors({ value: { node: "value:0", dtype: "DT_FLOAT", shape: [-1] } }),
    },
  });
}
