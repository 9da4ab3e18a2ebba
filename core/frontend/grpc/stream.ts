// One ModelStreamInfer call: its requests are on their way at once, answers keep their order, and no more of either is held
// than its client takes.
import { once } from "node:events";
import type * as grpc from "@grpc/grpc-js";
import { ShuttingDownError } from "../../errors.ts";
import type { InferMessage } from "./infer.ts";
import { grpcError } from "./status.ts";

type Grpc = typeof grpc;
type InferStream = grpc.ServerDuplexStream<InferMessage, object>;

export interface StreamParts {
  /** Aborted when the server closes. */
  readonly closing: AbortSignal;
  readonly answer: (message: InferMessage) => Promise<object>;
}

/** Requests of one stream whose answers are not with the client; more are not read until then. */
const MAX_STREAMED = 64;

/** Answers until the client ends; when the server closes, what was read is answered, and the client is told. */
export function answerStream(library: Grpc, call: InferStream, { closing, answer }: StreamParts): void {
  let last: Promise<void> = Promise.resolve();
  let waiting = 0;
  // Each request that waits has a listener of its own.
  call.setMaxListeners(MAX_STREAMED + 16);
  call.on("data", (message: InferMessage) => {
    waiting += 1;
    if (waiting >= MAX_STREAMED) call.pause();
    const before = last;
    const response = responseTo(library, message, () => answer(message));
    last = (async () => {
      await before;
      await write(call, await response);
      waiting -= 1;
      if (waiting < MAX_STREAMED && !closing.aborted) call.resume();
    })();
  });
  const close = (): void => {
    call.pause();
    const error = new ShuttingDownError("the server is closing; open a stream to another one");
    void last.then(() => call.emit("error", grpcError(library, error)));
  };
  closing.addEventListener("abort", close, { once: true });
  const forget = (): void => closing.removeEventListener("abort", close);
  call.on("cancelled", forget);
  call.on("error", forget);
  call.on("end", () => {
    forget();
    void last.then(() => call.end());
  });
}

/** Resolves when the client has room for another answer, or has gone. */
async function write(call: InferStream, response: object): Promise<void> {
  if (call.cancelled || call.destroyed || call.write(response)) return;
  const over = new AbortController();
  const options = { signal: over.signal };
  await Promise.race([once(call, "drain", options), once(call, "cancelled", options)]).catch(() => undefined);
  over.abort();
}

/** An error is an answer as others: the stream goes on. */
async function responseTo(
  library: Grpc,
  { id, model_name: name }: InferMessage,
  answer: () => Promise<object>,
): Promise<object> {
  try {
    return { infer_response: await answer() };
  } catch (error) {
    return { error_message: grpcError(library, error).details, infer_response: { id, model_name: name } };
  }
}
