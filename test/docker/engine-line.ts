// A socket that leads to the engine, wherever a test wants it, and that can be cut.
import { once } from "node:events";
import { rm } from "node:fs/promises";
import { connect, createServer, type Server, type Socket } from "node:net";

const ENGINE = "/var/run/docker.sock";

/** A way to the engine that can be cut. */
export class Line implements AsyncDisposable {
  readonly path: string;
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;

  constructor(path: string) {
    this.path = path;
  }

  /** @param isSilent nothing gets through */
  async join({ isSilent = false }: { readonly isSilent?: boolean } = {}): Promise<void> {
    const keep = (socket: Socket): Socket => {
      this.#sockets.add(socket);
      return socket.on("error", () => {}).on("close", () => this.#sockets.delete(socket));
    };
    this.#server = createServer((near) => {
      keep(near);
      if (isSilent) return;
      const far = keep(connect(ENGINE));
      near.pipe(far).pipe(near);
    }).listen(this.path);
    await once(this.#server, "listening");
  }

  async cut(): Promise<void> {
    this.#server?.close();
    for (const socket of this.#sockets) socket.destroy();
    await rm(this.path, { force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.cut();
  }
}
