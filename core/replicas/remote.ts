// A replica that runs elsewhere: nothing starts or stops it; probes say whether it is there.
import { setTimeout as delay } from "node:timers/promises";
import { PATHS, type ContainerSource } from "../../containers/protocol.ts";
import { processEnvironment } from "../environment.ts";
import { ReplicaNotFoundError, ReplicaStartError } from "../errors.ts";
import type { LogOptions, ReplicaSpec, ReplicaStats, RunningReplica } from "../runtimes/runtime.ts";
import type { LogLine, ReplicaAddress, ReplicaExit } from "../types.ts";
import type { ReplicaSource } from "./source.ts";
import { transportTo, type ReplicaTransport } from "./transport.ts";

const PROBE_EVERY_MS = 1_000;
const PROBE_TIMEOUT_MS = 5_000;
/** Probes in a row that find nobody, or a server that is not ready, after which the replica counts as gone. */
const MAX_MISSES = 3;
const KEPT_LINES = 100;

type UrlSource = Extract<ContainerSource, { readonly kind: "url" }>;

/** Servers that run elsewhere; a new replica goes to the one that has the fewest. */
export function remoteServers({ urls, headersFrom = {} }: UrlSource): ReplicaSource {
  const replicas = new Map<string, number>(urls.map((url) => [url, 0]));
  const countOf = (url: string): number => replicas.get(url) ?? 0;
  const take = ({ handle: url, exited }: RunningReplica): void => {
    replicas.set(url, countOf(url) + 1);
    void exited.then(() => replicas.set(url, countOf(url) - 1));
  };
  return {
    async start(spec) {
      const [url = ""] = urls.toSorted((a, b) => countOf(a) - countOf(b));
      checkVariables(spec, headersFrom);
      const replica = new RemoteReplica(spec, { url, headersFrom });
      take(replica);
      return replica;
    },
    adopt: take,
  };
}

/** @throws ReplicaStartError */
function checkVariables(
  { id, model, version }: ReplicaSpec,
  headersFrom: Readonly<Record<string, string>>,
): void {
  const values = processEnvironment(Object.values(headersFrom));
  for (const [header, variable] of Object.entries(headersFrom)) {
    const value = values[variable] ?? "";
    if (/^[\x20-\x7e]+$/.test(value)) continue;
    throw new ReplicaStartError(
      `replica ${id} of model ${model} version ${version} needs the header ${header} from ${variable}, which is ` +
        `${value === "" ? "not set" : "no single line of ASCII"} in the environment of windjammer; set it there and start windjammer again`,
      { details: { variable, logTail: [] } },
    );
  }
}

class RemoteReplica implements RunningReplica {
  readonly id: string;
  readonly model: string;
  readonly version: string;
  readonly address: ReplicaAddress;
  readonly handle: string;
  readonly startedAt: string = new Date().toISOString();
  readonly exited: Promise<ReplicaExit>;
  readonly #end = Promise.withResolvers<ReplicaExit>();
  readonly #stopping = new AbortController();
  readonly #lines: LogLine[] = [];

  constructor(
    { id, model, version }: Pick<ReplicaSpec, "id" | "model" | "version">,
    address: Extract<ReplicaAddress, { readonly url: string }>,
  ) {
    this.id = id;
    this.model = model;
    this.version = version;
    this.address = address;
    this.handle = address.url;
    this.exited = this.#end.promise;
    void this.#watch();
  }

  /** What its probes saw: its own log is where it runs. */
  tail(lines: number): readonly LogLine[] {
    return this.#lines.slice(-lines);
  }

  async *logs({ tail = KEPT_LINES, follow = false, signal }: LogOptions): AsyncIterable<LogLine> {
    yield* this.tail(tail);
    let at = this.#lines.at(-1)?.at ?? "";
    const over =
      signal === undefined ? this.#stopping.signal : AbortSignal.any([signal, this.#stopping.signal]);
    if (!follow) return;
    while (!over.aborted) {
      await pause(over);
      const fresh = this.#lines.filter((line) => line.at > at);
      at = fresh.at(-1)?.at ?? at;
      yield* fresh;
    }
  }

  stats(): Promise<ReplicaStats> {
    return Promise.reject(
      new ReplicaNotFoundError(`replica ${this.id} runs elsewhere (${this.handle}); ask there what it uses`),
    );
  }

  /** Lets go of it. The server itself goes on. */
  async stop(): Promise<void> {
    this.#leave({ reason: "stopped", message: "stopped" });
    await this.exited;
  }

  #leave(exit: ReplicaExit): void {
    this.#stopping.abort();
    this.#end.resolve(exit);
  }

  /** From its first answer on. Until then whoever waits for it probes it, and says how long it may take. */
  async #watch(): Promise<void> {
    const { signal } = this.#stopping;
    const transport = transportTo(this.address);
    let wasThere = false;
    for (let misses = 0; !signal.aborted && misses < MAX_MISSES;) {
      const miss = await missOf(transport);
      if (miss === undefined) wasThere = true;
      // Before that, whoever waits for it says why.
      if (miss !== undefined && wasThere) this.#note(miss);
      misses = wasThere && miss !== undefined ? misses + 1 : 0;
      if (misses === MAX_MISSES)
        this.#leave({ reason: "exited", message: `is not there any more (${this.handle}): ${miss ?? ""}` });
      else await pause(signal);
    }
    await transport.close();
  }

  #note(text: string): void {
    if (this.#lines.at(-1)?.text === text) return;
    this.#lines.push({ at: new Date().toISOString(), stream: "stderr", text });
    if (this.#lines.length > KEPT_LINES) this.#lines.shift();
  }
}

/**
 * Undefined when it is there. One that takes long to answer is, too: it may compute, and a batch that takes too long is
 * the queue's matter.
 */
async function missOf(transport: ReplicaTransport): Promise<string | undefined> {
  try {
    const { statusCode } = await transport.get(PATHS.ready, PROBE_TIMEOUT_MS);
    // A server without this path still answers.
    return statusCode < 500 || statusCode === 501 ? undefined : `${PATHS.ready} answers ${statusCode}`;
  } catch (error) {
    if ((error as Error).name === "TimeoutError") return undefined;
    return `${PATHS.ready}: ${(error as Error).message || String(error)}`;
  }
}

async function pause(signal: AbortSignal): Promise<void> {
  await delay(PROBE_EVERY_MS, undefined, { signal, ref: false }).catch(() => undefined);
}
