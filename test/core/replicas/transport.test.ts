// The way to one replica: which of several places it listens at.
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { transportTo } from "../../../core/replicas/transport.ts";
import { tempFolder } from "../../helpers/temp.ts";

async function answering(status: number, at: string | number): Promise<Server> {
  const server = createServer((_, response) => response.writeHead(status).end(`status ${status}`));
  await new Promise<void>((resolve) => server.listen(at, resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return server;
}

it("a stranger on the port of a replica that listens on its socket is not taken for it", async () => {
  const socketPath = join(await tempFolder(), "s");
  const { port } = (await answering(404, 0)).address() as AddressInfo;
  const transport = transportTo({ anyOf: [{ socketPath }, { host: "127.0.0.1", port }] });
  onTestFinished(() => transport.close());
  expect(await transport.get("/v2/health/ready", 5_000)).toMatchObject({ statusCode: 404 });
  await answering(200, socketPath);
  expect(await transport.get("/v2/health/ready", 5_000)).toMatchObject({ statusCode: 200 });
  expect(await transport.get("/v2/health/ready", 5_000)).toMatchObject({ text: "status 200" });
});

it("nobody anywhere is an error that names the first place", async () => {
  const socketPath = join(await tempFolder(), "s");
  const transport = transportTo({ anyOf: [{ socketPath }, { host: "127.0.0.1", port: 9 }] });
  onTestFinished(() => transport.close());
  await expect(transport.get("/v2/health/ready", 5_000)).rejects.toThrow(/ENOENT|ECONNREFUSED/);
});
