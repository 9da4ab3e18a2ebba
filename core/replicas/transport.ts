// The way to one replica: Open Inference Protocol over HTTP/1.1, on a Unix socket or a TCP port.
import type { ReplicaAddress } from "../types.ts";
import { getOverSocket, type TextReply } from "./socket-get.ts";

/** As much as our own containers take in one call. */
export const MAX_REPLY_BYTES: number = 2 ** 30;

export interface InferCall {
  readonly path: string;
  readonly body: Uint8Array;
  /** Length of the JSON in front of the tensors; undefined: the body is all JSON. */
  readonly headerLength: number | undefined;
  /** Milliseconds until nobody waits any more. */
  readonly deadlineMs: number;
  /** It may be computed twice: one that a server elsewhere may not have read, since it had closed the connection, is sent again. Default false. */
  readonly isRetryable?: boolean;
}

export interface InferReply {
  readonly statusCode: number;
  readonly body: Uint8Array;
  /** undefined: the reply is all JSON. */
  readonly headerLength: number | undefined;
  /** The loader's own time; undefined when the container does not say. */
  readonly computeMs: number | undefined;
}

export type InferDone = (error: Error | undefined, reply: InferReply | undefined) => void;

/** Sends calls to one replica. Another client for the same wire form may take its place. */
export interface ReplicaTransport {
  /** Calls `done` exactly once. */
  infer(call: InferCall, done: InferDone): void;
  /** A GET on a connection of its own, so that it answers during a long call. Rejects when nothing listens. */
  get(path: string, timeoutMs: number): Promise<TextReply>;
  /** Ends all connections; calls in flight fail. */
  close(): Promise<void>;
}

/** Where a replica listens, when it is one place. */
export type OneAddress = Exclude<ReplicaAddress, { readonly anyOf: readonly ReplicaAddress[] }>;

/** @param maxCalls infer calls that it may have on their way at once */
export function transportTo(address: ReplicaAddress, maxCalls = 1): ReplicaTransport {
  if ("anyOf" in address) return firstThatAnswers(address.anyOf.map((one) => transportTo(one, maxCalls)));
  const transport = lateTransport(address, maxCalls);
  return "socketPath" in address ? withSocketGet(transport, address.socketPath) : transport;
}

/**
 * The general transport, loaded with its first call: undici is a tenth of a small server's memory, and who runs only
 * models in containers of ours on this host needs none of it.
 */
function lateTransport(address: OneAddress, maxCalls: number): ReplicaTransport {
  let loaded: ReplicaTransport | undefined;
  let loading: Promise<ReplicaTransport> | undefined;
  const load = async (): Promise<ReplicaTransport> => {
    try {
      return (loaded = (await import("./http-transport.ts")).httpTransport(address, maxCalls));
    } catch (error) {
      // What could not be loaded, for want of a file descriptor, can be for the next call.
      loading = undefined;
      throw error;
    }
  };
  const ready = (): Promise<ReplicaTransport> => (loading ??= load());
  const inferLate = async (call: InferCall, done: InferDone): Promise<void> => {
    let transport: ReplicaTransport;
    try {
      transport = await ready();
    } catch (error) {
      done(error as Error, undefined);
      return;
    }
    transport.infer(call, done);
  };
  return {
    infer(call, done) {
      if (loaded === undefined) void inferLate(call, done);
      else loaded.infer(call, done);
    },
    get: async (path, timeoutMs) => (await ready()).get(path, timeoutMs),
    close: async () => (await loading?.catch(() => undefined))?.close(),
  };
}

/** `transport`, with health and metadata asked over the socket without it. */
function withSocketGet(transport: ReplicaTransport, socketPath: string): ReplicaTransport {
  const closing = new AbortController();
  return {
    infer: (call, done) => transport.infer(call, done),
    get: (path, timeoutMs) =>
      getOverSocket(socketPath, path, AbortSignal.any([closing.signal, AbortSignal.timeout(timeoutMs)])),
    close() {
      closing.abort();
      return transport.close();
    },
  };
}

/**
 * Tries them all until one has answered a GET with 200; calls go there from then on. Another answer may come from
 * somebody else who took the port.
 */
function firstThatAnswers(transports: readonly ReplicaTransport[]): ReplicaTransport {
  let found: ReplicaTransport | undefined;
  return {
    infer(call, done) {
      if (found === undefined) done(new Error("nothing listens yet"), undefined);
      else found.infer(call, done);
    },
    async get(path, timeoutMs) {
      if (found !== undefined) return found.get(path, timeoutMs);
      const attempts = transports.map((transport) => transport.get(path, timeoutMs));
      const successes = attempts.map(async (attempt, index) => {
        const reply = await attempt;
        if (reply.statusCode !== 200) throw new Error("not this one");
        found ??= transports[index];
        return reply;
      });
      // Of failures the answers say more than that nobody listens at the other place.
      return Promise.any(successes).catch(() => Promise.any(attempts).catch(() => Promise.race(attempts)));
    },
    close: async () => {
      await Promise.all(transports.map((transport) => transport.close()));
    },
  };
}
