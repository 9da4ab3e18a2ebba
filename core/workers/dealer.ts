// Listens on the port of the query API, and deals the connections out to the workers in turn.
import { listen, queryPort } from "../frontend/listening.ts";
import { createServer, type Server, type Socket } from "node:net";
import type { Log } from "../log.ts";

/** Who takes connections. */
export interface Player {
  readonly isReady: boolean;
  give(socket: Socket): void;
}

/** Connections that wait while no worker is ready; later ones are cut. */
const MAX_WAITING = 4096;

export class Dealer {
  readonly #server: Server;
  readonly #players: () => readonly Player[];
  readonly #log: Log;
  #waiting: Socket[] = [];
  #turn = 0;

  constructor(players: () => readonly Player[], log: Log) {
    this.#players = players;
    this.#log = log;
    // Whoever gets a connection reads its first byte.
    this.#server = createServer({ pauseOnConnect: true, noDelay: true }, (socket) => this.#accepted(socket));
  }

  /** Resolves with the base URL. @throws PortInUseError, InvalidOptionsError */
  listen(host: string, port: number): Promise<string> {
    return listen(this.#server, queryPort({ host, port }), this.#log);
  }

  /** Deals out what waits; called when a worker is ready. */
  dealWaiting(): void {
    for (const socket of this.#waiting.splice(0)) this.deal(socket);
  }

  /** Gives it to the next worker in turn. */
  deal(socket: Socket): void {
    if (socket.destroyed) return;
    const ready = this.#players().filter(({ isReady }) => isReady);
    const next = ready[this.#turn++ % Math.max(1, ready.length)];
    if (next !== undefined) next.give(socket);
    else if (this.#server.listening && this.#waiting.length < MAX_WAITING) this.#waiting.push(socket);
    else socket.destroy();
  }

  /** Accepts no more; those that wait are cut. */
  close(): void {
    this.#server.close();
    for (const socket of this.#waiting.splice(0)) socket.destroy();
  }

  #accepted(socket: Socket): void {
    // A worker hears it, too.
    socket.on("error", () => undefined);
    this.deal(socket);
  }
}
