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
  const smaller = compressed(reply);
  if (smaller === undefined) sendAsIs(response, reply, isLast);
  else void smaller.then((one) => sendAsIs(response, one, isLast));
}

function sendAsIs(response: ServerResponse, reply: Reply, isLast: boolean): void {
  if (response.destroyed) return;
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

/** Bytes of a body. */
export function lengthOf(body: Reply["body"]): number {
  if (typeof body === "string") return Buffer.byteLength(body);
  let length = 0;
  for (const chunk of body) length += chunk.byteLength;
  return length;
}

/**
 * The reply with its body compressed, off the event loop; undefined where it goes as it is. Never rejects: what cannot be
 * compressed is given as it is, too.
 */
export function compressed(reply: Reply): Promise<Reply> | undefined {
  const { encoding, ...plain } = reply;
  return encoding === undefined || lengthOf(reply.body) < MIN_COMPRESSED_BYTES
    ? undefined
    : compress(plain, encoding);
}

async function compress(plain: Reply, encoding: keyof typeof COMPRESS): Promise<Reply> {
  const whole = typeof plain.body === "string" ? plain.body : Buffer.concat(plain.body);
  try {
    const body = [await COMPRESS[encoding](whole, { level: LEVEL })];
    return { ...plain, body, headers: [...(plain.headers ?? []), "Content-Encoding", encoding] };
  } catch {
    // Out of memory, if anything.
    return plain;
  }
}
