// Writes the body of an infer reply: JSON header, then binary tensors, per-row errors in the error tensor.
import type { BatchResult } from "./loader.ts";
import { type Contract, ERROR_TENSOR } from "./protocol.ts";
import type { ReplyChoice } from "./reply-choice.ts";
import { jsonText } from "./json-data.ts";
import { encodeBytes, encodeHeader, type Tensor } from "./tensors.ts";

export interface ReplyBody {
  /** Bytes of JSON in front of the tensors; undefined: the whole body is JSON. */
  readonly headerLength: number | undefined;
  readonly chunks: readonly Uint8Array[];
}

const MAX_CACHED_HEADERS = 256;
const MAX_CACHED_HEADER_BYTES = 8192;

/** Writes replies of one model version. */
export class ReplyWriter {
  readonly #model: { readonly name: string; readonly version: string };
  readonly #contract: Contract;
  /** Choice and shapes → header bytes, for replies whose header is a function of the batch size. */
  readonly #headers = new Map<string, Uint8Array>();

  constructor(model: { readonly name: string; readonly version: string }, contract: Contract) {
    this.#model = model;
    this.#contract = contract;
  }

  /** @throws TensorFormatError when an output cannot be told in JSON */
  write(choice: ReplyChoice, result: BatchResult): ReplyBody {
    const tensors = this.#chosen(choice, result);
    const key = cacheKey(choice, tensors);
    const known = key === undefined ? undefined : this.#headers.get(key);
    const header = known ?? this.#header(choice, tensors);
    if (key !== undefined && known === undefined) this.#keep(key, header);
    const isBinary = tensors.some((tensor) => tensor.isBinary);
    return {
      headerLength: isBinary ? header.byteLength : undefined,
      chunks: [header, ...tensors.filter((tensor) => tensor.isBinary).map(({ tensor }) => tensor.data)],
    };
  }

  #keep(key: string, header: Uint8Array): void {
    if (header.byteLength > MAX_CACHED_HEADER_BYTES) return;
    if (this.#headers.size >= MAX_CACHED_HEADERS) this.#headers.clear();
    this.#headers.set(key, header);
  }

  #chosen(choice: ReplyChoice, result: BatchResult): { tensor: Tensor; isBinary: boolean }[] {
    const tensors = choice.outputs.map(({ index, isBinary }) => {
      const tensor = result.outputs[index];
      if (tensor === undefined)
        throw new TypeError(`the loader gave no output ${this.#contract.outputs[index]?.name}`);
      return { tensor, isBinary };
    });
    if (result.errors?.some((error) => error !== undefined))
      tensors.push({ tensor: errorTensor(result.errors), isBinary: choice.isBinary });
    return tensors;
  }

  #header(choice: ReplyChoice, tensors: readonly { tensor: Tensor; isBinary: boolean }[]): Uint8Array {
    const start = JSON.stringify({
      model_name: this.#model.name,
      model_version: this.#model.version,
      ...(choice.id === undefined ? {} : { id: choice.id }),
    });
    const outputs = tensors.map(({ tensor, isBinary }) => {
      const { name, datatype, shape, contentType, data } = tensor;
      const parameters = {
        ...(contentType === undefined ? {} : { content_type: contentType }),
        ...(isBinary ? { binary_data_size: data.byteLength } : {}),
      };
      const hasParameters = Object.keys(parameters).length > 0;
      const described = JSON.stringify({ name, datatype, shape, ...(hasParameters ? { parameters } : {}) });
      return isBinary ? described : `${described.slice(0, -1)},"data":${jsonText(tensor)}}`;
    });
    return encodeHeader(`${start.slice(0, -1)},"outputs":[${outputs.join(",")}]}`);
  }
}

/** Sizes of BYTES outputs differ from call to call, so their headers would only fill the cache. */
function cacheKey(
  choice: ReplyChoice,
  tensors: readonly { readonly tensor: Tensor; readonly isBinary: boolean }[],
): string | undefined {
  if (choice.id !== undefined) return undefined;
  let key = choice.key;
  for (const { tensor, isBinary } of tensors) {
    if (!isBinary || tensor.datatype === "BYTES") return undefined;
    key += `|${tensor.shape.join()}`;
  }
  return key;
}

const NO_ERROR: Uint8Array = new Uint8Array(0);

function errorTensor(errors: NonNullable<BatchResult["errors"]>): Tensor {
  const elements = errors.map((error) =>
    error === undefined ? NO_ERROR : Buffer.from(JSON.stringify(error)),
  );
  return {
    name: ERROR_TENSOR,
    datatype: "BYTES",
    shape: [errors.length],
    data: encodeBytes(elements),
    contentType: "error",
  };
}
