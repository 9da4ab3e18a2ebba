// A way to a management API on which something else happens just before one call arrives.
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import { onTestFinished } from "vitest";

interface Passing {
  /** "PUT /api/v1/applications/a". */
  readonly call: string;
  readonly meanwhile: () => Promise<void>;
}

/** Hands every request on to `target`; `meanwhile` runs before the first `call` does. Gives the URL of this way. */
export async function passing(target: string, { call, meanwhile }: Passing): Promise<string> {
  let isDone = false;
  const server = createServer((request, response) => {
    const { method = "", url = "" } = request;
    const handOn = async (): Promise<void> => {
      const body = await buffer(request);
      if (!isDone && `${method} ${url}` === call) {
        isDone = true;
        await meanwhile();
      }
      const reply = await fetch(`${target}${url}`, {
        method,
        headers: { "content-type": request.headers["content-type"] ?? "application/octet-stream" },
        ...(body.length === 0 ? {} : { body }),
      });
      response.writeHead(reply.status, { "content-type": reply.headers.get("content-type") ?? "" });
      for await (const chunk of reply.body ?? []) response.write(chunk);
      response.end();
    };
    handOn().catch(() => response.destroy());
  }).listen(0, "127.0.0.1");
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  await once(server, "listening");
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
