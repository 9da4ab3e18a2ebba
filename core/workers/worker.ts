// A worker: takes predictions from its part of the connections, with queues of its own, and follows what the server's
// own process says of applications, versions and replicas.
import type { Socket } from "node:net";
import { tidyHeap } from "../../containers/lean-start.ts";
import { type Forward, forwardTo } from "./forward.ts";
import { QueryServer } from "../frontend/server.ts";
import { createLog, type Log } from "../log.ts";
import type { ProcessUsage } from "../metric-text.ts";
import { Metrics } from "../metrics.ts";
import { Predictor } from "../query/predict.ts";
import { Router } from "../query/router.ts";
import { MemoryStore } from "../registry/memory-store.ts";
import { Registry } from "../registry/registry.ts";
import type { Suspicion } from "../replicas/pool.ts";
import type { Replica } from "../replicas/replica.ts";
import type { Version } from "../types.ts";
import { versionKey } from "../version-key.ts";
import { FollowedVersion } from "./followed-version.ts";
import {
  type Beginning,
  type FromWorker,
  type RunningVersion,
  type ToWorker,
  type VersionName,
} from "./messages.ts";

/** What was counted is told so often, and whenever it is asked for. */
const REPORT_EVERY_MS = 500;
/** Ids that one worker may give its queries: they reach no other worker's. */
const IDS_EACH = 2 ** 32;

export class Worker {
  readonly #beginning: Beginning;
  readonly #tell: (message: FromWorker) => void;
  readonly #registry: Registry;
  readonly #metrics = new Metrics();
  readonly #log: Log;
  readonly #versions = new Map<string, FollowedVersion>();
  readonly #router: Router;
  readonly #server: QueryServer;
  #lastErrors: ReadonlyMap<string, string> = new Map();
  #reports: NodeJS.Timeout | undefined;

  private constructor(beginning: Beginning, registry: Registry, tell: (message: FromWorker) => void) {
    const { config, cacheParts, turn, serverUrl } = beginning;
    const metrics = this.#metrics;
    this.#beginning = beginning;
    this.#tell = tell;
    this.#registry = registry;
    this.#log = createLog(config.logLevel);
    registry.follow(beginning.registry);
    for (const running of beginning.versions) this.#open(running);
    this.#router = new Router({
      registry,
      metrics,
      serving: { find: (model, version) => this.#versions.get(versionKey({ model, version })) },
      opening: { openingOf: (version) => this.#openingOf(version) },
      cacheParts,
    });
    const router = this.#router;
    const elsewhere: Forward = forwardTo(serverUrl);
    this.#server = new QueryServer({
      predictor: new Predictor({ router, firstId: 1 + IDS_EACH * turn }),
      router,
      metrics,
      log: this.#log,
      elsewhere,
      // A listener is needed for Node to look after late requests; the connections come from the server's own process.
      config: { ...config, host: "127.0.0.1", port: 0, clipper: undefined },
    });
  }

  /** @param tell sends a message to the server's own process */
  static async begin(beginning: Beginning, tell: (message: FromWorker) => void): Promise<Worker> {
    const worker = new Worker(beginning, await Registry.open(new MemoryStore()), tell);
    await worker.#server.listen();
    worker.#reports = setInterval(() => worker.#report(), REPORT_EVERY_MS);
    tidyHeap();
    tell({ kind: "ready" });
    return worker;
  }

  hear(message: Exclude<ToWorker, { kind: "begin" | "connection" | "stop" }>): void {
    if (message.kind === "registry") {
      this.#registry.follow(message.changes);
      this.#tell({ kind: "done", id: message.id });
    } else if (message.kind === "count") {
      this.#report();
      this.#tell({ kind: "done", id: message.id });
    } else if (message.kind === "troubles") {
      this.#lastErrors = message.lastErrors;
    } else if (message.kind === "ended") {
      for (const version of this.#versions.values())
        version.ended(message.replica, message.exit, message.tail);
    } else if (message.kind === "close") {
      void this.#close(message);
    } else {
      this.#hearOfReplicas(message);
    }
  }

  /** A connection that the server's own process accepted; undefined: it was closed on the way. */
  take(id: number, socket: Socket | undefined): void {
    this.#tell({ kind: "took", id });
    if (socket === undefined) return;
    socket.setNoDelay(true);
    this.#server.take(socket);
  }

  /** Takes no more requests; those here get `graceMs` to finish. */
  async stop(graceMs: number): Promise<void> {
    await this.#server.close(graceMs);
    clearInterval(this.#reports);
    this.#report();
  }

  #hearOfReplicas(message: Extract<ToWorker, { kind: "open" | "replicas" | "looked" }>): void {
    if (message.kind === "open") this.#open(message);
    else if (message.kind === "replicas") this.#versions.get(versionKey(message))?.update(message.shared);
    else this.#versions.get(versionKey(message))?.looked(message.replica);
  }

  #open({ version, shared, learned }: RunningVersion): void {
    const metrics = this.#metrics.version(version.model, version.version);
    const { turn, count, config } = this.#beginning;
    // The workers, and the server's own process.
    const senders = count + 1;
    const { maxQueueLength } = config;
    const doubt = (replica: Replica, why: Suspicion): void => {
      const { model, version: name } = version;
      const { id, hasAnswered } = replica;
      this.#tell({ kind: "doubt", model, version: name, replica: id, why, hasAnswered });
    };
    const log = this.#log;
    const parts = { version, shared, learned, metrics, log, maxQueueLength, turn, senders, doubt };
    const followed = new FollowedVersion(parts);
    this.#versions.set(versionKey(version), followed);
  }

  async #close({ id, graceMs, ...name }: { id: number; graceMs: number } & VersionName): Promise<void> {
    const key = versionKey(name);
    const version = this.#versions.get(key);
    await version?.drain(graceMs);
    // Before it is forgotten, so that nothing it did is lost.
    this.#report();
    if (version !== undefined && this.#versions.get(key) === version) {
      this.#versions.delete(key);
      this.#metrics.removeVersion(name.model, name.version);
    }
    this.#tell({ kind: "done", id });
  }

  #report(): void {
    const versions = Array.from(this.#versions.values(), (version) => version.report());
    this.#tell({ kind: "counts", taken: this.#metrics.take(), usage: usage(), versions });
  }

  /** What should run and does not is being opened, by the server's own process. */
  #openingOf(version: Version): { readonly isOpening: boolean; readonly lastError: string | undefined } {
    return { isOpening: version.desiredReplicas > 0, lastError: this.#lastErrors.get(versionKey(version)) };
  }
}

function usage(): ProcessUsage {
  const { user, system } = process.cpuUsage();
  return {
    pid: process.pid,
    cpuSeconds: (user + system) / 1e6,
    residentBytes: process.memoryUsage.rss(),
  };
}
