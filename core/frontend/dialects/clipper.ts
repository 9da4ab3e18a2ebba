// The Clipper dialect: POST /<application>/predict with {"input": …} or {"input_batch": […]}.
import type { InputType, JsonValue, Manifest } from "../../../containers/protocol.ts";
import { giveBack } from "../../../containers/spent-memory.ts";
import { manifest as completeManifest } from "../../deploy/deployer.ts";
import {
  BatchTooLargeError,
  InvalidInputError,
  InvalidRequestError,
  toWindjammerError,
  type WindjammerError,
} from "../../errors.ts";
import type { PredictCall, Predictor } from "../../query/predict.ts";
import type { Row } from "../../query/query.ts";
import type { Target } from "../../query/router.ts";
import { decodeInput, describeValue } from "../../query/rows.ts";
import { parseJson } from "../json-text.ts";
import { inClipperWords, MISSING_INPUT } from "./clipper-errors.ts";
import { type ClipperForm, clipperReply, errorReply } from "./clipper-reply.ts";
import type { Dialect, Exchange } from "./dialect.ts";
import { type NumberForm, NumberParsers } from "./numbers.ts";
import { hasWideIntegers } from "./oip/infer-request.ts";

/** Header for a deadline shorter than the application's objective, ms. Same as "timeout_ms" in the body. */
const TIMEOUT_HEADER = "x-windjammer-timeout-ms";

/** 24 days, the most that a timer takes. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

const EXPECTED = '{"input": …} or {"input_batch": […]}';
const NUMBERS: NumberForm = { one: "input", list: "input_batch", hasOptions: true };

export interface ClipperParts {
  readonly predictor: Predictor;
  /** Most inputs in one request. */
  readonly maxInputs: number;
  /** How errors and default outputs are worded. Default "windjammer". */
  readonly form?: ClipperForm;
}

/** A body that was read. */
interface Prediction {
  readonly target: Target;
  readonly inputs: readonly (Row | WindjammerError | undefined)[];
  readonly isBatch: boolean;
  readonly timeoutMs: number | undefined;
  /** What the rows are in, where it may go with them. */
  readonly memory: Uint8Array | undefined;
}

export function clipperDialect(parts: ClipperParts): Dialect {
  const decoder = new Decoder(parts);
  return {
    name: "clipper",
    match: applicationOf,
    answer: (exchange) => {
      try {
        return answer(parts, decoder, exchange);
      } finally {
        // Rows are copies.
        exchange.release();
      }
    },
    refusal: (error) => errorReply(error, parts.form),
  };
}

/** "/digits/predict" or "/digits/predict/" → "digits". */
function applicationOf(path: string): string | undefined {
  return applicationBefore("/predict", path);
}

/** The application of a path that ends in `verb`, with or without a slash behind it. */
export function applicationBefore(verb: string, path: string): string | undefined {
  const end = path.endsWith("/") ? path.length - 1 : path.length;
  if (!path.startsWith(verb, end - verb.length)) return undefined;
  const name = path.slice(1, end - verb.length);
  return name === "" || name.includes("/") ? undefined : name;
}

function answer({ predictor, form }: ClipperParts, decoder: Decoder, exchange: Exchange): PredictCall {
  const target = predictor.resolve(exchange.target);
  let prediction: Prediction;
  let headerMs: number | undefined;
  try {
    headerMs = timeoutHeader(exchange.header(TIMEOUT_HEADER));
    prediction = decoder.decode(target, exchange.body);
  } catch (error) {
    predictor.refused({ target, error, arrivedAt: exchange.arrivedAt });
    throw form === "clipper" ? inClipperWords(error, exchange.body) : error;
  }
  const { isBatch, inputs, timeoutMs, memory } = prediction;
  const described = manifestOf(prediction.target);
  const request = {
    target: prediction.target,
    inputs,
    arrivedAt: exchange.arrivedAt,
    timeoutMs: shorter(timeoutMs, headerMs),
  };
  return predictor.predict(request, (outcomes, firstId) => {
    const worded = form === undefined ? {} : { form };
    exchange.reply(() => clipperReply({ outcomes, firstId, manifest: described, isBatch, ...worded }));
    if (memory !== undefined) giveBack(memory);
  });
}

/** Reads bodies: plain numbers by the number parser, the rest, and all errors, by way of JSON.parse. */
class Decoder {
  readonly #predictor: Predictor;
  readonly #maxInputs: number;
  readonly #numbers: NumberParsers;

  constructor({ predictor, maxInputs }: ClipperParts) {
    this.#predictor = predictor;
    this.#maxInputs = maxInputs;
    this.#numbers = new NumberParsers({ form: NUMBERS, maxRows: maxInputs });
  }

  /** @throws InvalidJsonError, InvalidRequestError, InvalidInputError, BatchTooLargeError, VersionNotFoundError */
  decode(target: Target, body: Buffer): Prediction {
    const parsed = target.manifest === undefined ? null : this.#numbers.parse(target.manifest, body);
    const isForTarget = parsed?.version === undefined || parsed.version === target.version?.version;
    if (parsed === null || !isForTarget) return this.#decodeJson(target, body);
    const { rows, isBatch, memory } = parsed;
    const timeoutMs =
      parsed.timeoutMs === undefined ? undefined : checkTimeout(parsed.timeoutMs, "timeout_ms");
    const pinned = parsed.version === undefined ? target : { ...target, isPinned: true };
    return { target: pinned, inputs: rows, isBatch, timeoutMs, memory };
  }

  #decodeJson(current: Target, body: Buffer): Prediction {
    const value = parseJson(body, { expected: EXPECTED, keepsIntegers: hasWideIntegers(current.manifest) });
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      const got = describeValue(value);
      throw new InvalidRequestError(`expected a JSON object ${EXPECTED}, got ${got}`, {
        details: { field: "body", expected: EXPECTED, got },
      });
    }
    const fields = value as { readonly [key: string]: JsonValue };
    const target = this.#targetOf(current, fields["version"]);
    if (hasWideIntegers(target.manifest) && !hasWideIntegers(current.manifest)) {
      return this.#decodeJson(target, body);
    }
    const timeout = fields["timeout_ms"];
    const timeoutMs = timeout === undefined ? undefined : checkTimeout(timeout, "timeout_ms");
    return { target, timeoutMs, memory: undefined, ...this.#inputsOf(fields, manifestOf(target)) };
  }

  #targetOf(current: Target, version: JsonValue | undefined): Target {
    if (version === undefined) return current;
    if (typeof version !== "string") {
      const got = describeValue(version);
      throw new InvalidRequestError(`version: expected a string, got ${got}`, {
        details: { field: "version", expected: "a string", got },
      });
    }
    return this.#predictor.resolve(current.application.name, version);
  }

  #inputsOf(
    fields: { readonly [key: string]: JsonValue },
    manifest: Manifest | undefined,
  ): Pick<Prediction, "inputs" | "isBatch"> {
    const { input, input_batch: list } = fields;
    if (input !== undefined) return { inputs: [decode(manifest, input, "input")], isBatch: false };
    if (list === undefined) {
      throw new InvalidRequestError(
        `JSON object does not have required keys input or input_batch; expected ${EXPECTED}`,
        { details: { field: MISSING_INPUT, expected: EXPECTED } },
      );
    }
    if (!Array.isArray(list)) {
      const got = describeValue(list);
      throw new InvalidInputError(`input_batch: expected an array of inputs, got ${got}`, {
        details: { field: "input_batch", expected: "an array of inputs", got },
      });
    }
    this.#checkCount(list.length);
    const values: readonly JsonValue[] = list;
    return {
      inputs: values.map((one, index) => decode(manifest, one, `input_batch[${index}]`)),
      isBatch: true,
    };
  }

  #checkCount(count: number): void {
    if (count <= this.#maxInputs) return;
    throw new BatchTooLargeError(
      `input_batch holds ${count} inputs and one request may hold ${this.#maxInputs}; send it in parts`,
      { details: { inputs: count, limit: this.#maxInputs } },
    );
  }
}

/** By the input type alone; a tensor's contract is its model's. */
const OF_TYPE: ReadonlyMap<InputType, Manifest> = new Map(
  (["integers", "floats", "doubles", "bytes", "strings", "json"] as const).map((inputType) => [
    inputType,
    completeManifest({ deployer: "", loader: "", inputType }),
  ]),
);

/** What inputs are held to: the version's manifest, and without a model the application's input type. */
export function manifestOf({ manifest, application }: Target): Manifest | undefined {
  return manifest ?? OF_TYPE.get(application.inputType);
}

/** One input's row, or its own error: a bad input fails alone. */
function decode(
  manifest: Manifest | undefined,
  value: JsonValue,
  field: string,
): Row | WindjammerError | undefined {
  if (manifest === undefined) return undefined;
  try {
    return decodeInput(manifest, value, field);
  } catch (error) {
    return toWindjammerError(error);
  }
}

function timeoutHeader(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const trimmed = text.trim();
  return checkTimeout(/^\d{1,12}(\.\d{1,12})?$/.test(trimmed) ? Number(trimmed) : text, TIMEOUT_HEADER);
}

function checkTimeout(value: JsonValue, field: string): number {
  if (typeof value === "number" && value > 0 && value <= MAX_TIMEOUT_MS) return value;
  const expected = `a number of milliseconds above 0, at most ${MAX_TIMEOUT_MS}`;
  const got = describeValue(value);
  throw new InvalidRequestError(`${field}: expected ${expected}, got ${got}`, {
    details: { field, expected, got },
  });
}

function shorter(one: number | undefined, other: number | undefined): number | undefined {
  return one === undefined || other === undefined ? (one ?? other) : Math.min(one, other);
}
