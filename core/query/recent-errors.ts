// The errors that queries of one version met lately, for people who look what is wrong.
import type { WindjammerError } from "../errors.ts";

/** Errors with one code and one message count as one. */
const MAX_ERRORS = 8;
const MAX_MESSAGE_LENGTH = 500;

/** An error that queries met. */
export interface RecentError {
  readonly code: string;
  readonly message: string;
  /** Queries that met it. */
  readonly count: number;
  /** When the last one did, ISO 8601. */
  readonly at: string;
}

export class RecentErrors {
  /** By code and message, the one met longest ago first. */
  readonly #errors = new Map<
    string,
    { readonly code: string; readonly message: string; count: number; at: number }
  >();

  note({ code, message }: WindjammerError): void {
    const text = message.slice(0, MAX_MESSAGE_LENGTH);
    const key = `${code} ${text}`;
    const error = this.#errors.get(key) ?? { code, message: text, count: 0, at: 0 };
    error.count += 1;
    error.at = Date.now();
    this.#errors.delete(key);
    this.#errors.set(key, error);
    if (this.#errors.size <= MAX_ERRORS) return;
    const [oldest = ""] = this.#errors.keys();
    this.#errors.delete(oldest);
  }

  /** Newest first. */
  list(): readonly RecentError[] {
    return Array.from(this.#errors.values(), ({ code, message, count, at }) => ({
      code,
      message,
      count,
      at: new Date(at).toISOString(),
    })).toReversed();
  }
}
