// JSON Schemas of a model's input and output: those its author gave, else made from its contract; and of the tensors that
// it takes and gives in the Open Inference Protocol.
import type {
  Contract,
  Datatype,
  JsonObject,
  JsonValue,
  Manifest,
  TensorSpec,
} from "../../../containers/protocol.ts";

/** JSON Schema (2020-12) of one input, as `input` of a prediction takes it. */
export function inputSchema({ schemas, contract, inputType }: Manifest): JsonObject {
  if (schemas?.input !== undefined) return schemas.input;
  const { inputs } = contract;
  const [only] = inputs;
  if (only === undefined) return {};
  if (inputs.length > 1) return byName(inputs, (spec) => inputTensor(spec, true));
  const alone = inputTensor(only, inputType === "tensor");
  if (inputType !== "tensor" || only.contentType === "json") return alone;
  return { anyOf: [alone, byName(inputs, (spec) => inputTensor(spec, true))] };
}

/** JSON Schema (2020-12) of one output. */
export function outputSchema({ schemas, contract }: Manifest): JsonObject {
  if (schemas?.output !== undefined) return schemas.output;
  const { outputs } = contract;
  const [only] = outputs;
  if (only === undefined) return {};
  return outputs.length === 1 ? nested(only, outputElement(only)) : byName(outputs, outputTensor);
}

/** JSON Schema of `inputs` of an inference request: the contract's tensors, each once, in any order. */
export function inferInputs({ inputs, isBatched }: Contract): JsonObject {
  const items = inputs.flatMap((spec) => {
    const { datatype, shape } = spec;
    const isHalf = datatype === "FP16" || datatype === "BF16";
    const data = isHalf
      ? undefined
      : { type: "array", items: nestable(spec, protocolElement(spec, "input")) };
    const dense = tensor(spec, { datatype, shape: sizes(shape, isBatched), data });
    return spec.isRagged === true ? [dense, vectors(spec)] : [dense];
  });
  return { type: "array", minItems: inputs.length, maxItems: inputs.length, items: { anyOf: items } };
}

/** JSON Schema of `outputs` of the reply: those of the contract that were asked for. */
export function inferOutputs({ outputs, isBatched }: Contract): JsonObject {
  const items = outputs.flatMap((spec) => {
    const { datatype, shape } = spec;
    const anyShape = { type: "array", items: SIZE };
    const data = { type: "array", items: protocolElement(spec, "output") };
    const known = spec.hasUnknownShape === true ? anyShape : sizes(shape, isBatched);
    const dense = tensor(spec, { datatype, shape: known, data });
    if (datatype === "BYTES") return [dense];
    const text = { type: "array", items: TEXT };
    const classes = tensor(spec, { datatype: "BYTES", shape: anyShape, data: text });
    return [
      dense,
      { ...classes, description: "Most likely classes, where they were asked for" },
      vectors(spec),
    ];
  });
  return { type: "array", minItems: 1, maxItems: outputs.length, items: { anyOf: items } };
}

const SIZE: JsonObject = { type: "integer", minimum: 0 };

interface TensorParts {
  readonly datatype: Datatype;
  readonly shape: JsonObject;
  /** Undefined: it travels in binary only. */
  readonly data: JsonObject | undefined;
}

function tensor({ name }: TensorSpec, { datatype, shape, data }: TensorParts): JsonObject {
  return {
    type: "object",
    properties: {
      name: { const: name },
      datatype: { const: datatype },
      shape,
      parameters: { type: "object" },
      ...(data === undefined ? {} : { data }),
    },
    required: ["name", "datatype", "shape"],
  };
}

/** Rows of different lengths. */
function vectors(spec: TensorSpec): JsonObject {
  const rows = { type: "array", items: { type: "array", items: protocolElement(spec, "output") } };
  const shape = { type: "array", items: SIZE, minItems: 1, maxItems: 1 };
  return {
    ...tensor(spec, { datatype: "BYTES", shape, data: rows }),
    description: "Rows of different lengths",
  };
}

/** A scalar row may have axes of one element. */
function sizes(shape: readonly number[], isBatched: boolean): JsonObject {
  const axes = shape.map((size): JsonObject => (size < 0 ? SIZE : { const: size }));
  const all = isBatched ? [SIZE, ...axes] : axes;
  const exact = all.length === 0 ? {} : { prefixItems: all, minItems: all.length };
  return {
    type: "array",
    ...exact,
    ...(shape.length === 0 ? { items: { const: 1 } } : { maxItems: all.length }),
  };
}

/** The protocol takes `data` flat or nested, however it is nested. */
function nestable({ shape }: TensorSpec, element: JsonObject): JsonObject {
  return shape.length === 0 ? element : { anyOf: [element, { type: "array" }] };
}

function protocolElement(spec: TensorSpec, side: "input" | "output"): JsonObject {
  if (spec.datatype === "BYTES") {
    const content = spec.contentType === undefined ? undefined : VECTOR_CONTENTS[spec.contentType];
    return side === "output" && content !== undefined ? content : TEXT;
  }
  const element: { readonly [key: string]: JsonValue } = inputElement(spec);
  if (element["type"] !== "number") return element;
  return side === "input"
    ? { anyOf: [NUMBER_OR_NULL, { enum: ["NaN", "Infinity", "-Infinity"] }] }
    : NUMBER_OR_NULL;
}

function outputTensor(spec: TensorSpec): JsonObject {
  return nested(spec, outputElement(spec));
}

/** Arrays nested as the shape is, or a flat one of as many elements where that may be sent too. */
function inputTensor(spec: TensorSpec, mayNest: boolean): JsonObject {
  const { shape } = spec;
  const element = inputElement(spec);
  if (shape.length <= 1) return nested(spec, element);
  const isFixed = !shape.includes(-1);
  const count = shape.reduce((product, size) => product * size, 1);
  const flat = { type: "array", items: element, ...(isFixed ? { minItems: count, maxItems: count } : {}) };
  return mayNest ? { anyOf: [nested(spec, element), flat] } : flat;
}

function nested({ shape, hasUnknownShape }: TensorSpec, element: JsonObject): JsonObject {
  if (hasUnknownShape === true) return {};
  return shape.reduceRight<JsonObject>(
    (items, size) => ({ type: "array", items, ...(size < 0 ? {} : { minItems: size, maxItems: size }) }),
    element,
  );
}

function byName(specs: readonly TensorSpec[], schemaOf: (spec: TensorSpec) => JsonObject): JsonObject {
  return {
    type: "object",
    properties: Object.fromEntries(specs.map((spec) => [spec.name, schemaOf(spec)])),
    required: specs.map(({ name }) => name),
  };
}

const INTEGER_BITS: Readonly<Partial<Record<Datatype, number>>> = {
  INT8: 8,
  INT16: 16,
  INT32: 32,
  UINT8: 8,
  UINT16: 16,
  UINT32: 32,
};

function inputElement({ datatype, contentType }: TensorSpec): JsonObject {
  if (datatype === "BYTES")
    return contentType === undefined ? TEXT_OR_BYTES : (CONTENTS[contentType] ?? TEXT);
  if (datatype === "BOOL") return { type: "boolean" };
  if (datatype === "INT64" || datatype === "UINT64")
    return { type: "integer", ...(datatype === "UINT64" ? { minimum: 0 } : {}) };
  const bits = INTEGER_BITS[datatype];
  if (bits === undefined) return { type: "number" };
  return datatype.startsWith("U")
    ? { type: "integer", minimum: 0, maximum: 2 ** bits - 1 }
    : { type: "integer", minimum: -(2 ** (bits - 1)), maximum: 2 ** (bits - 1) - 1 };
}

/** What is not finite is null. */
function outputElement(spec: TensorSpec): JsonObject {
  const element: { readonly [key: string]: JsonValue } = inputElement(spec);
  return element["type"] === "number" ? NUMBER_OR_NULL : element;
}

const TEXT: JsonObject = { type: "string" };
const BASE64: JsonObject = { type: "string", contentEncoding: "base64" };
const TEXT_OR_BYTES: JsonObject = {
  anyOf: [
    TEXT,
    { type: "object", properties: { b64: BASE64 }, required: ["b64"], additionalProperties: false },
  ],
};
const NUMBER_OR_NULL: JsonObject = { type: ["number", "null"] };

/** Elements of datatype BYTES that are vectors. */
const VECTOR_CONTENTS: Readonly<Partial<Record<string, JsonObject>>> = {
  int32: { type: "array", items: { type: "integer" } },
  fp32: { type: "array", items: NUMBER_OR_NULL },
  fp64: { type: "array", items: NUMBER_OR_NULL },
};

/** Elements of datatype BYTES by what they hold. */
const CONTENTS: Readonly<Partial<Record<string, JsonObject>>> = {
  json: {},
  bytes: BASE64,
  ...VECTOR_CONTENTS,
};
