// Errors as replies carry them, and back.
import { ERROR_CLASSES, WindjammerError, type WindjammerErrorOptions } from "./errors.ts";

const CLASS_BY_CODE: ReadonlyMap<string, typeof WindjammerError> = new Map(
  ERROR_CLASSES.map((errorClass) => [errorClass.kind.code, errorClass]),
);

/** The error as replies carry it. */
export interface ErrorBody {
  readonly error: string;
  readonly message: string;
  readonly details: { readonly [key: string]: unknown };
}

export function errorBody(error: WindjammerError): ErrorBody {
  return { error: error.code, message: error.message, details: error.details };
}

/** What a reply says about its error beside the body. */
interface ErrorReply {
  readonly statusCode?: number | undefined;
  /** Retry-After, seconds. */
  readonly retryAfterS?: number | undefined;
}

/** Rebuilds an error from a reply; a code that is not known here stays on an error of the base class. */
export function errorFromBody(
  body: ErrorBody,
  { statusCode, retryAfterS }: ErrorReply = {},
): WindjammerError {
  const ErrorClass = CLASS_BY_CODE.get(body.error);
  const options = { details: body.details, ...(retryAfterS === undefined ? {} : { retryAfterS }) };
  if (ErrorClass !== undefined) return new ErrorClass(body.message, options);
  return new UnknownCodeError(body, { ...options, ...(statusCode === undefined ? {} : { statusCode }) });
}

/** Of a server that is newer than this client: code and status stand as they came. */
class UnknownCodeError extends WindjammerError {
  override readonly code: string;
  override readonly statusCode: number;

  constructor(body: ErrorBody, options: WindjammerErrorOptions & { readonly statusCode?: number }) {
    super(body.message, options);
    this.code = body.error;
    this.statusCode = options.statusCode ?? WindjammerError.kind.statusCode;
  }
}
