// Writes small ONNX files for tests: just enough protobuf that onnxruntime loads them.

/** Numbers of TensorProto.DataType. */
const ONNX_TYPES = {
  float32: 1,
  uint8: 2,
  int8: 3,
  uint16: 4,
  int16: 5,
  int32: 6,
  int64: 7,
  string: 8,
  bool: 9,
  float16: 10,
  float64: 11,
  uint32: 12,
  uint64: 13,
  complex64: 14,
  bfloat16: 16,
} as const;

export type OnnxType = keyof typeof ONNX_TYPES;

/** A graph input or output. */
export interface OnnxValue {
  readonly name: string;
  readonly type: OnnxType;
  /** Number: fixed; text: named free dimension; null: unnamed free one. Undefined: unknown rank. */
  readonly shape?: readonly (number | string | null)[] | undefined;
  /** Default "tensor". "map" has int64 keys and values of `type`; "sequence" and "optional" hold such a tensor. */
  readonly kind?: "tensor" | "sequence" | "map" | "sequence-of-maps" | "optional";
}

/** number: INT; number[]: INTS; string: STRING; string[]: STRINGS. */
type OnnxAttribute =
  | number
  | string
  | readonly number[]
  | readonly string[]
  | { readonly float: number }
  | { readonly floats: readonly number[] }
  | { readonly tensor: OnnxInitializer };

interface OnnxNode {
  readonly op: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes?: Readonly<Record<string, OnnxAttribute>>;
  /** Operator set; default the standard one. "ai.onnx.ml" for ZipMap and other classic ML operators. */
  readonly domain?: string;
}

/** A constant. `data` is packed little-endian, or a list for strings. */
interface OnnxInitializer {
  readonly name: string;
  readonly type: OnnxType;
  readonly dims: readonly number[];
  readonly data?: ArrayBufferView | readonly string[];
  /** In place of `data`: a file beside the model. */
  readonly external?: { readonly location: string; readonly offset?: number; readonly length?: number };
}

export interface OnnxGraph {
  readonly inputs: readonly OnnxValue[];
  readonly outputs: readonly OnnxValue[];
  readonly nodes: readonly OnnxNode[];
  readonly initializers?: readonly OnnxInitializer[];
  /** Default 17. */
  readonly opset?: number;
  /** Version of the "ai.onnx.ml" operators, imported when a node uses them. Default 3. */
  readonly mlOpset?: number;
  /** Default 8. */
  readonly irVersion?: number;
  readonly producer?: string;
  readonly metadata?: Readonly<Record<string, string>>;
}

/**
 * Bytes of a model file.
 *
 * @example
 * onnxModel({
 *   inputs: [{ name: "x", type: "float32", shape: ["batch", 3] }],
 *   outputs: [{ name: "y", type: "float32", shape: ["batch", 3] }],
 *   nodes: [{ op: "Add", inputs: ["x", "one"], outputs: ["y"] }],
 *   initializers: [{ name: "one", type: "float32", dims: [1], data: Float32Array.of(1) }],
 * });
 */
export function onnxModel(graph: OnnxGraph): Uint8Array {
  const usesMl = graph.nodes.some((node) => node.domain === "ai.onnx.ml");
  return message([
    integer(1, graph.irVersion ?? 8),
    text(2, graph.producer ?? "windjammer-test"),
    bytes(7, graphProto(graph)),
    bytes(8, message([text(1, ""), integer(2, graph.opset ?? 17)])),
    usesMl ? bytes(8, message([text(1, "ai.onnx.ml"), integer(2, graph.mlOpset ?? 3)])) : EMPTY,
    ...Object.entries(graph.metadata ?? {}).map(([key, value]) => bytes(14, entry(key, value))),
  ]);
}

const EMPTY: Uint8Array = new Uint8Array(0);

function graphProto(graph: OnnxGraph): Uint8Array {
  return message([
    ...graph.nodes.map((node) => bytes(1, nodeProto(node))),
    text(2, "graph"),
    ...(graph.initializers ?? []).map((tensor) => bytes(5, tensorProto(tensor))),
    ...graph.inputs.map((value) => bytes(11, valueProto(value))),
    ...graph.outputs.map((value) => bytes(12, valueProto(value))),
  ]);
}

function nodeProto(node: OnnxNode): Uint8Array {
  return message([
    ...node.inputs.map((name) => text(1, name)),
    ...node.outputs.map((name) => text(2, name)),
    text(4, node.op),
    ...Object.entries(node.attributes ?? {}).map(([name, value]) =>
      bytes(5, message([text(1, name), ...attribute(value)])),
    ),
    node.domain === undefined ? EMPTY : text(7, node.domain),
  ]);
}

function attribute(value: OnnxAttribute): Uint8Array[] {
  if (typeof value === "number") return [integer(3, value), integer(20, 2)];
  if (typeof value === "string") return [text(4, value), integer(20, 3)];
  if ("float" in value) return [float(2, value.float), integer(20, 1)];
  if ("floats" in value) return [...value.floats.map((item) => float(7, item)), integer(20, 6)];
  if ("tensor" in value) return [bytes(5, tensorProto(value.tensor)), integer(20, 4)];
  if (value.every((item) => typeof item === "number"))
    return [...value.map((item) => integer(8, item)), integer(20, 7)];
  return [...value.map((item) => text(9, item)), integer(20, 8)];
}

function tensorProto(tensor: OnnxInitializer): Uint8Array {
  const { data, external } = tensor;
  return message([
    ...tensor.dims.map((size) => integer(1, size)),
    integer(2, ONNX_TYPES[tensor.type]),
    text(8, tensor.name),
    ...(data === undefined ? [] : tensorData(data)),
    ...(external === undefined ? [] : [...externalData(external), integer(14, 1)]),
  ]);
}

function tensorData(data: ArrayBufferView | readonly string[]): Uint8Array[] {
  if (ArrayBuffer.isView(data))
    return [bytes(9, new Uint8Array(data.buffer, data.byteOffset, data.byteLength))];
  return data.map((item) => text(6, item));
}

function externalData(external: NonNullable<OnnxInitializer["external"]>): Uint8Array[] {
  return Object.entries(external).map(([key, value]) => bytes(13, entry(key, String(value))));
}

function entry(key: string, value: string): Uint8Array {
  return message([text(1, key), text(2, value)]);
}

function valueProto(value: OnnxValue): Uint8Array {
  return message([text(1, value.name), bytes(2, typeProto(value))]);
}

function typeProto(value: OnnxValue): Uint8Array {
  const tensor = bytes(
    1,
    message([integer(1, ONNX_TYPES[value.type]), value.shape ? bytes(2, shapeProto(value.shape)) : EMPTY]),
  );
  const map = (): Uint8Array =>
    bytes(5, message([integer(1, ONNX_TYPES.int64), bytes(2, bytes(1, integer(1, ONNX_TYPES[value.type])))]));
  switch (value.kind) {
    case "sequence":
      return bytes(4, bytes(1, tensor));
    case "optional":
      return bytes(9, bytes(1, tensor));
    case "map":
      return map();
    case "sequence-of-maps":
      return bytes(4, bytes(1, map()));
    default:
      return tensor;
  }
}

function shapeProto(shape: readonly (number | string | null)[]): Uint8Array {
  return message(
    shape.map((size) => {
      if (size === null) return bytes(1, EMPTY);
      return bytes(1, typeof size === "number" ? integer(1, size) : text(2, size));
    }),
  );
}

function message(fields: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(fields));
}

function varint(value: number): number[] {
  const out: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  while (rest > 127n) {
    out.push(Number(rest & 127n) | 128);
    rest >>= 7n;
  }
  out.push(Number(rest));
  return out;
}

function integer(field: number, value: number): Uint8Array {
  return Uint8Array.from([...varint(field * 8), ...varint(value)]);
}

function float(field: number, value: number): Uint8Array {
  return message([Uint8Array.from(varint(field * 8 + 5)), new Uint8Array(Float32Array.of(value).buffer)]);
}

function bytes(field: number, value: Uint8Array): Uint8Array {
  return message([Uint8Array.from([...varint(field * 8 + 2), ...varint(value.byteLength)]), value]);
}

function text(field: number, value: string): Uint8Array {
  return bytes(field, new TextEncoder().encode(value));
}
