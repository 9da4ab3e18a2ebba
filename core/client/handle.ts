// Handle of one application: its predictions over the query API, in the Clipper dialect.
import type { InputType, JsonValue } from "../../containers/protocol.ts";
import { errorFromBody } from "../error-replies.ts";
import {
  ApplicationNotFoundError,
  InvalidInputError,
  ServerUnreachableError,
  toWindjammerError,
} from "../errors.ts";
import { type Connection, parseErrorBody, replyError, tryParse } from "./connection.ts";
import { encodeInput } from "./encode.ts";
import type { ApplicationHandle, Prediction, PredictOptions } from "./interface.ts";

/** What a handle needs to know. */
export interface HandleParts {
  readonly connection: Connection;
  /** Base URL of the query API. */
  readonly queryUrl: string;
  readonly name: string;
  readonly inputType: InputType;
  /** Asked where a call names no other; undefined: the current one. */
  readonly version?: string | undefined;
  /** What the server takes in one request. */
  readonly limits: { readonly maxInputs: number; readonly maxBodyBytes: number };
}

type Detail<Output> = Prediction<Output> | { readonly error: Error };

/** Inputs of one request, as JSON text, and where they stand in the caller's list. */
interface Part {
  readonly indexes: number[];
  readonly texts: string[];
  bytes: number;
}

/** Room for the other fields of a body. */
const BODY_OVERHEAD_BYTES = 1024;

export class ApplicationClient<Input, Output> implements ApplicationHandle<Input, Output> {
  readonly name: string;
  readonly url: string;
  readonly #parts: HandleParts;

  constructor(parts: HandleParts) {
    this.#parts = parts;
    this.name = parts.name;
    this.url = `${parts.queryUrl}/${encodeURIComponent(parts.name)}/predict`;
  }

  async predict(input: Input, options: PredictOptions = {}): Promise<Output> {
    const text = encodeInput(input, this.#parts.inputType, "input");
    const reply = await this.#post(`{"input":${text}${this.#fields(options)}}`, options);
    return outputOf(readDetail<Output>(reply, this.url));
  }

  async predictBatch(inputs: readonly Input[], options: PredictOptions = {}): Promise<Output[]> {
    const { inputType } = this.#parts;
    // Before anything is sent: a list is answered whole or not at all.
    const texts = inputs.map((input, index) => encodeInput(input, inputType, `inputs[${index}]`));
    const outputs: Output[] = [];
    for (const part of this.#split(texts)) {
      for (const detail of await this.#predictPart<Output>(part, options)) outputs.push(outputOf(detail));
    }
    return outputs;
  }

  async predictDetailed(inputs: readonly Input[], options: PredictOptions = {}): Promise<Detail<Output>[]> {
    const { inputType } = this.#parts;
    const details: Detail<Output>[] = [];
    const texts = inputs.map((input, index) => {
      try {
        return encodeInput(input, inputType, `inputs[${index}]`);
      } catch (error) {
        details[index] = { error: toWindjammerError(error) };
        return undefined;
      }
    });
    for (const part of this.#split(texts)) {
      const answers = await this.#tryPart<Output>(part, options);
      for (const [at, index] of part.indexes.entries()) details[index] = answers[at] as Detail<Output>;
    }
    return details;
  }

  /** A request that fails as a whole fails each of its inputs; those of other requests keep their answers. */
  async #tryPart<T>(part: Part, options: PredictOptions): Promise<Detail<T>[]> {
    try {
      return await this.#predictPart<T>(part, options);
    } catch (error) {
      if (options.signal?.aborted === true) throw error;
      return part.indexes.map(() => ({ error: toWindjammerError(error) }));
    }
  }

  async #predictPart<T>(part: Part, options: PredictOptions): Promise<Detail<T>[]> {
    const body = `{"input_batch":[${part.texts.join(",")}]${this.#fields(options)}}`;
    const reply = await this.#post(body, options);
    // A batch of one is answered with the bare object, as Clipper does.
    const list = reply["batch_predictions"] ?? [reply];
    if (!Array.isArray(list) || list.length !== part.indexes.length)
      throw this.#strange(JSON.stringify(reply));
    return list.map((item) => readDetail<T>(item, this.url));
  }

  async #post(body: string, { signal }: PredictOptions): Promise<Record<string, unknown>> {
    const received = await this.#parts.connection.exchange("POST", this.url, { body, signal });
    const { statusCode, text } = received;
    const reply = tryParse(text) as Record<string, unknown> | undefined;
    const isObject = typeof reply === "object" && reply !== null;
    // A list of which every input failed has the first one's status.
    if (isObject && (statusCode < 300 || "batch_predictions" in reply)) return reply;
    throw statusCode < 300 ? this.#strange(text) : replyError(received, this.url);
  }

  #fields({ version = this.#parts.version, timeoutMs }: PredictOptions): string {
    if (timeoutMs !== undefined && !(timeoutMs > 0 && Number.isFinite(timeoutMs)))
      throw new InvalidInputError(`timeoutMs: expected a number above 0, got ${timeoutMs}`, {
        details: { field: "timeoutMs" },
      });
    return (
      (version === undefined ? "" : `,"version":${JSON.stringify(version)}`) +
      (timeoutMs === undefined ? "" : `,"timeout_ms":${timeoutMs}`)
    );
  }

  #strange(text: string): ServerUnreachableError {
    return new ServerUnreachableError(
      `${this.url} did not answer as a Windjammer does: ${text.slice(0, 200)}`,
      {
        details: { url: this.url },
      },
    );
  }

  /** Requests within the server's limits, in order. An input that has no text is left out. */
  #split(texts: readonly (string | undefined)[]): Part[] {
    const { maxInputs, maxBodyBytes } = this.#parts.limits;
    const parts: Part[] = [];
    let part: Part | undefined;
    for (const [index, text] of texts.entries()) {
      if (text === undefined) continue;
      const bytes = Buffer.byteLength(text) + 1;
      const isFull =
        part === undefined ||
        part.indexes.length >= maxInputs ||
        part.bytes + bytes > maxBodyBytes - BODY_OVERHEAD_BYTES;
      if (part === undefined || isFull) {
        part = { indexes: [], texts: [], bytes: 0 };
        parts.push(part);
      }
      part.indexes.push(index);
      part.texts.push(text);
      part.bytes += bytes;
    }
    return parts;
  }
}

/** Stands where a model was deployed that no application is linked to. */
export class NoApplication implements ApplicationHandle<unknown, never> {
  readonly name = "";
  readonly url = "";
  readonly #model: string;

  constructor(model: string) {
    this.#model = model;
  }

  predict(): Promise<never> {
    return this.#refuse();
  }

  predictBatch(): Promise<never> {
    return this.#refuse();
  }

  predictDetailed(): Promise<never> {
    return this.#refuse();
  }

  async #refuse(): Promise<never> {
    throw new ApplicationNotFoundError(
      `model ${this.#model} was deployed with application: null, so no application takes its queries; link one with link(application, "${this.#model}"), and take its handle from application(name)`,
      { details: { model: this.#model } },
    );
  }
}

/** One answer of a reply: an output, or an error of this input alone. */
function readDetail<Output>(item: unknown, url: string): Detail<Output> {
  const answer = item as {
    readonly output?: JsonValue;
    readonly default?: boolean;
    readonly default_explanation?: string;
  };
  if (typeof answer === "object" && answer !== null && "output" in answer) {
    const { default_explanation: explanation } = answer;
    return {
      output: answer.output as Output,
      isDefault: answer.default === true,
      ...(explanation === undefined ? {} : { explanation }),
    };
  }
  const text = JSON.stringify(item);
  const body = parseErrorBody(text);
  return { error: body === undefined ? replyError({ statusCode: 200, text }, url) : errorFromBody(body) };
}

function outputOf<Output>(detail: Detail<Output>): Output {
  if ("error" in detail) throw detail.error;
  return detail.output;
}
