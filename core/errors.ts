// Every error class of Windjammer, with its code, HTTP status and whether trying again may help.
// core/README.md has the same list as a table; errors.test.ts holds the two together.

export interface WindjammerErrorOptions {
  readonly cause?: unknown;
  /** What a program may want to read: the field, the limit, the last log lines. Goes into replies. */
  readonly details?: { readonly [key: string]: unknown };
  /** Seconds after which trying again makes sense; becomes Retry-After. */
  readonly retryAfterS?: number;
}

/** What all errors of a class share. */
export interface ErrorKind {
  /** Stable, UPPER_SNAKE. */
  readonly code: string;
  /** HTTP status of a reply with it. */
  readonly statusCode: number;
  /** The same call may succeed later. */
  readonly isRetryable: boolean;
}

function kind(code: string, statusCode: number, retry?: "retryable"): ErrorKind {
  return { code, statusCode, isRetryable: retry === "retryable" };
}

/** Base of all. Test the class or `code`, never the message. */
export class WindjammerError extends Error {
  static readonly kind: ErrorKind = kind("INTERNAL", 500);

  readonly code: string;
  readonly statusCode: number;
  readonly isRetryable: boolean;
  readonly details: { readonly [key: string]: unknown };
  readonly retryAfterS: number | undefined;

  constructor(message: string, options: WindjammerErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.code = new.target.kind.code;
    this.statusCode = new.target.kind.statusCode;
    this.isRetryable = new.target.kind.isRetryable;
    this.details = options.details ?? {};
    this.retryAfterS = options.retryAfterS;
  }
}

// What a caller sent

/** The body is not JSON, or nested too deeply. */
export class InvalidJsonError extends WindjammerError {
  static override readonly kind: ErrorKind = kind("INVALID_JSON", 400);
}

/** A query's input has the wrong type, shape or value; says which field, what was expected, what came. */
export class InvalidInputError extends WindjammerError {
  static override readonly kind: ErrorKind = kind("INVALID_INPUT", 400);
}

/** A body, parameter or option other than a query's input is wrong. */
export class InvalidRequestError extends WindjammerError {
  static override readonly kind: ErrorKind = kind("INVALID_REQUEST", 400);
}

/** The body is over the limit. */
export class BodyTooLargeError extends WindjammerError {
  static override readonly kind: ErrorKind = kind("BODY_TOO_LARGE", 413);
}

/** The list of inputs is over the limit. */
export class BatchTooLargeError extends WindjammerError {
  static override readonly kind: ErrorKind = kind("BATCH_TOO_LARGE", 413);
}

/** The content encoding is not one that is understood. */
export class UnsupportedEncodingError extends WindjammerError {
  static override readonly kind: ErrorKind = kind("UNSUPPORTED_ENCODING", 415);
}

/** The body did not arrive in time. */
export class RequestTimeoutError extends WindjammerError {
  static override readonly kind: ErrorKind = kind("REQUEST_TIMEOUT", 408, "retryable");
}

/** The headers are over the limit. */
export class HeadersTooLargeError extends WindjammerError {
  static override readonly kind: ErrorKind = kind("HEADERS_TOO_LARGE", 431);
}

/** No such path. */
export class RouteNotFoundError extends WindjammerError {
  static override readonly kind: ErrorKind = kind("ROUTE_NOT_FOUND", 404);
}

/** The path exists, not for this method. */
export class MethodNotAllowedError extends WindjammerError {
  static override readonly kind: ErrorKind = kind("METHOD_NOT_ALLOWED", 405);
}

/** Part of the Open Inference Protocol that this server does not have. */
export class NotImplementedError extends WindjammerError {
  static override readonly kind: ErrorKind = kind("NOT_IMPLEMENTED", 501);
}

/** The management API wants its token. */
export class UnauthorizedError extends WindjammerError {
  static override readonly kind: ErrorKind = kind("UNAUTHORIZED", 401);
}

// Names

/** No application of this name. */
export class ApplicationNotFoundError extends WindjammerError {
  static override readonly kind: ErrorKind = kind("APPLICATION_NOT_FOUND", 404);
}

/** No model of this name. */
export class ModelNotFoundError extends WindjammerError {
  static override readonly kind: ErrorKind = kind("MODEL_NOT_FOUND", 404);
}

/** The model has no such version. */
export class VersionNotFoundError extends WindjammerError {
  static override readonly kind: ErrorKind = kind("VERSION_NOT_FOUND", 404);
}

/** No such replica. */
export class ReplicaNotFoundError extends WindjammerError {
  static override readonly kind: ErrorKind = kind("REPLICA_NOT_FOUND", 404);
}

/** No such deployment. */
export class DeploymentNotFoundError extends WindjammerError {
  static override readonly kind: ErrorKind = kind("DEPLOYMENT_NOT_FOUND", 404);
}

/** No bundle of this hash; upload it first. */
export class BundleNotFoundError extends WindjammerError {
  static override readonly kind: ErrorKind = kind("BUNDLE_NOT_FOUND", 404);
}

// A prediction

/** The application has no model. */
export class NoModelLinkedError extends WindjammerError {
  static override readonly kind: ErrorKind = kind("NO_MODEL_LINKED", 503, "retryable");
}

/** No replica of the version runs. */
export class NoReplicaError extends WindjammerError {
  static override readonly kind: ErrorKind = kind("NO_REPLICA", 503, "retryable");
}

/** The latency objective or the request's own deadline passed. */
export class DeadlineExceededError extends WindjammerError {
  static override readonly kind: ErrorKind = kind("DEADLINE_EXCEEDED", 504, "retryable");
}

/** Shed at once, since the answer would come too late or the queue is full. */
export class OverloadedError extends WindjammerError {
  static override readonly kind: ErrorKind = kind("OVERLOADED", 503, "retryable");
}

/** The replica went away with the query, and no other could take it in time. */
export class ReplicaLostError extends WindjammerError {
  static override readonly kind: ErrorKind = kind("REPLICA_LOST", 503, "retryable");
}

/** The replica did not answer a batch within batchTimeoutMs and is being replaced. */
export class ReplicaHungError extends WindjammerError {
  static override readonly kind: ErrorKind = kind("REPLICA_HUNG", 504, "retryable");
}

/** The model threw on this input. */
export class ModelError extends WindjammerError {
  static override readonly kind: ErrorKind = kind("MODEL_ERROR", 500);
}

/** The model answered with the wrong count, shape or something that is not JSON. */
export class InvalidModelOutputError extends WindjammerError {
  static override readonly kind: ErrorKind = kind("INVALID_MODEL_OUTPUT", 500);
}

/** The caller closed the connection; the query was dropped. */
export class CallerGoneError extends WindjammerError {
  static override readonly kind: ErrorKind = kind("CALLER_GONE", 499);
}

/** The server is closing. */
export class ShuttingDownError extends WindjammerError {
  static override readonly kind: ErrorKind = kind("SHUTTING_DOWN", 503, "retryable");
}

// A deployment

/** Options of a deploy call are wrong; says which. */
export class InvalidOptionsError extends WindjammerError {
  static override readonly kind: ErrorKind = kind("INVALID_OPTIONS", 400);
}

/** The model file, module or export does not exist. */
export class ModelFileNotFoundError extends WindjammerError {
  static override readonly kind: ErrorKind = kind("MODEL_FILE_NOT_FOUND", 400);
}

/** The model file is corrupt, or the module does not compile. */
export class InvalidModelFileError extends WindjammerError {
  static override readonly kind: ErrorKind = kind("INVALID_MODEL_FILE", 400);
}

/** The model is intact, but cannot be served; says which part and why. */
export class UnsupportedModelError extends WindjammerError {
  static override readonly kind: ErrorKind = kind("UNSUPPORTED_MODEL", 400);
}

/** A declared package, or this version of it, does not exist. */
export class PackageNotFoundError extends WindjammerError {
  static override readonly kind: ErrorKind = kind("PACKAGE_NOT_FOUND", 400);
}

/** Installing the packages failed for another reason. */
export class PackageInstallError extends WindjammerError {
  static override readonly kind: ErrorKind = kind("PACKAGE_INSTALL_FAILED", 502, "retryable");
}

/** Building the image of a version failed; says the step, its last lines and what to try. */
export class ImageBuildError extends WindjammerError {
  static override readonly kind: ErrorKind = kind("IMAGE_BUILD_FAILED", 502, "retryable");
}

/** The container engine does not answer; says where it was looked for. */
export class EngineUnreachableError extends WindjammerError {
  static override readonly kind: ErrorKind = kind("ENGINE_UNREACHABLE", 503, "retryable");
}

/** The container engine refused a call; says which and why. */
export class EngineRefusedError extends WindjammerError {
  static override readonly kind: ErrorKind = kind("ENGINE_REFUSED", 502);
}

/** The uploaded bundle or its manifest is broken. */
export class InvalidBundleError extends WindjammerError {
  static override readonly kind: ErrorKind = kind("INVALID_BUNDLE", 400);
}

/** The version exists with other content; versions are immutable. */
export class VersionExistsError extends WindjammerError {
  static override readonly kind: ErrorKind = kind("VERSION_EXISTS", 409);
}

/** Another deployment of the same model is running. */
export class DeploymentConflictError extends WindjammerError {
  static override readonly kind: ErrorKind = kind("DEPLOYMENT_CONFLICT", 409, "retryable");
}

/** What is to be deleted is still linked, current or running. */
export class InUseError extends WindjammerError {
  static override readonly kind: ErrorKind = kind("IN_USE", 409);
}

/** The model container ended, or was not ready in time. */
export class ReplicaStartError extends WindjammerError {
  static override readonly kind: ErrorKind = kind("REPLICA_START_FAILED", 500);
}

/** The container declares other inputs or outputs than the bundle. */
export class ContractMismatchError extends WindjammerError {
  static override readonly kind: ErrorKind = kind("CONTRACT_MISMATCH", 500);
}

/** An example failed in the new version, or gave another output than expected. */
export class GateFailedError extends WindjammerError {
  static override readonly kind: ErrorKind = kind("GATE_FAILED", 422);
}

/** The server stopped during the deployment, or it was cancelled; nothing of it is left. */
export class DeploymentInterruptedError extends WindjammerError {
  static override readonly kind: ErrorKind = kind("DEPLOYMENT_INTERRUPTED", 500, "retryable");
}

// The server itself

/** Another process listens on the port. */
export class PortInUseError extends WindjammerError {
  static override readonly kind: ErrorKind = kind("PORT_IN_USE", 500);
}

/** Another server uses the state folder. */
export class StateDirInUseError extends WindjammerError {
  static override readonly kind: ErrorKind = kind("STATE_DIR_IN_USE", 500);
}

/** The state folder cannot be written, or its contents cannot be read. */
export class StateDirError extends WindjammerError {
  static override readonly kind: ErrorKind = kind("STATE_DIR_UNUSABLE", 500);
}

/** No space is left. */
export class DiskFullError extends WindjammerError {
  static override readonly kind: ErrorKind = kind("DISK_FULL", 507, "retryable");
}

/** The client could not reach the server, or it is not a Windjammer. */
export class ServerUnreachableError extends WindjammerError {
  static override readonly kind: ErrorKind = kind("SERVER_UNREACHABLE", 503, "retryable");
}

/** Every class, for turning a code back into its class and for the table in core/README.md. */
export const ERROR_CLASSES: readonly (typeof WindjammerError)[] = [
  WindjammerError,
  InvalidJsonError,
  InvalidInputError,
  InvalidRequestError,
  BodyTooLargeError,
  BatchTooLargeError,
  UnsupportedEncodingError,
  RequestTimeoutError,
  HeadersTooLargeError,
  RouteNotFoundError,
  MethodNotAllowedError,
  NotImplementedError,
  UnauthorizedError,
  ApplicationNotFoundError,
  ModelNotFoundError,
  VersionNotFoundError,
  ReplicaNotFoundError,
  DeploymentNotFoundError,
  BundleNotFoundError,
  NoModelLinkedError,
  NoReplicaError,
  DeadlineExceededError,
  OverloadedError,
  ReplicaLostError,
  ReplicaHungError,
  ModelError,
  InvalidModelOutputError,
  CallerGoneError,
  ShuttingDownError,
  InvalidOptionsError,
  ModelFileNotFoundError,
  InvalidModelFileError,
  UnsupportedModelError,
  PackageNotFoundError,
  PackageInstallError,
  ImageBuildError,
  EngineUnreachableError,
  EngineRefusedError,
  InvalidBundleError,
  VersionExistsError,
  DeploymentConflictError,
  InUseError,
  ReplicaStartError,
  ContractMismatchError,
  GateFailedError,
  DeploymentInterruptedError,
  PortInUseError,
  StateDirInUseError,
  StateDirError,
  DiskFullError,
  ServerUnreachableError,
];

/** Wraps what is not ours, so that every reply has a code. Node's own "no space left" keeps its meaning. */
export function toWindjammerError(error: unknown): WindjammerError {
  if (error instanceof WindjammerError) return error;
  const message = error instanceof Error ? error.message : String(error);
  if (isNodeError(error) && (error.code === "ENOSPC" || error.code === "EDQUOT")) {
    return new DiskFullError(`no space left on the disk: ${message}; free some and try again`, {
      cause: error,
    });
  }
  return new WindjammerError(`unexpected error: ${message}; please report it`, { cause: error });
}

export function isNodeError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && typeof (error as NodeJS.ErrnoException).code === "string";
}
