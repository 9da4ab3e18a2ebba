// Tensors of the Open Inference Protocol, as JSON and in binary, to rows and back.
const VIEWS = {
  BOOL: ["Uint8", 1],
  UINT8: ["Uint8", 1],
  INT8: ["Int8", 1],
  UINT16: ["Uint16", 2],
  INT16: ["Int16", 2],
  UINT32: ["Uint32", 4],
  INT32: ["Int32", 4],
  UINT64: ["BigUint64", 8],
  INT64: ["BigInt64", 8],
  FP32: ["Float32", 4],
  FP64: ["Float64", 8],
};

/** The request is wrong; the text says where, what was expected and what came. */
export class Refusal extends Error {}

/** Inputs by name, each a list of rows, and how many rows there are. @param headerLength undefined: the body is all JSON */
export function readInputs(body, headerLength, specs) {
  const request = parse(body.subarray(0, headerLength));
  if (!Array.isArray(request?.inputs))
    throw new Refusal("the body is no inference request: it has no inputs");
  let binary = headerLength === undefined ? Buffer.alloc(0) : body.subarray(headerLength);
  const names = request.inputs.map((tensor) => tensor?.name);
  const missing = specs.find((spec) => !names.includes(spec.name));
  if (missing !== undefined || names.length !== specs.length)
    throw new Refusal(`expected the inputs ${specs.map(({ name }) => name)}, got ${names}`);
  const rows = {};
  const counts = new Set();
  for (const tensor of request.inputs) {
    const spec = specs.find(({ name }) => name === tensor.name);
    checkHead(tensor, spec);
    const size = tensor.parameters?.binary_data_size;
    const values = size === undefined ? numbers(tensor, spec) : unpack(spec, binary.subarray(0, size));
    binary = binary.subarray(size ?? 0);
    const count = product(tensor.shape);
    if (values.length !== count)
      throw new Refusal(
        `input ${spec.name}: shape [${tensor.shape}] takes ${count} elements, got ${values.length}`,
      );
    rows[spec.name] = nest(values, tensor.shape);
    counts.add(tensor.shape[0]);
  }
  if (binary.length > 0) throw new Refusal(`${binary.length} bytes are left over`);
  if (counts.size !== 1) throw new Refusal("inputs have batches of different sizes");
  return { rows, count: [...counts][0] };
}

/** The body of an answer, and its headers. @param answers a list of rows for each output */
export function writeOutputs(answers, { specs, count, isBinary, head }) {
  const tails = [];
  const outputs = specs.map(({ name, datatype, shape }) => {
    const rows = answers[name];
    if (rows?.length !== count)
      throw new Error(`output ${name} has ${rows?.length} rows for ${count} inputs`);
    const values = rows.flat(Infinity);
    const full = [count];
    for (let level = rows[0], depth = 0; depth < shape.length; level = level?.[0], depth++)
      full.push(level?.length ?? 0);
    if (!isBinary)
      return `{"name":${JSON.stringify(name)},"datatype":"${datatype}","shape":[${full}],"data":${list(values)}}`;
    const tail = pack(datatype, values);
    tails.push(tail);
    return `{"name":${JSON.stringify(name)},"datatype":"${datatype}","shape":[${full}],"parameters":{"binary_data_size":${tail.length}}}`;
  });
  const json = Buffer.from(`${JSON.stringify(head).slice(0, -1)},"outputs":[${outputs}]}`);
  const type = isBinary ? "application/octet-stream" : "application/json";
  const headers = {
    "content-type": type,
    ...(isBinary ? { "inference-header-content-length": json.length } : {}),
  };
  return { body: Buffer.concat([json, ...tails]), headers };
}

function parse(bytes) {
  try {
    // Digits of 64-bit integers beyond 2^53 are kept.
    return JSON.parse(bytes.toString(), (_, value, { source }) =>
      typeof value === "number" && !Number.isSafeInteger(value) && /^-?\d{16,20}$/.test(source ?? "")
        ? BigInt(source)
        : value,
    );
  } catch (error) {
    throw new Refusal(`the body is no inference request: ${error.message}`);
  }
}

function checkHead({ datatype, shape }, spec) {
  if (datatype !== spec.datatype)
    throw new Refusal(`input ${spec.name}: expected ${spec.datatype}, got ${datatype}`);
  const wanted = [-1, ...spec.shape];
  const fits =
    Array.isArray(shape) &&
    shape.length === wanted.length &&
    shape.every((size, axis) => Number.isInteger(size) && size >= 0 && [-1, size].includes(wanted[axis]));
  if (!fits)
    throw new Refusal(`input ${spec.name}: expected shape [${wanted}], got ${JSON.stringify(shape)}`);
}

function numbers({ data }, { name, datatype }) {
  if (!Array.isArray(data)) throw new Refusal(`input ${name}: expected data, got ${typeof data}`);
  const values = data.flat(Infinity);
  const isBig = datatype.endsWith("INT64");
  const kind = datatype === "BYTES" ? "string" : datatype === "BOOL" ? "boolean" : "number";
  const wrong = values.findIndex((value) => typeof value !== kind && !(isBig && typeof value === "bigint"));
  if (wrong !== -1)
    throw new Refusal(`input ${name}: element ${wrong} is no ${datatype}: ${String(values[wrong])}`);
  return isBig ? values.map(BigInt) : values;
}

function unpack({ name, datatype }, bytes) {
  if (datatype === "BYTES") return texts(bytes, name);
  const [view, width] = VIEWS[datatype] ?? [];
  if (view === undefined || bytes.length % width !== 0)
    throw new Refusal(`input ${name}: ${bytes.length} bytes are no ${datatype}`);
  const data = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return Array.from({ length: bytes.length / width }, (_, index) => data[`get${view}`](index * width, true));
}

function texts(bytes, name) {
  const found = [];
  for (let at = 0; at < bytes.length;) {
    if (at + 4 > bytes.length) throw new Refusal(`input ${name}: a BYTES element is cut off`);
    const end = at + 4 + bytes.readUInt32LE(at);
    if (end > bytes.length) throw new Refusal(`input ${name}: a BYTES element is cut off`);
    found.push(bytes.toString("utf8", at + 4, end));
    at = end;
  }
  return found;
}

function pack(datatype, values) {
  if (datatype === "BYTES") {
    return Buffer.concat(
      values.flatMap((value) => {
        const text = Buffer.from(value);
        const length = Buffer.alloc(4);
        length.writeUInt32LE(text.length);
        return [length, text];
      }),
    );
  }
  const [view, width] = VIEWS[datatype];
  const bytes = Buffer.alloc(values.length * width);
  const data = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (const [index, value] of values.entries())
    data[`set${view}`](index * width, datatype.endsWith("INT64") ? BigInt(value) : Number(value), true);
  return bytes;
}

/** As JSON; 64-bit integers with all their digits. */
function list(values) {
  return `[${values.map((value) => (typeof value === "bigint" ? value : JSON.stringify(value)))}]`;
}

function nest(values, shape) {
  if (shape.length <= 1) return values;
  const size = product(shape.slice(1));
  return Array.from({ length: shape[0] }, (_, row) =>
    nest(values.slice(row * size, (row + 1) * size), shape.slice(1)),
  );
}

function product(shape) {
  return shape.reduce((all, size) => all * size, 1);
}
