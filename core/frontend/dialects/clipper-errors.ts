// Errors of predictions in Clipper's own shape, for those that Clipper has: {"error": …, "cause": …}, always with status 400.
import type { InputType } from "../../../containers/protocol.ts";
import { errorBody } from "../../error-replies.ts";
import {
  InvalidInputError,
  InvalidJsonError,
  InvalidRequestError,
  VersionNotFoundError,
  type WindjammerError,
} from "../../errors.ts";
import { parseErrorText } from "../clipper/fields.ts";
import { jsonErrorText, PREDICTION } from "../clipper/schemas.ts";

/** An error as a reply says it. */
interface WordedError {
  readonly status: number;
  readonly body: object;
}

/** How errors are worded; `inputType` is the application's, where it is known. */
export type ErrorForm = (error: WindjammerError, inputType?: InputType) => WordedError;

/** Our own shape. */
export const windjammerForm: ErrorForm = (error) => ({ status: error.statusCode, body: errorBody(error) });

/** Clipper's shape; errors that Clipper does not have keep ours. */
export const clipperForm: ErrorForm = (error, inputType) => {
  if (error instanceof VersionNotFoundError) {
    const { version, model } = error.details;
    const cause = `Requested version: ${String(version)} does not exist for model: ${String(model)}`;
    return { status: 400, body: { error: "Query processing error", cause } };
  }
  if (isOfBody(error))
    return { status: 400, body: { error: "Json error", cause: causeOf(error, inputType) } };
  return windjammerForm(error);
};

function isOfBody(error: WindjammerError): boolean {
  return (
    error instanceof InvalidJsonError ||
    error instanceof InvalidInputError ||
    error instanceof InvalidRequestError
  );
}

function causeOf(error: WindjammerError, inputType: InputType | undefined): string {
  // Clipper's JSON library gives up on what is no object, before it can be said better.
  if (error.details["field"] === "body") return "JSON schema invalid";
  return jsonErrorText(problemOf(error, inputType), PREDICTION);
}

/** What is wrong with a body in Clipper's words; in ours, where Clipper has none. */
export function problemOf(error: WindjammerError, inputType: InputType | undefined): string {
  if (error instanceof InvalidJsonError) return error.message;
  const { field, got } = error.details;
  if (field === MISSING_INPUT) return "JSON object does not have required keys input or input_batch";
  const type = typeof got === "string" ? typeOfShown(got) : undefined;
  if (type === undefined || typeof field !== "string") return error.message;
  return mismatchText(field, type, inputType) ?? error.message;
}

/** An error of a body that is not JSON says what Clipper would say of it; all others stay as they are. */
export function inClipperWords(error: unknown, body: Buffer): unknown {
  if (!(error instanceof InvalidJsonError)) return error;
  return new InvalidJsonError(parseErrorText(error, body), { cause: error, details: error.details });
}

/** Place of an input that is not there. */
export const MISSING_INPUT = "input or input_batch";

/** What Clipper calls one input of a type, and one element of an array of inputs or numbers. */
const TYPES: Partial<Record<InputType, { readonly whole: string; readonly element: string }>> = {
  integers: { whole: "Array", element: "int" },
  floats: { whole: "Array", element: "float" },
  doubles: { whole: "Array", element: "double" },
  strings: { whole: "String", element: "string" },
  bytes: { whole: "String", element: "string" },
};

/** Undefined: Clipper has no words for it. */
function mismatchText(field: string, type: string, inputType: InputType | undefined): string | undefined {
  if (field === "version") return keyText(field, "String", type);
  if (field === "input_batch") return keyText(field, "Array", type);
  const expected = inputType === undefined ? undefined : TYPES[inputType];
  // Text that is no base64 is of the right type: Clipper takes any.
  if (expected === undefined || (type === "String" && expected.whole === "String")) return undefined;
  if (field === "input") return keyText(field, expected.whole, type);
  const isRow = expected.whole === "Array" && /^input_batch\[\d+\]$/.test(field);
  return `Array input of type ${type} is not of type ${isRow ? "array" : expected.element}`;
}

function keyText(key: string, expected: string, found: string): string {
  return `Type mismatch! JSON key ${key} expected type ${expected} but found type ${found}`;
}

/** Type of a value, by how error messages show it. */
function typeOfShown(got: string): string {
  if (got.startsWith('"')) return "String";
  if (got.startsWith("an array") || got.startsWith("an empty array")) return "Array";
  if (got === "an object") return "Object";
  return { null: "Null", true: "True", false: "False" }[got] ?? "Number";
}
