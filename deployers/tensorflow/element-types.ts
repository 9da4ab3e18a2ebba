// Element types of TensorFlow: which can be served by which runtime, and as what on the wire.
import { UnsupportedModelError, type Datatype } from "../../core/index.ts";

/** DataType of types.proto, by number and by its name in JSON. */
const NAMES: ReadonlyMap<number, string> = new Map([
  [1, "FLOAT"],
  [2, "DOUBLE"],
  [3, "INT32"],
  [4, "UINT8"],
  [5, "INT16"],
  [6, "INT8"],
  [7, "STRING"],
  [8, "COMPLEX64"],
  [9, "INT64"],
  [10, "BOOL"],
  [11, "QINT8"],
  [12, "QUINT8"],
  [13, "QINT32"],
  [14, "BFLOAT16"],
  [15, "QINT16"],
  [16, "QUINT16"],
  [17, "UINT16"],
  [18, "COMPLEX128"],
  [19, "HALF"],
  [20, "RESOURCE"],
  [21, "VARIANT"],
  [22, "UINT32"],
  [23, "UINT64"],
]);

/** What tfjs-node gives of a SavedModel. */
const NATIVE_OUTPUTS: Readonly<Record<string, Datatype>> = {
  FLOAT: "FP32",
  INT32: "INT32",
  INT64: "INT64",
  BOOL: "BOOL",
  STRING: "BYTES",
};

/** What it takes. */
const NATIVE_INPUTS: Readonly<Record<string, Datatype>> = { ...NATIVE_OUTPUTS, UINT8: "UINT8" };

/** TensorFlow.js computes everything in these three; models with strings fail in it on every backend. */
const TFJS: Readonly<Record<string, Datatype>> = {
  FLOAT: "FP32",
  HALF: "FP32",
  BFLOAT16: "FP32",
  DOUBLE: "FP32",
  INT32: "INT32",
  INT64: "INT32",
  INT16: "INT32",
  INT8: "INT32",
  UINT8: "INT32",
  UINT16: "INT32",
  BOOL: "BOOL",
};

/** "DT_FLOAT", "float32" or 1 gives "FLOAT". */
export function elementTypeName(dtype: number | string): string {
  if (typeof dtype === "number") return NAMES.get(dtype) ?? `TYPE ${dtype}`;
  const name = dtype.replace(/^DT_/i, "").toUpperCase();
  return name === "FLOAT32" ? "FLOAT" : name === "FLOAT64" ? "DOUBLE" : name === "FLOAT16" ? "HALF" : name;
}

interface Place {
  readonly role: "input" | "output";
  readonly name: string;
}

/** @throws UnsupportedModelError naming the tensor */
export function nativeDatatype(dtype: number, { role, name }: Place): Datatype {
  const element = elementTypeName(dtype);
  const datatype = (role === "input" ? NATIVE_INPUTS : NATIVE_OUTPUTS)[element];
  if (datatype !== undefined) return datatype;
  throw new UnsupportedModelError(
    `${role} "${name}" is a tensor of ${element.toLowerCase()}, which tfjs-node cannot ${role === "input" ? "take" : "give"}; ` +
      `export the model with a tf.cast to ${isWhole(element) ? "tf.int32 or tf.int64" : "tf.float32"} in its signature` +
      (role === "input" ? "" : ", or leave it out with the option outputs"),
    { details: { [role]: name, elementType: element.toLowerCase() } },
  );
}

function isWhole(element: string): boolean {
  return /^[UQ]*INT/.test(element);
}

/** @throws UnsupportedModelError naming the tensor */
export function tfjsDatatype(dtype: number | string, { role, name }: Place): Datatype {
  const element = elementTypeName(dtype);
  const datatype = TFJS[element];
  if (datatype !== undefined) return datatype;
  throw new UnsupportedModelError(
    `${role} "${name}" is a tensor of ${element.toLowerCase()}, which TensorFlow.js cannot compute with; ` +
      "deploy the SavedModel that it was converted from, which runs natively",
    { details: { [role]: name, elementType: element.toLowerCase() } },
  );
}
