// Servers that are not ours: when they count as ready, what they declare, and what of the protocol they speak.
import {
  DATATYPE_BYTES,
  PATHS,
  type ModelAtServer,
  type Contract,
  type Datatype,
  type TensorSpec,
} from "../../containers/protocol.ts";
import { refusalReason } from "./refusal.ts";
import type { ReplicaTransport } from "./transport.ts";

const PROBE_TIMEOUT_MS = 1_000;
const MAX_SHOWN_MODELS = 20;
/** A server that is busy loading may take a while to describe itself. */
const DESCRIBE_TIMEOUT_MS = 10_000;
/** Of certificates that nobody known has signed. */
const UNTRUSTED: ReadonlySet<string> = new Set([
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
]);
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

/** How a server stands to a model. */
export interface Readiness {
  readonly isReady: boolean;
  /** Why it is not ready: "GET /v2/health/ready answers 401: no token". */
  readonly why?: string;
  /** It will not become ready: the server is, and does not have this. */
  readonly isFinal?: true;
  /** It has other models only: these. */
  readonly others?: readonly string[];
}

/**
 * A server may be ready and this model not (a repository of many), or know readiness by one of the two paths only. The
 * status decides; a body that says `"ready": false` is believed, too.
 */
export async function foreignReadiness(
  transport: ReplicaTransport,
  model: ModelAtServer,
): Promise<Readiness> {
  const server = await ask(transport, PATHS.ready);
  if (server instanceof Error || (!isWithout(server) && !saysReady(server)))
    return { isReady: false, why: shown(PATHS.ready, server) };
  const path = PATHS.modelReady(model.name, model.version);
  const own = await ask(transport, path);
  if (own instanceof Error) return { isReady: false, why: shown(path, own) };
  if (saysReady(own)) return { isReady: true };
  const why = await whyItNeverWill(transport, model, own);
  if (why !== undefined) return { isReady: false, isFinal: true, ...why };
  return isWithout(own) && saysReady(server)
    ? { isReady: true }
    : { isReady: false, why: shown(path, isWithout(own) ? server : own) };
}

/** What a server that is ready, and not with this model, does not have; undefined: the model may come. */
async function whyItNeverWill(
  transport: ReplicaTransport,
  model: ModelAtServer,
  { statusCode }: Reply,
): Promise<Pick<Readiness, "why" | "others"> | undefined> {
  const others = statusCode === 400 || statusCode === 404 ? await otherModels(transport, model.name) : [];
  if (others.length > 0) {
    const why = `it has no model ${model.name}, but ${others.join(", ")}; give its name for the model by modelName`;
    return { why, others };
  }
  const why = await whyNoVersion(transport, model);
  return why === undefined ? undefined : { why };
}

async function ask(transport: ReplicaTransport, path: string): Promise<Reply | Error> {
  return transport.get(path, PROBE_TIMEOUT_MS).catch((error: Error) => error);
}

function isWithout({ statusCode }: Reply): boolean {
  return NO_SUCH_PATH.has(statusCode);
}

function saysReady({ statusCode, text }: Reply): boolean {
  return statusCode === 200 && objectOf(text)["ready"] !== false;
}

function shown(path: string, reply: Reply | Error): string {
  if (reply instanceof Error) return `GET ${path}: ${reply.message || String(reply)}${adviceOn(reply)}`;
  const { statusCode, text } = reply;
  const isElsewhere = statusCode >= 300 && statusCode < 400;
  const reason = isElsewhere ? "redirects are not followed" : refusalReason(text).trim().slice(0, 200);
  return `GET ${path} answers ${statusCode}${reason === "" ? "" : `: ${reason}`}`;
}

function adviceOn(error: Error): string {
  const isUntrusted = "code" in error && UNTRUSTED.has(String(error.code));
  return isUntrusted
    ? "; name the file of its certificate's authority in NODE_EXTRA_CA_CERTS where windjammer runs"
    : "";
}

/** Why a server that has the model does not have this version of it; undefined when it may have. */
async function whyNoVersion(
  transport: ReplicaTransport,
  { name, version }: ModelAtServer,
): Promise<string | undefined> {
  if (version === undefined) return undefined;
  const path = PATHS.model(name, version);
  const [own, model] = [await ask(transport, path), await ask(transport, PATHS.model(name))];
  if (own instanceof Error || own.statusCode === 200) return undefined;
  if (model instanceof Error || model.statusCode !== 200) return undefined;
  const listed = objectOf(model.text)["versions"];
  const versions: readonly unknown[] = Array.isArray(listed) ? listed : [];
  // It may still be loaded.
  if (versions.includes(version)) return undefined;
  return versions.length > 0
    ? `it has no version ${version} of model ${name}, but ${versions.slice(0, MAX_SHOWN_MODELS).join(", ")}; name one of them by modelVersion`
    : `it knows no versions of model ${name} (${shown(path, own)}); leave modelVersion out`;
}

/** Models of a server that does not know this one; none when it does, or does not say. */
async function otherModels(transport: ReplicaTransport, model: string): Promise<readonly string[]> {
  const metadata = await ask(transport, PATHS.model(model));
  if (metadata instanceof Error || metadata.statusCode === 200) return [];
  const index = await repositoryIndex(transport);
  const entries: unknown = index ?? objectOf(await textOf(transport, PATHS.models))["models"];
  if (!Array.isArray(entries)) return [];
  const names = entries.flatMap((entry: unknown): string[] => {
    const name: unknown = typeof entry === "object" && entry !== null && "name" in entry ? entry.name : entry;
    return typeof name === "string" && name !== "" ? [name] : [];
  });
  return names.includes(model) ? [] : [...new Set(names)].slice(0, MAX_SHOWN_MODELS);
}

async function textOf(transport: ReplicaTransport, path: string): Promise<string> {
  const reply = await ask(transport, path);
  return reply instanceof Error || reply.statusCode !== 200 ? "" : reply.text;
}

/** Of Triton and MLServer. */
function repositoryIndex(transport: ReplicaTransport): Promise<unknown> {
  const call = { path: PATHS.repositoryIndex, headerLength: undefined, deadlineMs: PROBE_TIMEOUT_MS };
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, PROBE_TIMEOUT_MS);
    transport.infer({ ...call, body: Buffer.from("{}") }, (_, reply) => {
      clearTimeout(timer);
      const isThere = reply?.statusCode === 200;
      resolve(isThere ? parsed(Buffer.from(reply.body).toString("utf8")) : undefined);
    });
  });
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
 * @throws Error saying what is wrong with its metadata
 */
export async function describeServer(
  transport: ReplicaTransport,
  model: ModelAtServer,
): Promise<Description> {
  const path = PATHS.model(model.name, model.version);
  const server = await transport.get(PATHS.server, DESCRIBE_TIMEOUT_MS);
  const { extensions } = server.statusCode === 200 ? objectOf(server.text) : {};
  const tensors = Array.isArray(extensions) && extensions.includes(BINARY) ? "binary" : "json";
  const reply = await transport.get(path, DESCRIBE_TIMEOUT_MS);
  const declared = declaredTensors(reply);
  if (declared === undefined || declared.inputs.length === 0 || declared.outputs.length === 0)
    return { contract: undefined, tensors, notes: [] };
  const config = await transport.get(`${path}/config`, DESCRIBE_TIMEOUT_MS);
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
  const value = parsed(text);
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

/** Undefined for what is no JSON. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
