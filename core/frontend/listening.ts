// How the HTTP ports are listened on and closed, whoever does: the queue of connections, the URL, and what goes wrong.
import type { Server as HttpServer } from "node:http";
import type { AddressInfo, Server } from "node:net";
import { InvalidOptionsError, isNodeError, PortInUseError, type WindjammerError } from "../errors.ts";
import type { Log } from "../log.ts";

/** A port to listen on, with the words that errors need. */
export interface ListenOptions {
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
  /** "the query API" */
  readonly name: string;
  /** What the host and the port are called in a script, and the port on the command line. */
  readonly options: { readonly host: string; readonly port: string; readonly flag: string };
}

/** Bursts of new connections wait in the kernel, not in retries; it caps this itself. */
const BACKLOG = 4096;

/** The port that takes predictions. */
export function queryPort({ host, port }: { readonly host: string; readonly port: number }): ListenOptions {
  return { host, port, name: "the query API", options: { host: "host", port: "port", flag: "--port" } };
}

/** Starts to listen; resolves with the base URL. @throws PortInUseError, InvalidOptionsError */
export function listen(server: Server, options: ListenOptions, log: Log): Promise<string> {
  const { host, port, name } = options;
  return new Promise((resolve, reject) => {
    const refuse = (error: Error): void => reject(listenError(error, options));
    server.once("error", refuse);
    server.listen({ host, port, backlog: BACKLOG }, () => {
      server.off("error", refuse);
      server.on("error", (error) => log.error({ err: error }, `${name} failed`));
      resolve(urlOf(host, server.address() as AddressInfo));
    });
  });
}

/** Takes no more connections, lets running requests finish for `graceMs`, then cuts them. Idempotent. */
export async function closeServer(server: HttpServer, graceMs: number): Promise<void> {
  if (!server.listening) return;
  const closed = new Promise<void>((resolve) => {
    server.close(() => resolve());
  });
  const cut = setTimeout(() => server.closeAllConnections(), graceMs);
  server.closeIdleConnections();
  await closed;
  clearTimeout(cut);
}

/** One that can be asked: every address includes the loopback's. */
function urlOf(host: string, { address, port, family }: AddressInfo): string {
  if (address === "0.0.0.0" || address === "::") return `http://127.0.0.1:${port}`;
  return `http://${family === "IPv6" ? `[${address}]` : host}:${port}`;
}

function listenError(cause: Error, { host, port, name, options }: ListenOptions): WindjammerError {
  const code = isNodeError(cause) ? cause.code : undefined;
  if (code === "EADDRINUSE") {
    return new PortInUseError(
      `port ${port} of ${host} is in use by another process; stop it, or choose another port for ${name} (${options.port}, ${options.flag}; 0 picks a free one)`,
      { cause, details: { host, port } },
    );
  }
  const option = code === "EACCES" ? options.port : options.host;
  return new InvalidOptionsError(
    `cannot listen on ${host} port ${port} for ${name}: ${cause.message}; choose another ${option}`,
    { cause, details: { option, host, port } },
  );
}
