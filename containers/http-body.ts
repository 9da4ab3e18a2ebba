// Reads a request's body into one buffer of its own, which can be given to the worker without a copy.
import type { IncomingMessage } from "node:http";
import { RequestError } from "./request-error.ts";

/** Largest body of an infer call. The frontend's own limits are far lower; this one keeps the process alive. */
export const MAX_BODY_BYTES: number = 2 ** 30;

/** @throws RequestError 413, 415, or 400 when the caller goes before the body is whole */
export async function readBody(request: IncomingMessage): Promise<Uint8Array> {
  const encoding = request.headers["content-encoding"];
  if (encoding !== undefined && encoding !== "identity")
    throw new RequestError(415, `content-encoding ${encoding} is not supported; send the body as it is`);
  const length = request.headers["content-length"];
  return length === undefined ? readChunked(request) : readSized(request, Number(length));
}

async function readSized(request: IncomingMessage, length: number): Promise<Uint8Array> {
  checkSize(length);
  const body = Buffer.allocUnsafeSlow(length);
  let offset = 0;
  await collect(request, (chunk) => {
    body.set(chunk, offset);
    offset += chunk.byteLength;
  });
  return body;
}

async function readChunked(request: IncomingMessage): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  await collect(request, (chunk) => {
    size += chunk.byteLength;
    checkSize(size);
    chunks.push(chunk);
  });
  const body = Buffer.allocUnsafeSlow(size);
  let offset = 0;
  for (const chunk of chunks) {
    body.set(chunk, offset);
    offset += chunk.byteLength;
  }
  return body;
}

function checkSize(bytes: number): void {
  if (bytes > MAX_BODY_BYTES)
    throw new RequestError(413, `the body is larger than ${MAX_BODY_BYTES} bytes; send smaller batches`);
}

function collect(request: IncomingMessage, take: (chunk: Uint8Array) => void): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  request.on("data", (chunk: Uint8Array) => {
    try {
      take(chunk);
    } catch (error) {
      request.removeAllListeners("data");
      reject(error);
    }
  });
  request.on("end", resolve);
  request.on("error", reject);
  request.on("close", () => {
    if (!request.complete) reject(new RequestError(400, "the body ended early"));
  });
  return promise;
}
