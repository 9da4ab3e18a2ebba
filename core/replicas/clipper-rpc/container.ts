// One model container of Clipper's that is connected: its batch in flight, its signs of life, its end.
import type { RunningReplica } from "../../runtimes/runtime.ts";
import type { ReplicaAddress, ReplicaExit } from "../../types.ts";
import {
  type ContainerMessage,
  type ContainerMetadata,
  predictFrames,
  type RpcInputType,
} from "./messages.ts";
import { type PredictDone, RpcAnswerError, type RpcPeer } from "./transport.ts";

export interface ContainerParts {
  readonly metadata: ContainerMetadata;
  /** Names its connection, for people. */
  readonly connection: string;
  readonly address: ReplicaAddress;
  /** Rejects when the container cannot be reached. */
  readonly send: (frames: readonly Uint8Array[]) => Promise<void>;
  /** Milliseconds, of any clock. */
  readonly now: () => number;
}

/** Never 2^32: ids are 4 bytes on the wire. */
const LAST_MESSAGE_ID = 2 ** 32 - 1;

interface InFlight {
  readonly messageId: number;
  readonly done: PredictDone;
}

export class RpcContainer implements RpcPeer {
  readonly metadata: ContainerMetadata;
  readonly #parts: ContainerParts;
  readonly #exited = Promise.withResolvers<ReplicaExit>();
  #lastHeardAt: number;
  #lastMessageId = 0;
  #inFlight: InFlight | undefined;
  #hasEnded = false;
  /** It is a replica of its version. */
  isServing = false;

  constructor(parts: ContainerParts) {
    this.#parts = parts;
    this.metadata = parts.metadata;
    this.#lastHeardAt = parts.now();
  }

  get isConnected(): boolean {
    return !this.#hasEnded;
  }

  /** Resolves when it has ended. */
  get gone(): Promise<ReplicaExit> {
    return this.#exited.promise;
  }

  get label(): string {
    const { model, version } = this.metadata;
    return `container ${this.#parts.connection} of model ${shorten(model)} version ${shorten(version)}`;
  }

  /** Milliseconds without a sign of life. A batch in flight is one: while it predicts, a container says nothing. */
  get silentMs(): number {
    return this.#inFlight === undefined ? this.#parts.now() - this.#lastHeardAt : 0;
  }

  /** As a replica with this id; `stop` forgets the connection, and a container that still lives comes back by itself. */
  asReplica(id: string): RunningReplica {
    const { model, version } = this.metadata;
    return {
      id,
      model,
      version,
      address: this.#parts.address,
      handle: `Clipper RPC ${this.#parts.connection}`,
      startedAt: new Date().toISOString(),
      exited: this.#exited.promise,
      tail: () => [],
      // What it writes stays where it runs.
      async *logs() {},
      stats: async () => ({ memoryBytes: 0, cpuMs: 0 }),
      stop: async () => this.end({ reason: "stopped", message: "stopped" }),
    };
  }

  predict(inputs: readonly Uint8Array[], done: PredictDone): void {
    if (this.#hasEnded) {
      done(new Error("it has gone"), undefined);
      return;
    }
    const messageId = (this.#lastMessageId % LAST_MESSAGE_ID) + 1;
    this.#lastMessageId = messageId;
    this.#inFlight = { messageId, done };
    const inputType = this.metadata.inputType as RpcInputType;
    this.#parts.send(predictFrames({ messageId, inputType, inputs })).catch((error: Error) => {
      this.end({ reason: "exited", message: `cannot be reached (${error.message})` });
    });
  }

  /** Any message of it is a sign of life. An answer to a batch that was given up is dropped. */
  heard(message: ContainerMessage): void {
    this.#lastHeardAt = this.#parts.now();
    const inFlight = this.#inFlight;
    if (!("messageId" in message) || inFlight?.messageId !== message.messageId) return;
    this.#inFlight = undefined;
    if (message.kind === "response") inFlight.done(undefined, message.outputs);
    else
      inFlight.done(
        new RpcAnswerError(`it answered with something that is no response: ${message.why}`),
        undefined,
      );
  }

  /** It has gone, or nobody wants it. Its batch in flight fails. Idempotent. */
  end(exit: ReplicaExit): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#exited.resolve(exit);
    const inFlight = this.#inFlight;
    this.#inFlight = undefined;
    inFlight?.done(new Error(exit.message), undefined);
  }
}

/** Names come from outside, and go into logs. */
function shorten(name: string): string {
  const text = JSON.stringify(name);
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}
