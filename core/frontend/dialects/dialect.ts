// Contract of a dialect: how one family of clients words predictions over HTTP. The server knows nothing of bodies.
import type { WindjammerError } from "../../errors.ts";
import type { PredictCall } from "../../query/predict.ts";

/** A request whose body has arrived whole, and the way to answer it. */
export interface Exchange {
  /** What `match` made of the path. */
  readonly target: string;
  readonly body: Buffer;
  /** A request header by its lower-case name; undefined when it is not there. */
  header(name: string): string | undefined;
  /** `performance.now()` when the body was whole: a caller's slow upload does not count against the objective. */
  readonly arrivedAt: number;
  /**
   * To be called exactly once, unless `answer` throws. Never throws: what `build` throws is answered with `refusal`, so
   * that a reply that cannot be built keeps nobody waiting.
   */
  reply(build: () => Reply): void;
  /** Nothing of `body` is in use any more, also by rows that are views of it: its memory goes at once. */
  release(): void;
}

export interface Reply {
  readonly status: number;
  /** Text, or bytes in parts. */
  readonly body: string | readonly Uint8Array[];
  /** Default "application/json". */
  readonly contentType?: string;
  /** More headers: names and values in turn. */
  readonly headers?: readonly string[];
  /** How a large body may be compressed, since its client takes it. */
  readonly encoding?: "gzip" | "deflate" | undefined;
  /** Becomes the Retry-After header. */
  readonly retryAfterS?: number | undefined;
}

/** Adding one is one file here and one line in server.ts. */
export interface Dialect {
  readonly name: string;
  /** What this path asks the dialect for; undefined: not one of its paths. The path has no query string. */
  match(path: string): string | undefined;
  /** Sends the request's queries on their way. @throws WindjammerError, which the server answers with `refusal` */
  answer(exchange: Exchange): PredictCall;
  /** A whole request that failed, in the dialect's own shape. */
  refusal(error: WindjammerError): Reply;
}
