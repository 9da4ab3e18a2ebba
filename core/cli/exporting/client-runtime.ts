// The part of a generated client that is the same in each: it is copied into it as text, so it imports nothing.

/** Numbers of one axis, as a list or packed. */
export type Numbers =
  | readonly number[]
  | Float32Array
  | Float64Array
  | Int8Array
  | Int16Array
  | Int32Array
  | Uint8Array
  | Uint16Array
  | Uint32Array;

export interface PredictOptions {
  /** This version instead of the current one. */
  readonly version?: string;
  /** Shorter deadline than the application's objective, ms. */
  readonly timeoutMs?: number;
  /** Gives up; queued work is dropped. */
  readonly signal?: AbortSignal;
}

/** A prediction with what is known about it. */
export interface Prediction<Output> {
  readonly output: Output;
  /** True when `output` is the application's default output. */
  readonly isDefault: boolean;
  /** Stable code of why it is the default output. */
  readonly reason?: string;
  /** The same for people. */
  readonly explanation?: string;
}

/** What a server said no to, by its stable code; SERVER_UNREACHABLE when it was not reached. */
export class ClientError extends Error {
  readonly code: string;
  readonly statusCode: number;
  readonly details: Readonly<Record<string, unknown>>;
  /** Seconds after which to try again, where the server says so. */
  readonly retryAfterS: number | undefined;

  constructor(
    message: string,
    about: {
      readonly code: string;
      readonly statusCode?: number | undefined;
      readonly details?: Readonly<Record<string, unknown>> | undefined;
      readonly retryAfterS?: number | undefined;
      readonly cause?: unknown;
    },
  ) {
    super(message, { cause: about.cause });
    this.name = "ClientError";
    this.code = about.code;
    this.statusCode = about.statusCode ?? 0;
    this.details = about.details ?? {};
    this.retryAfterS = about.retryAfterS;
  }
}

/** One application: its predictions, typed by its contract. */
export interface Application<Input, Output> {
  /** Predicts one input; the application's default output counts as an answer. @throws ClientError */
  predict(input: Input, options?: PredictOptions): Promise<Output>;
  /** Predicts a list, in order. @throws ClientError of the first input that failed */
  predictBatch(inputs: readonly Input[], options?: PredictOptions): Promise<Output[]>;
  /** Like predictBatch, and tells defaults from predictions, and one failed input from the others. */
  predictDetailed(
    inputs: readonly Input[],
    options?: PredictOptions,
  ): Promise<(Prediction<Output> | { readonly error: ClientError })[]>;
}

export interface ClientOptions {
  /** Base URL of the query API. Default: that of the server that the client was made from. */
  readonly url?: string;
  /** Sent with every request. */
  readonly headers?: Readonly<Record<string, string>>;
  /** In place of the global one. */
  readonly fetch?: typeof fetch;
}

interface Answer {
  readonly output?: unknown;
  readonly default?: boolean;
  readonly default_explanation?: string;
  readonly default_reason?: string;
  readonly batch_predictions?: readonly Answer[];
  readonly error?: string;
  readonly message?: string;
  readonly cause?: string;
  readonly details?: Readonly<Record<string, unknown>>;
}

export interface ApplicationParts extends ClientOptions {
  readonly name: string;
  readonly url: string;
  /** Its inputs are bytes, which JSON takes as base64. */
  readonly isBinary?: boolean;
}

export class ApplicationClient<Input, Output> implements Application<Input, Output> {
  readonly #parts: ApplicationParts;
  readonly #endpoint: string;

  constructor(parts: ApplicationParts) {
    this.#parts = parts;
    this.#endpoint = `${parts.url.replace(/\/+$/, "")}/${parts.name}/predict`;
  }

  async predict(input: Input, options: PredictOptions = {}): Promise<Output> {
    return outputOf(detailOf<Output>(await this.#post({ input: this.#encoded(input) }, options)));
  }

  async predictBatch(inputs: readonly Input[], options: PredictOptions = {}): Promise<Output[]> {
    return (await this.predictDetailed(inputs, options)).map((detail) => outputOf(detail));
  }

  async predictDetailed(inputs: readonly Input[], options: PredictOptions = {}): Promise<Detail<Output>[]> {
    if (inputs.length === 0) return [];
    const answer = await this.#post({ input_batch: inputs.map((input) => this.#encoded(input)) }, options);
    // A batch of one is answered with the bare object.
    return (answer.batch_predictions ?? [answer]).map((each) => detailOf<Output>(each));
  }

  #encoded(input: Input): unknown {
    return this.#parts.isBinary === true && input instanceof Uint8Array ? base64(input) : input;
  }

  async #post(fields: object, { version, timeoutMs, signal }: PredictOptions): Promise<Answer> {
    const { headers, fetch: send = fetch } = this.#parts;
    const reply = await send(this.#endpoint, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: JSON.stringify({ ...fields, version, timeout_ms: timeoutMs }, plain),
      signal: signal ?? null,
    }).catch((cause: unknown) => {
      if (signal?.aborted === true) throw cause;
      throw new ClientError(`cannot reach ${this.#endpoint}`, { code: "SERVER_UNREACHABLE", cause });
    });
    const text = await reply.text();
    const answer = parse(text);
    // A list of which every input failed has the first one's status.
    if (answer !== undefined && (reply.ok || answer.batch_predictions !== undefined)) return answer;
    const after = reply.headers.get("retry-after");
    throw errorOf(answer ?? {}, {
      statusCode: reply.status,
      fallback: `${this.#endpoint} answered ${reply.status}: ${text.slice(0, 200)}`,
      retryAfterS: after === null ? undefined : Number(after),
    });
  }
}

type Detail<Output> = Prediction<Output> | { readonly error: ClientError };

function detailOf<Output>(answer: Answer): Detail<Output> {
  if (!("output" in answer)) return { error: errorOf(answer, { fallback: "the server gave no output" }) };
  const { default_reason: reason, default_explanation: explanation } = answer;
  return {
    output: answer.output as Output,
    isDefault: answer.default === true,
    ...(reason === undefined ? {} : { reason }),
    ...(explanation === undefined ? {} : { explanation }),
  };
}

function outputOf<Output>(detail: Detail<Output>): Output {
  if ("error" in detail) throw detail.error;
  return detail.output;
}

function errorOf(
  { error, message, cause, details }: Answer,
  about: {
    readonly fallback: string;
    readonly statusCode?: number;
    readonly retryAfterS?: number | undefined;
  },
): ClientError {
  const { fallback, statusCode, retryAfterS } = about;
  return new ClientError(message ?? cause ?? fallback, {
    code: error ?? "UNKNOWN",
    statusCode,
    details,
    retryAfterS,
  });
}

function parse(text: string): Answer | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Packed numbers are lists in JSON. */
function plain(_: string, value: unknown): unknown {
  return ArrayBuffer.isView(value) ? Array.from(value as unknown as ArrayLike<number>) : value;
}

const CHUNK = 0x80_00;

function base64(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += CHUNK)
    text += String.fromCharCode(...bytes.subarray(at, at + CHUNK));
  return btoa(text);
}
