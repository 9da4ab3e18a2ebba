// How the port of the query API is listened on, whoever does: its queue of connections, its URL, and what goes wrong.
import type { AddressInfo, Server } from "node:net";
import { InvalidOptionsError, isNodeError, PortInUseError, type WindjammerError } from "../errors.ts";
import type { Log } from "../log.ts";

/** Bursts of new connections wait in the kernel, not in retries; it caps this itself. */
const BACKLOG = 4096;

/** Starts to listen; resolves with the base URL. @throws PortInUseError, InvalidOptionsError */
export function listenForQueries(
  server: Server,
  { host, port }: { readonly host: string; readonly port: number },
  log: Log,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const refuse = (error: Error): void => reject(listenError(error, host, port));
    server.once("error", refuse);
    server.listen({ host, port, backlog: BACKLOG }, () => {
      server.off("error", refuse);
      server.on("error", (error) => log.error({ err: error }, "query server failed"));
      resolve(urlOf(host, server.address() as AddressInfo));
    });
  });
}

function urlOf(host: string, { address, port, family }: AddressInfo): string {
  if (address === "0.0.0.0" || address === "::") return `http://127.0.0.1:${port}`;
  return `http://${family === "IPv6" ? `[${address}]` : host}:${port}`;
}

function listenError(error: Error, host: string, port: number): WindjammerError {
  const code = isNodeError(error) ? error.code : undefined;
  const details = { host, port };
  if (code === "EADDRINUSE") {
    return new PortInUseError(
      `port ${port} on ${host} is in use by another process; stop it, or choose another port (0 picks a free one)`,
      { cause: error, details },
    );
  }
  return new InvalidOptionsError(
    `cannot listen on ${host} port ${port}: ${error.message}; choose another host or port`,
    { cause: error, details },
  );
}
