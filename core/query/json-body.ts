// Batches as plain JSON, for servers without the binary extension; and what servers say when they refuse one.
import { packJson, jsonText, parseJson } from "../../containers/json-data.ts";
import { TensorFormatError, type Tensor, type TensorHeader } from "../../containers/tensors.ts";

const encoder = new TextEncoder();
/** Numbers that JSON does not have, as some servers write them all the same; texts are skipped. */
const BARE_WORDS = /"(?:[^"\\]|\\.)*"|-?\bInfinity\b|\bNaN\b/g;

/** @throws TensorFormatError for FP16 and BF16 */
export function jsonBody(tensors: readonly Tensor[]): Uint8Array {
  const inputs = tensors.map((tensor) => {
    const { name, datatype, shape, contentType } = tensor;
    const parameters = contentType === undefined ? {} : { parameters: { content_type: contentType } };
    const head = JSON.stringify({ name, datatype, shape, ...parameters });
    return `${head.slice(0, -1)},"data":${jsonText(tensor)}}`;
  });
  return encoder.encode(`{"inputs":[${inputs.join(",")}]}`);
}

/**
 * Parses a reply.
 * @param isExact 64-bit integers keep all digits
 * @throws SyntaxError
 */
export function parseReply(text: string, isExact: boolean): unknown {
  try {
    return parseJson(text, isExact);
  } catch (error) {
    const quoted = text.replaceAll(BARE_WORDS, (word) => (word.startsWith('"') ? word : `"${word}"`));
    if (quoted === text) throw error;
    return parseJson(quoted, isExact);
  }
}

/** The data of an output that came in the JSON. @throws TensorFormatError */
export function packOutput({ name, datatype, shape, parameters, data }: TensorHeader): Uint8Array {
  // Triton leaves out the header of the binary part when that is empty.
  if (data === undefined && parameters?.["binary_data_size"] === 0) return new Uint8Array();
  try {
    return packJson(data, { datatype, shape });
  } catch (error) {
    if (!(error instanceof TensorFormatError)) throw error;
    throw new TensorFormatError(`output ${name}: ${error.message}`);
  }
}

/** The reason in an error's body: `error` (the protocol's), `detail` (FastAPI's) or `message` (TorchServe's), else all of it. */
export function refusalReason(text: string): string {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    // Plain text, which is the reason as it stands.
  }
  if (typeof parsed !== "object" || parsed === null) return text;
  const { error, detail, message } = parsed as Readonly<Record<string, unknown>>;
  const reason = error ?? detail ?? message;
  if (typeof reason === "string") return reason;
  if (Array.isArray(reason)) return reason.map(issueText).join("; ");
  return reason === undefined ? text : JSON.stringify(reason);
}

/** `{ loc: ["body", "inputs", 0], msg: "field required" }` of FastAPI's validation. */
function issueText(issue: unknown): string {
  const { loc, msg } = (issue ?? {}) as { readonly loc?: unknown; readonly msg?: unknown };
  if (typeof msg !== "string") return JSON.stringify(issue);
  return Array.isArray(loc) ? `${loc.join(".")}: ${msg}` : msg;
}
