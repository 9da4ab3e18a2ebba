// A page to try the endpoint with: shows an image beside its double.
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import { WindjammerError, type ApplicationHandle } from "windjammer";

const PAGE = new URL("index.html", import.meta.url);

/** Serves the page on 127.0.0.1 until the process is told to stop. Images go to `upscale` as they come. */
export async function servePage(upscale: ApplicationHandle<string, string>, port: number): Promise<void> {
  const server = createServer((request, response) => {
    answer(upscale, request, response).catch((error: unknown) => {
      const status = error instanceof WindjammerError ? error.statusCode : 500;
      response.writeHead(status, { "content-type": "text/plain; charset=utf-8" }).end(String(error));
    });
  });
  await once(server.listen(port, "127.0.0.1"), "listening");
  const address = server.address() as AddressInfo;
  console.log(`Open http://127.0.0.1:${address.port} in a browser. Ctrl-C ends it.`);
  const stopped = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => stopped.abort());
  await once(stopped.signal, "abort");
  server.close();
  server.closeAllConnections();
}

async function answer(
  upscale: ApplicationHandle<string, string>,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  if (request.method === "GET" && request.url === "/") {
    response.writeHead(200, { "content-type": "text/html; charset=utf-8" }).end(await readFile(PAGE));
  } else if (request.method === "POST" && request.url === "/upscale") {
    const image = await buffer(request);
    const png = await upscale.predict(image.toString("base64"));
    response.writeHead(200, { "content-type": "image/png" }).end(Buffer.from(png, "base64"));
  } else {
    response.writeHead(404).end();
  }
}
