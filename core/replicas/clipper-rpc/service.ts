// Listens for Clipper's model containers (ZeroMQ, RPC version 3): lets them in, keeps watch over them, lets them go.
import type { Router } from "zeromq";
import { InvalidOptionsError, isNodeError, PortInUseError } from "../../errors.ts";
import type { Log } from "../../log.ts";
import type { RunningReplica } from "../../runtimes/runtime.ts";
import type { ReplicaTransport } from "../transport.ts";
import { RpcContainer } from "./container.ts";
import {
  type ContainerMetadata,
  heartbeatFrames,
  readMessage,
  RPC_VERSION,
  type RpcInputType,
} from "./messages.ts";
import { rpcTransport } from "./transport.ts";
import type { Manifest } from "../../../containers/protocol.ts";

/** Where a container belongs. */
export type Place =
  | {
      readonly kind: "version";
      readonly manifest: Manifest;
      readonly nextId: () => string;
      /** Takes the replica in until it ends. */
      readonly join: (running: RunningReplica, transport: ReplicaTransport) => void;
    }
  /** Nothing for it to serve, as yet: it is asked again after each change of the registry. */
  | { readonly kind: "none"; readonly why: string };

export interface RpcServiceParts {
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
  readonly log: Log;
  readonly place: (metadata: ContainerMetadata & { readonly inputType: RpcInputType }) => Place;
  /** Calls its listener after each change of the registry; returns a call that ends it. */
  readonly onChange: (listener: () => void) => () => void;
  /** A container that says nothing for so long, and has no batch, has gone. Default 30,000, as in Clipper. */
  readonly silenceMs?: number;
}

const SILENCE_MS = 30_000;
/** A batch may hold so much. */
const MAX_MESSAGE_BYTES = 2 ** 30;
const MAX_CONTAINERS = 10_000;
/** The socket learns of a closed connection a moment after it is told of it. */
const PROBE_AFTER_MS = [0, 50, 500] as const;

export class RpcService {
  readonly #parts: RpcServiceParts;
  readonly #containers = new Map<string, RpcContainer>();
  readonly #timers = new Set<NodeJS.Timeout>();
  #socket: Router | undefined;
  #address: { host: string; port: number } = { host: "", port: 0 };
  #stopListening: () => void = () => undefined;
  #received: Promise<void> = Promise.resolve();
  #lastSent: Promise<void> = Promise.resolve();

  constructor(parts: RpcServiceParts) {
    this.#parts = parts;
  }

  /** @throws InvalidOptionsError when the package zeromq is missing or the host cannot be bound, PortInUseError */
  async listen(): Promise<string> {
    const { host, port, onChange, silenceMs = SILENCE_MS } = this.#parts;
    const { Router: RouterSocket } = await loadZeromq();
    const socket = new RouterSocket({
      // Else what is sent to a container that has gone would vanish in silence.
      mandatory: true,
      sendTimeout: 0,
      linger: 0,
      maxMessageSize: MAX_MESSAGE_BYTES,
      // A host that dies without a word is noticed by the kernel, also while a batch keeps the container silent.
      tcpKeepalive: 1,
      tcpKeepaliveIdle: 30,
      tcpKeepaliveInterval: 10,
      tcpKeepaliveCount: 3,
    });
    try {
      await socket.bind(`tcp://${host.includes(":") ? `[${host}]` : host}:${port === 0 ? "*" : port}`);
    } catch (error) {
      socket.close();
      throw bindError(error, host, port);
    }
    this.#socket = socket;
    this.#address = { host, port: Number(/:(\d+)$/.exec(socket.lastEndpoint ?? "")?.[1] ?? port) };
    socket.events.on("disconnect", () => this.#probeSoon());
    this.#received = this.#receive(socket);
    const watch = setInterval(() => this.#dropSilent(silenceMs), Math.max(10, silenceMs / 6));
    this.#timers.add(watch);
    this.#stopListening = onChange(() => this.#placeWaiting());
    return `tcp://${host}:${this.#address.port}`;
  }

  /** Forgets all containers; they come back by themselves to whoever listens on the port next. Idempotent. */
  async close(): Promise<void> {
    const socket = this.#socket;
    if (socket === undefined) return;
    this.#socket = undefined;
    this.#stopListening();
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    for (const container of this.#containers.values())
      container.end({ reason: "stopped", message: "stopped" });
    this.#containers.clear();
    socket.close();
    await this.#received;
  }

  async #receive(socket: Router): Promise<void> {
    const { log } = this.#parts;
    try {
      for await (const [identity, ...frames] of socket) {
        if (identity !== undefined) this.#handle(identity, frames);
      }
    } catch (error) {
      if (this.#socket !== undefined)
        log.error({ err: error }, "the RPC socket of Clipper's containers failed");
    }
  }

  /** Never throws: one container's message must not end the loop for the others. */
  #handle(identity: Buffer, frames: readonly Buffer[]): void {
    const connection = identity.toString("hex");
    const container = this.#containers.get(connection);
    const message = readMessage(frames);
    if (message.kind === "malformed")
      this.#parts.log.warn(
        { connection, why: message.why },
        "a message of a Clipper container makes no sense",
      );
    container?.heard(message);
    if (message.kind === "heartbeat")
      this.#send(identity, heartbeatFrames(container === undefined)).catch(ignore);
    else if (message.kind === "metadata" && container === undefined) this.#welcome(identity, message);
  }

  #welcome(
    identity: Buffer,
    {
      metadata,
      rpcVersion,
    }: { readonly metadata: ContainerMetadata; readonly rpcVersion: number | undefined },
  ): void {
    const { log } = this.#parts;
    const connection = identity.toString("hex");
    if (rpcVersion !== RPC_VERSION || this.#containers.size >= MAX_CONTAINERS) {
      const { size: containers } = this.#containers;
      log.error(
        { connection, rpcVersion, containers },
        "a Clipper container is ignored: it does not speak RPC version 3, or there are too many",
      );
      return;
    }
    const container = new RpcContainer({
      metadata,
      connection,
      address: this.#address,
      send: (frames) => this.#send(identity, frames),
      now: () => performance.now(),
    });
    this.#containers.set(connection, container);
    void this.#forget(container, connection);
    const place = this.#tryPlace(container);
    if (place.kind === "none") log.warn({ connection }, `${container.label} waits: ${place.why}`);
  }

  async #forget(container: RpcContainer, connection: string): Promise<void> {
    await container.gone;
    if (this.#containers.get(connection) === container) this.#containers.delete(connection);
  }

  #tryPlace(container: RpcContainer): Place {
    const { model, version, inputType } = container.metadata;
    if (inputType === undefined) return { kind: "none", why: "its input type is not one of the protocol's" };
    const place = this.#parts.place({ model, version, inputType });
    if (place.kind === "version") {
      container.isServing = true;
      const running = container.asReplica(place.nextId());
      place.join(running, rpcTransport(container, place.manifest));
    }
    return place;
  }

  /** A model may have been registered since they came. */
  #placeWaiting(): void {
    for (const container of this.#containers.values()) if (!container.isServing) this.#tryPlace(container);
  }

  #dropSilent(silenceMs: number): void {
    for (const container of this.#containers.values()) {
      if (container.silentMs < silenceMs) continue;
      container.end({
        reason: "exited",
        message: `said nothing for ${Math.round(container.silentMs / 1000)} s`,
      });
    }
  }

  /** Some connection was closed, and the socket does not say whose: whoever cannot be sent a word has gone. */
  #probeSoon(): void {
    if (this.#socket === undefined) return;
    for (const ms of PROBE_AFTER_MS) {
      const timer = setTimeout(() => {
        this.#timers.delete(timer);
        this.#probe();
      }, ms);
      this.#timers.add(timer);
    }
  }

  #probe(): void {
    for (const [connection, container] of this.#containers) {
      this.#send(Buffer.from(connection, "hex"), heartbeatFrames(false)).catch((error: unknown) => {
        if (isNodeError(error) && error.code === "EHOSTUNREACH")
          container.end({ reason: "exited", message: "closed its connection" });
      });
    }
  }

  /** One after the other: the socket takes no second message while it writes one. */
  #send(identity: Buffer, frames: readonly Uint8Array[]): Promise<void> {
    const sent = this.#lastSent.then(() => this.#socket?.send([identity, ...frames]));
    this.#lastSent = sent.catch(ignore);
    return sent;
  }
}

function ignore(): void {}

async function loadZeromq(): Promise<typeof import("zeromq")> {
  try {
    return await import("zeromq");
  } catch (cause) {
    throw new InvalidOptionsError(
      "model containers of Clipper are reached over ZeroMQ, which needs the package zeromq (6.5 or newer): npm install zeromq, or do without them (clipper: { rpcPort: null }, --clipper-rpc-port off)",
      { cause, details: { option: "clipper.rpcPort", package: "zeromq" } },
    );
  }
}

function bindError(cause: unknown, host: string, port: number): Error {
  const code = isNodeError(cause) ? cause.code : undefined;
  const details = { host, port };
  if (code === "EADDRINUSE")
    return new PortInUseError(
      `port ${port} of ${host} is in use by another process; stop it, or choose another port for Clipper's containers (clipper.rpcPort, --clipper-rpc-port; 0 picks a free one)`,
      { cause, details },
    );
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new InvalidOptionsError(
    `cannot listen for Clipper's containers on ${host} port ${port}: ${reason}`,
    {
      cause,
      details: { option: "clipper.host", ...details },
    },
  );
}
