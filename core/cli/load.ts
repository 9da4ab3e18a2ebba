// A closed loop of load on one application: each of its callers sends the next request when the last one is answered.
import { Agent, request } from "node:http";
import type { JsonValue } from "../../containers/protocol.ts";
import { ServerUnreachableError } from "../errors.ts";
import { Latencies } from "./latencies.ts";

export interface LoadOptions {
  /** Of the application's predictions. */
  readonly url: string;
  /** Bodies, sent in turn. */
  readonly bodies: readonly string[];
  /** Inputs of one body. */
  readonly batch: number;
  readonly callers: number;
  readonly durationMs: number;
  readonly signal: AbortSignal;
  /** How long a request may take after the end of the time. Default: 30000. */
  readonly graceMs?: number;
}

/** What came of it. */
export interface LoadResult {
  readonly tookMs: number;
  readonly requests: number;
  /** Inputs that were answered with a prediction. */
  readonly ok: number;
  /** With the default output. */
  readonly defaults: number;
  /** By error code. */
  readonly errors: Readonly<Record<string, number>>;
  /** An example message for each code. */
  readonly messages: Readonly<Record<string, string>>;
  /** Of requests that were answered without an error. */
  readonly latencies: Latencies;
}

interface Answer {
  readonly default?: boolean;
  readonly error?: string;
  readonly message?: string;
  readonly batch_predictions?: readonly Answer[];
}

/** Default of `graceMs`. */
const GRACE_MS = 30_000;

export class Load {
  readonly #options: LoadOptions;
  readonly #agent: Agent;
  readonly #latencies = new Latencies();
  readonly #errors: Record<string, number> = {};
  readonly #messages: Record<string, string> = {};
  #requests = 0;
  #ok = 0;
  #defaults = 0;

  constructor(options: LoadOptions) {
    this.#options = options;
    this.#agent = new Agent({ keepAlive: true, maxSockets: options.callers });
  }

  get requests(): number {
    return this.#requests;
  }

  /** Ends when the time is over and the last answers are here, or the signal aborts. @throws ServerUnreachableError */
  async run(): Promise<LoadResult> {
    const { callers, durationMs, signal, graceMs = GRACE_MS } = this.#options;
    const begun = performance.now();
    const until = begun + durationMs;
    const stop = AbortSignal.any([signal, AbortSignal.timeout(durationMs + graceMs)]);
    try {
      await Promise.all(Array.from({ length: callers }, () => this.#call(until, stop)));
    } finally {
      this.#agent.destroy();
    }
    return {
      tookMs: performance.now() - begun,
      requests: this.#requests,
      ok: this.#ok,
      defaults: this.#defaults,
      errors: this.#errors,
      messages: this.#messages,
      latencies: this.#latencies,
    };
  }

  async #call(until: number, signal: AbortSignal): Promise<void> {
    const { bodies, url } = this.#options;
    // One at least: on a machine that stood still, the time may be over before the first.
    for (let isFirst = true; isFirst || (performance.now() < until && !signal.aborted); isFirst = false) {
      const body = bodies[this.#requests++ % bodies.length] ?? "";
      const begun = performance.now();
      try {
        const text = await post(url, body, { agent: this.#agent, signal });
        this.#count(JSON.parse(text) as Answer, performance.now() - begun);
      } catch (error) {
        if (signal.aborted) {
          this.#leaveOut();
          return;
        }
        throw new ServerUnreachableError(
          `${url} stopped to answer after ${this.#requests} requests: ${error instanceof Error ? error.message : String(error)}`,
          { cause: error, details: { url } },
        );
      }
    }
  }

  /** A request without an answer: an error when it had its time, and none at all when its user ended the test. */
  #leaveOut(): void {
    if (this.#options.signal.aborted) {
      this.#requests -= 1;
      return;
    }
    this.#count({ error: "SERVER_UNREACHABLE", message: "no answer came in the time for it" }, 0);
  }

  #count(answer: Answer, latencyMs: number): void {
    const answers = answer.batch_predictions ?? [answer];
    // A request that fails whole fails each of its inputs.
    const each = answers.length === 1 ? this.#options.batch : 1;
    let failed = 0;
    for (const { error, message = "", default: isDefault } of answers) {
      if (error === undefined) {
        if (isDefault === true) this.#defaults += each;
        else this.#ok += each;
        continue;
      }
      failed++;
      this.#errors[error] = (this.#errors[error] ?? 0) + each;
      this.#messages[error] ??= message;
    }
    if (failed < answers.length) this.#latencies.add(latencyMs);
  }
}

/** Inputs as bodies of `batch` inputs each. */
export function bodiesOf(
  inputs: readonly JsonValue[],
  batch: number,
  version: string | undefined,
): readonly string[] {
  const rest = version === undefined ? {} : { version };
  return inputs.map((input, at) =>
    JSON.stringify(
      batch === 1
        ? { input, ...rest }
        : {
            input_batch: Array.from({ length: batch }, (_, next) => inputs[(at + next) % inputs.length]),
            ...rest,
          },
    ),
  );
}

/** By node:http: the client's own library takes several times the CPU, which would be measured along. */
function post(
  url: string,
  body: string,
  { agent, signal }: { readonly agent: Agent; readonly signal: AbortSignal },
): Promise<string> {
  return new Promise((resolve, reject) => {
    const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
    const sent = request(url, { method: "POST", agent, headers, signal }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => (text += chunk));
      response.on("end", () => resolve(text));
      response.on("error", reject);
    });
    sent.on("error", reject);
    sent.end(body);
  });
}
