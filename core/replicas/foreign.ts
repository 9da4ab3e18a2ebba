// Servers that are not ours: when they count as ready, what they declare, and what of the protocol they speak.
import {
  DATATYPE_BYTES,
  PATHS,
  type Contract,
  type Datatype,
  type TensorSpec,
} from "../../containers/protocol.ts";
import type { ReplicaTransport } from "./transport.ts";

const PROBE_TIMEOUT_MS = 1_000;
/** A server that is busy loading may take a while to describe itself. */
const DESCRIBE_TIMEOUT_MS = 10_000;
/** Answers of servers that do not have a path at all. */
const NO_SUCH_PATH: ReadonlySet<number> = new Set([404, 405, 501]);
/** Extension of the protocol: tensors as bytes behind the JSON. */
const BINARY = "binary_tensor_data";

/** One tensor as a server declares it: batch axis included, -1 for what is free. */
interface DeclaredTensor {
  readonly name: string;
  readonly datatype: Datatype;
  readonly shape: readonly number[];
}

interface Reply {
  readonly statusCode: number;
  readonly text: string;
}

/**
 * A server may be ready and this model not (a repository of many), or know readiness by one of the two paths only. The
 * status decides; a body that says `"ready": false` is believed, too.
 */
export async function isForeignReady(transport: ReplicaTransport, model: string): Promise<boolean> {
  const server = await ask(transport, PATHS.ready);
  if (server === undefined) return false;
  if (!NO_SUCH_PATH.has(server.statusCode) && !saysReady(server)) return false;
  const own = await ask(transport, PATHS.modelReady(model));
  if (own === undefined) return false;
  return NO_SUCH_PATH.has(own.statusCode) ? saysReady(server) : saysReady(own);
}

async function ask(transport: ReplicaTransport, path: string): Promise<Reply | undefined> {
  return transport.get(path, PROBE_TIMEOUT_MS).catch(() => undefined);
}

function saysReady({ statusCode, text }: Reply): boolean {
  return statusCode === 200 && objectOf(text)["ready"] !== false;
}

/**
 * Whether a version's contract fits what the server declares: the same names and types, and shapes that can be equal.
 * Servers that declare none (many do not) are taken at the contract's word.
 * @returns what is wrong, to be said after "the container of …"
 */
export function checkForeignContract(reply: Reply, contract: Contract): string | undefined {
  if (contract.inputs.length === 0) return undefined;
  let declared: Declared | undefined;
  try {
    declared = declaredTensors(reply);
  } catch (error) {
    return `cannot be held against its contract: ${(error as Error).message}`;
  }
  if (declared === undefined) return undefined;
  return difference("inputs", declared.inputs, contract) ?? difference("outputs", declared.outputs, contract);
}

function difference(
  side: "inputs" | "outputs",
  declared: readonly DeclaredTensor[],
  contract: Contract,
): string | undefined {
  if (declared.length === 0) return undefined;
  const wrong = contract[side].find(
    (spec) => !declared.some((tensor) => tensor.name === spec.name && fits(tensor, spec, contract.isBatched)),
  );
  if (wrong === undefined) return undefined;
  const shape = contract.isBatched ? [-1, ...wrong.shape] : wrong.shape;
  return `declares other ${side} than its contract: expected ${describe({ ...wrong, shape })}; got ${declared.map(describe).join(", ")}`;
}

function fits(declared: DeclaredTensor, spec: TensorSpec, isBatched: boolean): boolean {
  const shape = isBatched ? [-1, ...spec.shape] : spec.shape;
  return (
    declared.datatype === spec.datatype &&
    declared.shape.length === shape.length &&
    shape.every((size, axis) => size === -1 || declared.shape[axis] === -1 || size === declared.shape[axis])
  );
}

function describe({ name, datatype, shape }: DeclaredTensor): string {
  return `${name} ${datatype} [${shape.join(",")}]`;
}

/** What a server says of a model. */
export interface Description {
  /** undefined: it declares none. */
  readonly contract: Contract | undefined;
  readonly tensors: "binary" | "json";
  /** Worth knowing: what was concluded, and from what. */
  readonly notes: readonly string[];
}

/**
 * Asks a server that is ready. A model is batched when all its tensors begin with a free dimension; Triton says by its
 * `max_batch_size` whether they may differ from row to row, and how many rows it takes.
 * @param model the server's name for it
 * @throws Error saying what is wrong with its metadata
 */
export async function describeServer(transport: ReplicaTransport, model: string): Promise<Description> {
  const server = await transport.get(PATHS.server, DESCRIBE_TIMEOUT_MS);
  const { extensions } = server.statusCode === 200 ? objectOf(server.text) : {};
  const tensors = Array.isArray(extensions) && extensions.includes(BINARY) ? "binary" : "json";
  const reply = await transport.get(PATHS.model(model), DESCRIBE_TIMEOUT_MS);
  const declared = declaredTensors(reply);
  if (declared === undefined || declared.inputs.length === 0 || declared.outputs.length === 0)
    return { contract: undefined, tensors, notes: [] };
  const config = await transport.get(`${PATHS.model(model)}/config`, DESCRIBE_TIMEOUT_MS);
  const maxBatchSize = config.statusCode === 200 ? objectOf(config.text)["max_batch_size"] : undefined;
  return { ...batchesOf(declared, maxBatchSize), tensors };
}

interface Declared {
  readonly inputs: readonly DeclaredTensor[];
  readonly outputs: readonly DeclaredTensor[];
}

function batchesOf(declared: Declared, maxBatchSize: unknown): Omit<Description, "tensors"> {
  const all = [...declared.inputs, ...declared.outputs];
  const isFree = all.every(({ shape }) => shape[0] === -1);
  const isBatched = isFree && maxBatchSize !== 0;
  const spec = ({ name, datatype, shape }: DeclaredTensor): TensorSpec => ({
    name,
    datatype,
    shape: isBatched ? shape.slice(1) : shape,
  });
  const most = isBatched && typeof maxBatchSize === "number" ? { maxBatchSize } : {};
  return {
    contract: {
      inputs: declared.inputs.map(spec),
      outputs: declared.outputs.map(spec),
      isBatched,
      ...most,
    },
    notes: [
      isBatched
        ? "all its tensors begin with a free dimension, which is taken for the batch; give the contract with isBatched: false if it is not"
        : "its tensors have no batch axis: queries go to it one by one; give the contract with isBatched: true if rows can be stacked",
    ],
  };
}

/** undefined when it has no metadata of the model. @throws Error for metadata that cannot be understood */
function declaredTensors({ statusCode, text }: Reply): Declared | undefined {
  if (statusCode !== 200) return undefined;
  const { inputs, outputs } = objectOf(text);
  return { inputs: tensorsOf(inputs, "inputs"), outputs: tensorsOf(outputs, "outputs") };
}

function tensorsOf(value: unknown, side: string): readonly DeclaredTensor[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw new Error(`its metadata has ${side} that are no list`);
  return value.map((entry: unknown, index) => {
    const { name, datatype, shape } = (entry ?? {}) as Partial<Record<string, unknown>>;
    const isKnown = typeof datatype === "string" && Object.hasOwn(DATATYPE_BYTES, datatype);
    if (typeof name === "string" && isKnown && Array.isArray(shape) && shape.every(isSize))
      return { name, datatype: datatype as Datatype, shape: shape.map(Number) };
    throw new Error(
      `its metadata has a tensor that cannot be understood, ${side}[${index}]: ${JSON.stringify(entry)?.slice(0, 200)}; ` +
        "expected a name, a datatype of the protocol and a shape with -1 for what is free",
    );
  });
}

/** Triton writes 64-bit sizes as text in places. */
function isSize(value: unknown): boolean {
  return Number.isSafeInteger(Number(value)) && Number(value) >= -1 && value !== null && value !== "";
}

function objectOf(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}
