// What frontend and model container agree on: the manifest, the contract, names on the wire, environment.
// Imports nothing, since it is copied into every image and read by every part of core.

/** Tensor element types of the Open Inference Protocol (V2), with Triton's BF16. */
export type Datatype =
  | "BOOL"
  | "UINT8"
  | "UINT16"
  | "UINT32"
  | "UINT64"
  | "INT8"
  | "INT16"
  | "INT32"
  | "INT64"
  | "FP16"
  | "BF16"
  | "FP32"
  | "FP64"
  | "BYTES";

/** Bytes per element; BYTES elements carry their own length (uint32, little-endian) instead. */
export const DATATYPE_BYTES: Readonly<Record<Datatype, number>> = {
  BOOL: 1,
  UINT8: 1,
  UINT16: 2,
  UINT32: 4,
  UINT64: 8,
  INT8: 1,
  INT16: 2,
  INT32: 4,
  INT64: 8,
  FP16: 2,
  BF16: 2,
  FP32: 4,
  FP64: 8,
  BYTES: 0,
};

/** All of them. */
export const DATATYPES: readonly Datatype[] = Object.keys(DATATYPE_BYTES) as Datatype[];

/**
 * What the elements of a BYTES tensor hold (`parameters.content_type`): JSON text, UTF-8 text, raw bytes, a
 * vector of little-endian numbers (ragged rows), or per-item errors.
 */
export type ContentType = "json" | "str" | "bytes" | "int32" | "fp32" | "fp64" | "error";

/** One named tensor of a contract. `shape` is that of one row, without the batch axis; -1 is a free dimension. */
export interface TensorSpec {
  readonly name: string;
  readonly datatype: Datatype;
  readonly shape: readonly number[];
  readonly contentType?: ContentType;
  /**
   * Rows may differ in length (a numeric vector of free length). A batch of equal rows travels as one dense tensor;
   * else as BYTES [n], one element a row, whose content type names the element type.
   */
  readonly isRagged?: boolean;
  /** Of an output: nobody knows its shape before the model runs. `shape` is [-1], and rows of any shape are taken. */
  readonly hasUnknownShape?: boolean;
}

/** Named, typed, shaped inputs and outputs of a version. */
export interface Contract {
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  /**
   * True when the container takes a leading batch axis on every tensor (all of our own do). False for a foreign
   * container without one: it is served one query at a time, and `shape` is the whole shape.
   */
  readonly isBatched: boolean;
  /** Most rows in one call; without it only the batching policy decides. */
  readonly maxBatchSize?: number;
}

/** What one query of an application holds. The first five are Clipper's; `tensor` is checked against the contract. */
export type InputType = "integers" | "floats" | "doubles" | "bytes" | "strings" | "json" | "tensor";

export type JsonValue =
  | null
  | boolean
  | number
  | string
  | readonly JsonValue[]
  | { readonly [key: string]: JsonValue };
export type JsonObject = { readonly [key: string]: JsonValue };

/** How a server that is not ours is spoken to. */
interface ForeignServer {
  /** Its name for the model, if other than ours. */
  readonly modelName?: string;
  /** Its version of the model, on its paths. Default: none, the one that it serves by itself. */
  readonly modelVersion?: string;
  /** How tensors travel. Default: in binary if the server announces that extension, else as JSON. */
  readonly tensors?: "binary" | "json";
}

/** How an image is reached. */
interface ImagePort {
  /** TCP port it listens on whatever its environment says. Default: it listens where WINDJAMMER_SOCKET or PORT says. */
  readonly port?: number;
}

/** What runs in a bundle's model container instead of our Node server. */
export type ContainerSource =
  /** Our Python server (containers/python/) with the bundle's `predict.py`, `inference.py` or `model.bin`. */
  | { readonly kind: "python" }
  /** An image that serves the Open Inference Protocol. */
  | (ForeignServer & ImagePort & { readonly kind: "image"; readonly image: string })
  /** The image that the bundle's own Dockerfile makes; the bundle's files are its build context. */
  | (ForeignServer & ImagePort & { readonly kind: "dockerfile" })
  /** A program that serves the Open Inference Protocol on the socket or port that it is given; run in the bundle's folder. */
  | (ForeignServer & { readonly kind: "command"; readonly command: readonly string[] })
  /** Servers that run elsewhere and are only called, one or more of the same model. */
  | (ForeignServer & {
      readonly kind: "url";
      readonly urls: readonly string[];
      /** Headers of every call, each by the variable of the frontend's environment that holds its value. */
      readonly headersFrom?: Readonly<Record<string, string>>;
    })
  /** Clipper's own model containers: they connect by themselves, over its ZeroMQ protocol. */
  | { readonly kind: "clipper-rpc" };

/** What runs is a server that may be anybody's, not one of this package. */
export type ForeignSource = Extract<
  ContainerSource,
  { readonly kind: "image" | "dockerfile" | "command" | "url" }
>;

const FOREIGN_KINDS: ReadonlySet<string> = new Set(["image", "dockerfile", "command", "url"]);

export function isForeign(container: ContainerSource | undefined): container is ForeignSource {
  return container !== undefined && FOREIGN_KINDS.has(container.kind);
}

/**
 * `manifest.json` at the root of a bundle: all that a runtime and a model container need to know of it. It holds
 * no name, version or time, so that equal content gives an equal hash.
 */
export interface Manifest {
  readonly format: 1;
  /** Which deployer made the bundle, for people. */
  readonly deployer: string;
  /** Folder under containers/ whose loader.js serves it: "function", "onnx", …; with `container`, the name of its kind. */
  readonly loader: string;
  /** Default: our Node server, with `loader`. */
  readonly container?: ContainerSource;
  /** What queries hold. */
  readonly inputType: InputType;
  /**
   * Without inputs and outputs (only with a `container` that is not ours): as the container itself declares it. It is
   * read when the first replica is ready, and stays with the version.
   */
  readonly contract: Contract;
  /** Packages the model needs, by exact version. */
  readonly packages: Readonly<Record<string, string>>;
  /** Packages whose install scripts may run (true) or must not (false); all others do not run. */
  readonly allowScripts: Readonly<Record<string, boolean>>;
  /** Variables of the model container, beside the WINDJAMMER_ ones. */
  readonly environment: Readonly<Record<string, string>>;
  /** JSON Schemas of one input and one output, where the model's author gave them; inputs are held to theirs. */
  readonly schemas?: { readonly input?: JsonObject; readonly output?: JsonObject };
  /** Settings of the loader: file names relative to the bundle, session options, … */
  readonly model: JsonObject;
  /** Whether calls may change what later calls give: then only inputs that somebody gave are sent to it. Default: no. */
  readonly isStateful?: boolean;
  /** What a user should know, such as an output that is left out. */
  readonly notes: readonly string[];
}

export const MANIFEST_FILE = "manifest.json";

/** Environment of a model container. */
export const ENV = {
  /** Unix socket to listen on; without it PORT. */
  socket: "WINDJAMMER_SOCKET",
  /** TCP port to listen on, on all interfaces of its own network namespace; default 8080. */
  port: "PORT",
  /** Address to bind PORT to; default 0.0.0.0. */
  host: "WINDJAMMER_HOST",
  modelName: "WINDJAMMER_MODEL_NAME",
  modelVersion: "WINDJAMMER_MODEL_VERSION",
  /** The bundle; default /model. */
  modelDir: "WINDJAMMER_MODEL_DIR",
  /** Compute threads, default 1. */
  threads: "WINDJAMMER_THREADS",
  /** Resident memory in MiB at which the container ends itself with exit code 137; unset: no limit. */
  memoryLimitMb: "WINDJAMMER_MEMORY_LIMIT_MB",
  /** "1": end when standard input closes, that is when the process that started it has gone. */
  exitWithParent: "WINDJAMMER_EXIT_WITH_PARENT",
} as const;

/** HTTP headers beside those of the Open Inference Protocol. */
export const HEADERS = {
  /** OIP binary extension: length of the JSON in front of the tensors. */
  inferenceHeaderLength: "inference-header-content-length",
  /** Request: milliseconds until nobody waits for the answer any more. Becomes the AbortSignal of a predict call. */
  deadlineMs: "windjammer-deadline-ms",
  /** Reply: microseconds spent in the loader, without HTTP and queueing. */
  computeUs: "windjammer-compute-us",
} as const;

export const PATHS = {
  live: "/v2/health/live",
  ready: "/v2/health/ready",
  server: "/v2",
  /** Lists of models, which some servers have. */
  models: "/v2/models",
  repositoryIndex: "/v2/repository/index",
  model: (name: string, version?: string): string => modelPath(name, version),
  modelReady: (name: string, version?: string): string => `${modelPath(name, version)}/ready`,
  infer: (name: string, version?: string): string => `${modelPath(name, version)}/infer`,
} as const;

function modelPath(name: string, version?: string): string {
  const path = `/v2/models/${encodeURIComponent(name)}`;
  return version === undefined ? path : `${path}/versions/${encodeURIComponent(version)}`;
}

/** What a server calls a model. */
export interface ModelAtServer {
  readonly name: string;
  readonly version: string | undefined;
}

/** @param model our name for it */
export function modelAtServer(container: ContainerSource | undefined, model: string): ModelAtServer {
  if (!isForeign(container)) return { name: model, version: undefined };
  return { name: container.modelName ?? model, version: container.modelVersion };
}

/** Model metadata `parameters`: name of the socket, beside the container's own, on which the model's thread takes infer calls. */
export const INFER_SOCKET = "infer_socket";

/** Name of the BYTES [n] output that carries per-item errors (`content_type: "error"`); an empty element is none. */
export const ERROR_TENSOR = "windjammer_errors";

/** One element of the error tensor, as JSON. */
export interface ItemError {
  /** MODEL_ERROR: the model threw. INVALID_MODEL_OUTPUT: what it returned cannot be an answer. */
  readonly code: "MODEL_ERROR" | "INVALID_MODEL_OUTPUT";
  readonly message: string;
  /**
   * The model returned another number of outputs than inputs. Alone in its call, this input made it do so; among
   * others, any of them may have, or the model does not handle lists.
   */
  readonly isWrongCount?: true;
}

/** Exit code of a container that passed its memory limit: 128 + SIGKILL, as the kernel's OOM killer leaves it. */
export const EXIT_OUT_OF_MEMORY = 137;
