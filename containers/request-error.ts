// The error that becomes a reply of the model container, and the checks of JSON fields that throw it.

export class RequestError extends Error {
  override readonly name = "RequestError";
  readonly statusCode: number;

  constructor(statusCode: number, message: string) {
    super(message);
    this.statusCode = statusCode;
  }
}

/** 400: the request itself is wrong. */
export function badRequest(message: string): RequestError {
  return new RequestError(400, message);
}

export type JsonFields = Readonly<Record<string, unknown>>;

/** `what` names the value in the message. @throws RequestError */
export function asObject(value: unknown, what: string): JsonFields {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as JsonFields;
  throw badRequest(`${what} must be an object`);
}

/** @throws RequestError */
export function asList(value: unknown, what: string): readonly unknown[] {
  if (Array.isArray(value)) return value;
  throw badRequest(`${what} must be a list`);
}

/** The `parameters` of a request, an input or an output. @throws RequestError */
export function parametersOf(fields: JsonFields): JsonFields {
  const parameters = fields["parameters"];
  return parameters === undefined ? {} : asObject(parameters, '"parameters"');
}

/** A value of the caller as JSON, cut where it is long. */
export function quoted(value: unknown): string {
  const text =
    JSON.stringify(value, (_key, item: unknown) => (typeof item === "bigint" ? `${item}` : item)) ?? "(none)";
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}
