// A way to the engine over TCP or TLS, on which single calls can be answered otherwise.
import { once } from "node:events";
import { createServer, request, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer, type ServerOptions } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import type { Duplex } from "node:stream";

const ENGINE = "/var/run/docker.sock";

/** What a call gets in place of the engine's own reply; undefined passes it on. */
export type Answer = (call: {
  readonly method: string;
  readonly url: URL;
}) => { readonly status: number; readonly message: string } | undefined;

export class EngineProxy implements AsyncDisposable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(server: Server) {
    this.#server = server;
    server.on("upgrade", switchProtocol);
    server.on("connection", (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once("close", () => this.#sockets.delete(socket));
    });
  }

  /** @param tls keys and certificates; without them it speaks plain HTTP */
  static async start(answer: Answer = () => undefined, tls?: ServerOptions): Promise<EngineProxy> {
    const handle = (incoming: IncomingMessage, outgoing: ServerResponse): void =>
      pass(answer, incoming, outgoing);
    const server = tls === undefined ? createServer(handle) : createTlsServer(tls, handle);
    const proxy = new EngineProxy(server);
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return proxy;
  }

  /** Without a scheme. */
  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get host(): string {
    return `tcp://${this.address}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}

/** BuildKit's session turns its connection into one of HTTP/2. */
function switchProtocol({ method, url, headers }: IncomingMessage, near: Duplex): void {
  const onward = request({ socketPath: ENGINE, path: url, method, headers });
  onward.on("error", () => near.destroy());
  onward.on("upgrade", (reply, far) => {
    const lines = Object.entries(reply.headers).map(([name, value]) => `${name}: ${String(value)}`);
    near.write(`HTTP/1.1 101 Switching Protocols\r\n${lines.join("\r\n")}\r\n\r\n`);
    far.on("error", () => near.destroy());
    near.on("error", () => far.destroy());
    far.pipe(near).pipe(far);
  });
  onward.end();
}

function pass(answer: Answer, incoming: IncomingMessage, outgoing: ServerResponse): void {
  const { method = "GET", url = "/", headers } = incoming;
  const instead = answer({ method, url: new URL(url, "http://engine") });
  if (instead !== undefined) {
    incoming.resume();
    outgoing.writeHead(instead.status, { "content-type": "application/json" });
    outgoing.end(JSON.stringify({ message: instead.message }));
    return;
  }
  const onward = request({ socketPath: ENGINE, path: url, method, headers }, (reply) => {
    outgoing.writeHead(reply.statusCode ?? 502, reply.headers);
    outgoing.flushHeaders();
    reply.pipe(outgoing);
  });
  onward.on("error", () => outgoing.destroy());
  incoming.pipe(onward);
  outgoing.once("close", () => onward.destroy());
}
