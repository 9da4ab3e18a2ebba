// Reads inference requests the quick way, where there is one: numbers straight from the bytes, and the JSON around them,
// which clients send again and again, parsed once. Whatever that cannot do goes the whole way, which words all errors.
import type { Manifest } from "../../../../containers/protocol.ts";
import { DataCutter, isCut } from "./data-cutter.ts";
import type { Fields } from "./fields.ts";
import {
  type InferRequest,
  parseInferJson,
  hasWideIntegers,
  readInferRequest,
  requestOf,
} from "./infer-request.ts";

const MAX_KNOWN = 256;
const MAX_KNOWN_LENGTH = 1024;

const NOTHING: Buffer = Buffer.alloc(0);

export class InferReader {
  readonly #cutter = new DataCutter();
  readonly #known = new KnownJson();

  /**
   * @param headerText the request's inference-header-content-length
   * @throws InvalidJsonError, InvalidRequestError, InvalidInputError
   */
  read(manifest: Manifest, body: Buffer, headerText: string | undefined): InferRequest {
    const quick = headerText === undefined ? this.#readNumbers(manifest, body) : undefined;
    return quick ?? readInferRequest(manifest, body, headerText, this.#known.parse);
  }

  #readNumbers(manifest: Manifest, body: Buffer): InferRequest | undefined {
    if (!manifest.contract.inputs.some(({ datatype }) => isCut(datatype))) return undefined;
    const cut = this.#cutter.cut(body);
    if (cut === null) return undefined;
    const { rest, lists } = cut;
    try {
      const fields = this.#known.of(rest, hasWideIntegers(manifest));
      return requestOf(fields, { jsonBytes: body.byteLength, tensors: NOTHING, at: 0, lists });
    } catch {
      // What is wrong may stand elsewhere in the whole body.
      return undefined;
    }
  }
}

/** JSON of past requests, a byte a character. */
class KnownJson {
  /** By whether integers were read exactly. */
  readonly #byText = { exact: new Map<string, Fields>(), plain: new Map<string, Fields>() };

  /** As `parseInferJson`. */
  readonly parse: typeof parseInferJson = (body, keepsIntegers) =>
    body.byteLength > MAX_KNOWN_LENGTH
      ? parseInferJson(body, keepsIntegers)
      : this.of(body.toString("latin1"), keepsIntegers);

  /** @throws InvalidJsonError, InvalidRequestError */
  of(text: string, keepsIntegers: boolean): Fields {
    const known = this.#byText[keepsIntegers ? "exact" : "plain"];
    let fields = known.get(text);
    if (fields !== undefined) return fields;
    fields = parseInferJson(Buffer.from(text, "latin1"), keepsIntegers);
    if (text.length > MAX_KNOWN_LENGTH) return fields;
    if (known.size === MAX_KNOWN) known.clear();
    known.set(text, fields);
    return fields;
  }
}
