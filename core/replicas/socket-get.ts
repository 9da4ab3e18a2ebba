// GETs to a container on a Unix socket, by Node's own client: a server has that loaded anyway.
import type { IncomingMessage } from "node:http";
import { request } from "../../containers/node-http.ts";

/** Of health and metadata. */
const MAX_TEXT_BYTES = 16 * 2 ** 20;

export interface TextReply {
  readonly statusCode: number;
  readonly text: string;
}

/** On a connection of its own. */
export async function getOverSocket(
  socketPath: string,
  path: string,
  signal: AbortSignal,
): Promise<TextReply> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  request({ socketPath, path, signal, agent: false }, resolve).on("error", reject).end();
  const reply = await promise;
  return { statusCode: reply.statusCode ?? 0, text: await textOf(reply) };
}

/** @throws Error when it is too long */
export async function textOf(body: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of body) {
    length += chunk.byteLength;
    if (length > MAX_TEXT_BYTES) throw new Error(`its answer is longer than ${MAX_TEXT_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}
