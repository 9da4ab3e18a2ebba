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

interface Entry {
  readonly code: string;
  readonly message: string;
  count: number;
  at: number;
}

export class RecentErrors {
  /** By code and message, the one met longest ago first. */
  readonly #errors = new Map<string, Entry>();

  note({ code, message }: WindjammerError): void {
    const error = this.#newest(code, message.slice(0, MAX_MESSAGE_LENGTH));
    error.count += 1;
    error.at = Date.now();
  }

  /** Those of another process, newest first. */
  add(errors: readonly RecentError[]): void {
    for (const { code, message, count, at } of errors.toReversed()) {
      const error = this.#newest(code, message);
      error.count += count;
      error.at = Math.max(error.at, Date.parse(at));
    }
  }

  /** What `list` says, which starts anew. */
  take(): readonly RecentError[] {
    const errors = this.list();
    this.#errors.clear();
    return errors;
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

  /** The entry of an error that was met just now. */
  #newest(code: string, message: string): Entry {
    const key = `${code} ${message}`;
    const error = this.#errors.get(key) ?? { code, message, count: 0, at: 0 };
    this.#errors.delete(key);
    this.#errors.set(key, error);
    if (this.#errors.size > MAX_ERRORS) {
      const [oldest = ""] = this.#errors.keys();
      this.#errors.delete(oldest);
    }
    return error;
  }
}
