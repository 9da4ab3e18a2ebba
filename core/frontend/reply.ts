// Writes a dialect's reply to its connection, compressed where that was agreed.
import type { ServerResponse } from "node:http";
import { promisify } from "node:util";
import { deflate, gzip } from "node:zlib";
import type { Reply } from "./dialects/dialect.ts";

/** Smaller bodies fit into a packet as they are. */
const MIN_COMPRESSED_BYTES = 1024;

const COMPRESS = { gzip: promisify(gzip), deflate: promisify(deflate) } as const;
/** The fastest: most of what it can save for a fraction of the time. */
const LEVEL = 1;

/** @param isLast no other request is answered on this connection */
export function send(response: ServerResponse, reply: Reply, isLast: boolean): void {
  if (reply.encoding !== undefined && lengthOf(reply.body) >= MIN_COMPRESSED_BYTES) {
    void sendCompressed(response, reply, { encoding: reply.encoding, isLast });
    return;
  }
  writeHead(response, reply, isLast);
  if (typeof reply.body === "string") {
    response.end(reply.body);
    return;
  }
  writeBody(response, reply);
  response.end();
}

export function writeHead(response: ServerResponse, reply: Reply, isLast: boolean): void {
  const { body, contentType = "application/json", retryAfterS, headers } = reply;
  const head = ["Content-Type", contentType, "Content-Length", String(lengthOf(body))];
  if (isLast) head.push("Connection", "close");
  if (retryAfterS !== undefined) head.push("Retry-After", String(Math.max(1, Math.ceil(retryAfterS))));
  if (headers !== undefined) head.push(...headers);
  response.writeHead(reply.status, head);
}

export function writeBody(response: ServerResponse, { body }: Reply): void {
  if (typeof body === "string") {
    response.write(body);
    return;
  }
  response.cork();
  for (const chunk of body) response.write(chunk);
  response.uncork();
}

function lengthOf(body: Reply["body"]): number {
  if (typeof body === "string") return Buffer.byteLength(body);
  let length = 0;
  for (const chunk of body) length += chunk.byteLength;
  return length;
}

interface Compression {
  readonly encoding: keyof typeof COMPRESS;
  readonly isLast: boolean;
}

/** Off the event loop. What cannot be compressed goes as it is. */
async function sendCompressed(
  response: ServerResponse,
  reply: Reply,
  { encoding, isLast }: Compression,
): Promise<void> {
  const { encoding: _, ...plain } = reply;
  const whole = typeof reply.body === "string" ? reply.body : Buffer.concat(reply.body);
  let compressed: Reply = plain;
  try {
    const body = [await COMPRESS[encoding](whole, { level: LEVEL })];
    compressed = { ...plain, body, headers: [...(reply.headers ?? []), "Content-Encoding", encoding] };
  } catch {
    // Out of memory, if anything.
  }
  if (!response.destroyed) send(response, compressed, isLast);
}
