// Reads a request's body into one buffer of its own, which can be given to the worker without a copy.
import type { IncomingMessage } from "node:http";
import { RequestError } from "./request-error.ts";

/** Largest body of an infer call. The frontend's own limits are far lower; this one keeps the process alive. */
const MAX_BODY_BYTES: number = 2 ** 30;

/** @throws RequestError 413, 415, 500 where there is no memory for it, or 400 when the caller goes before the body is whole */
export async function readBody(request: IncomingMessage): Promise<Uint8Array> {
  const encoding = request.headers["content-encoding"];
  if (encoding !== undefined && encoding !== "identity")
    throw new RequestError(415, `content-encoding ${encoding} is not supported; send the body as it is`);
  const length = request.headers["content-length"];
  return length === undefined ? readChunked(request) : readSized(request, Number(length));
}

async function readSized(request: IncomingMessage, length: number): Promise<Uint8Array> {
  const body = bodyMemory(length);
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
  const body = bodyMemory(size);
  let offset = 0;
  for (const chunk of chunks) {
    body.set(chunk, offset);
    offset += chunk.byteLength;
  }
  return body;
}

/** Memory of its own for a body of so many bytes. @throws RequestError 413 for too many, 500 where there is none left */
export function bodyMemory(bytes: number): Uint8Array {
  checkSize(bytes);
  try {
    return Buffer.allocUnsafeSlow(bytes);
  } catch (error) {
    throw new RequestError(
      500,
      `the model container has no memory for a body of ${bytes} bytes (${(error as Error).message}); give it more, or send smaller batches`,
    );
  }
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
