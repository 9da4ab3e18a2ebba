// Batches as plain JSON, for servers without the binary extension.
import { isUtf8 } from "node:buffer";
import { packJson, jsonText, parseJson } from "../../containers/json-data.ts";
import {
  decodeBytes,
  elementCount,
  TensorFormatError,
  type Tensor,
  type TensorHeader,
} from "../../containers/tensors.ts";
import { InvalidInputError } from "../errors.ts";

const encoder = new TextEncoder();
/** Content types of ragged rows, which JSON has as lists of numbers. */
const VECTORS: ReadonlySet<string | undefined> = new Set(["int32", "fp32", "fp64"]);
/** Numbers that JSON does not have, as some servers write them all the same; texts are skipped. */
const BARE_WORDS = /"(?:[^"\\]|\\.)*"|-?\bInfinity\b|\bNaN\b/g;

/** @throws TensorFormatError for FP16 and BF16, InvalidInputError for bytes that are no text */
export function jsonBody(tensors: readonly Tensor[]): Uint8Array {
  const inputs = tensors.map((tensor) => {
    const { name, datatype, shape, contentType } = tensor;
    if (datatype === "BYTES") checkTexts(tensor);
    const parameters = contentType === undefined ? {} : { parameters: { content_type: contentType } };
    const head = JSON.stringify({ name, datatype, shape, ...parameters });
    return `${head.slice(0, -1)},"data":${jsonText(tensor)}}`;
  });
  return encoder.encode(`{"inputs":[${inputs.join(",")}]}`);
}

/** Other bytes would come out as other ones. */
function checkTexts({ name, shape, data, contentType }: Tensor): void {
  if (VECTORS.has(contentType)) return;
  if (decodeBytes(data, elementCount(shape)).every((element) => isUtf8(element))) return;
  throw new InvalidInputError(
    `${name}: expected UTF-8 text, got other bytes: the server takes tensors as JSON only, which cannot hold them`,
    { details: { field: name } },
  );
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
