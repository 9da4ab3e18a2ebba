// One replica as a container: its log, its end, its stop.
import { setTimeout as delay } from "node:timers/promises";
import { ReplicaNotFoundError } from "../../errors.ts";
import type { LogLine, ReplicaAddress, ReplicaExit } from "../../types.ts";
import type { Engine } from "../engine.ts";
import { LineSplitter } from "../lines.ts";
import type { ReplicaLog } from "../replica-log.ts";
import type { LogOptions, ReplicaStats, RunningReplica } from "../runtime.ts";
import { FrameSplitter } from "../engine-messages.ts";
import { describeExit } from "./exit.ts";

/** Lines read of a container that was there already. */
const PAST_LINES = 1_000;
/** While the engine does not answer, it is asked again this often. */
const RETRY_MS = 250;
/** What was written before the end is in the log by then. */
const OUTPUT_GRACE_MS = 2_000;

export interface ContainerParts {
  readonly engine: Engine;
  /** Of the engine. */
  readonly container: string;
  readonly id: string;
  readonly model: string;
  readonly version: string;
  readonly memoryMb: number | undefined;
  readonly address: ReplicaAddress;
  readonly startedAt: string;
  readonly log: ReplicaLog;
  /** Tidies up after the end, before `exited` settles. */
  readonly release: () => Promise<void>;
  /** Aborted when the runtime has closed: an engine that does not answer is asked no more. */
  readonly closed: AbortSignal;
}

export class ContainerReplica implements RunningReplica {
  readonly id: string;
  readonly model: string;
  readonly version: string;
  readonly address: ReplicaAddress;
  readonly handle: string;
  readonly startedAt: string;
  readonly exited: Promise<ReplicaExit>;
  readonly #parts: ContainerParts;
  readonly #hasEnded = Promise.withResolvers<void>();
  #isOver = false;
  #isStopping = false;
  #sawOutOfMemory = false;
  /** What the health check said that failed. */
  #unhealthy: string | undefined;
  #killAt = Infinity;
  #killTimer: NodeJS.Timeout | undefined;

  /** @param parts of a container that was started */
  constructor(parts: ContainerParts) {
    this.#parts = parts;
    this.id = parts.id;
    this.model = parts.model;
    this.version = parts.version;
    this.address = parts.address;
    this.handle = parts.container;
    this.startedAt = parts.startedAt;
    this.exited = this.#watch();
  }

  tail(lines: number): readonly LogLine[] {
    return this.#parts.log.tail(lines);
  }

  logs(options: LogOptions): AsyncIterable<LogLine> {
    return this.#parts.log.read(options);
  }

  async stats(): Promise<ReplicaStats> {
    const { engine, container } = this.#parts;
    const stats = this.#isOver ? undefined : await engine.stats(container);
    if (stats === undefined) throw new ReplicaNotFoundError(`replica ${this.id} does not run any more`);
    return stats;
  }

  async stop(graceMs: number): Promise<void> {
    if (!this.#isOver) {
      if (!this.#isStopping) {
        this.#isStopping = true;
        void this.#kill("SIGTERM");
      }
      this.#killAfter(graceMs);
    }
    await this.exited;
  }

  /** The kernel killed a process of it for want of memory. */
  noteOutOfMemory(): void {
    this.#sawOutOfMemory = true;
  }

  /** The engine's health check failed once too often: it is ended, so that another one takes its place. */
  async noteUnhealthy(): Promise<void> {
    if (this.#isOver || this.#isStopping || this.#unhealthy !== undefined) return;
    this.#unhealthy = "";
    const state = await this.#parts.engine.inspect(this.handle).catch(() => undefined);
    this.#unhealthy = state?.lastHealthCheck ?? "";
    await this.#kill("SIGKILL");
  }

  /** Asks the engine whether it still runs; without an answer nothing changes. */
  async check(): Promise<void> {
    if (this.#isOver) return;
    try {
      const state = await this.#parts.engine.inspect(this.handle);
      if (state?.isRunning !== true) this.#hasEnded.resolve();
      else if (state.isUnhealthy) void this.noteUnhealthy();
    } catch {
      // Whoever has lost the engine asks again when it is back.
    }
  }

  /** Of several stops the one with the least patience counts. */
  #killAfter(graceMs: number): void {
    const killAt = performance.now() + graceMs;
    if (killAt >= this.#killAt) return;
    this.#killAt = killAt;
    clearTimeout(this.#killTimer);
    this.#killTimer = setTimeout(() => void this.#kill("SIGKILL"), graceMs);
  }

  async #kill(signal: "SIGTERM" | "SIGKILL"): Promise<void> {
    const { engine, closed } = this.#parts;
    while (!this.#isOver && !closed.aborted) {
      try {
        await engine.kill(this.handle, signal);
        return await this.check();
      } catch {
        await delay(RETRY_MS, undefined, { signal: closed }).catch(() => {});
      }
    }
  }

  async #watch(): Promise<ReplicaExit> {
    const { engine, log, release, memoryMb } = this.#parts;
    const output = this.#readLog();
    await this.#hasEnded.promise;
    this.#isOver = true;
    clearTimeout(this.#killTimer);
    await Promise.race([output, delay(OUTPUT_GRACE_MS, undefined, { ref: false })]);
    await log.end();
    const state = await engine.inspect(this.handle).catch(() => undefined);
    // What cannot be removed now goes when a frontend of the same state folder starts.
    await engine.remove(this.handle).catch(() => {});
    await release();
    return describeExit(state, {
      wasStopped: this.#isStopping,
      sawOutOfMemory: this.#sawOutOfMemory,
      unhealthy: this.#unhealthy,
      memoryMb,
      lastLines: log.tail(200),
    });
  }

  /** The stream ends with the container, or with the engine; only in the latter case it is opened again. */
  async #readLog(): Promise<void> {
    const { engine, container, log, closed } = this.#parts;
    const reader = new LogReader(log);
    while (!this.#isOver && !closed.aborted) {
      try {
        const stream = await engine.followLogs(container, { tail: PAST_LINES, sinceS: reader.sinceS });
        for await (const chunk of stream) await reader.push(chunk as Buffer);
      } catch {
        // The engine went away, or the container.
      }
      await reader.end();
      await this.check();
      const hasEnded = await Promise.race([
        this.#hasEnded.promise.then(() => true),
        delay(RETRY_MS, false, { ref: false }),
      ]);
      if (hasEnded) return;
    }
  }
}

/** Lines with their times out of a framed stream; where it is opened again, those that were read already are left out. */
class LogReader {
  readonly #log: ReplicaLog;
  #frames = new FrameSplitter();
  #lines = { stdout: new LineSplitter(), stderr: new LineSplitter() };
  #last = "";
  /** Of the streams before. Within one, the two outputs may overtake each other. */
  #seenUntil = "";

  constructor(log: ReplicaLog) {
    this.#log = log;
  }

  /** Unix time of the last line, seconds. */
  get sinceS(): number {
    return this.#last === "" ? 0 : Math.floor(Date.parse(this.#last) / 1000);
  }

  async push(chunk: Buffer): Promise<void> {
    for (const { stream, data } of this.#frames.push(chunk))
      for (const line of this.#lines[stream].push(data)) await this.#append(stream, line);
  }

  async end(): Promise<void> {
    for (const stream of ["stdout", "stderr"] as const)
      for (const line of this.#lines[stream].end()) await this.#append(stream, line);
    this.#frames = new FrameSplitter();
    this.#lines = { stdout: new LineSplitter(), stderr: new LineSplitter() };
    this.#seenUntil = this.#last;
  }

  async #append(stream: "stdout" | "stderr", line: string): Promise<void> {
    const parts = /^(\d{4}-\d\d-\d\dT\S+) ?([^]*)$/.exec(line);
    const [, at = "", text = line] = parts ?? [];
    if (at !== "" && at <= this.#seenUntil) return;
    if (at > this.#last) this.#last = at;
    await this.#log.append(stream, [text], at === "" ? undefined : at);
  }
}
