// One replica as a child process: start, output, exit and stop.
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import type { Readable } from "node:stream";
import { EXIT_OUT_OF_MEMORY } from "../../../containers/protocol.ts";
import { isNodeError, ReplicaNotFoundError, ReplicaStartError } from "../../errors.ts";
import type { LogLine, ReplicaAddress, ReplicaExit } from "../../types.ts";
import type { LogOptions, ReplicaSpec, ReplicaStats, RunningReplica } from "../runtime.ts";
import type { Command } from "./launch.ts";
import { processStats, signalGroup } from "./process-info.ts";
import type { ReplicaLog } from "../replica-log.ts";
import type { ReplicaFolder } from "./run-dir.ts";

/** What was written before the exit is in the pipes by then; only what outlived the child keeps them open longer. */
const OUTPUT_GRACE_MS = 1_000;

export interface ChildParts {
  readonly spec: ReplicaSpec;
  readonly folder: ReplicaFolder;
  readonly command: Command;
  readonly log: ReplicaLog;
  /** Tidies up after the exit, before `exited` settles. */
  readonly release: () => Promise<void>;
}

/**
 * The child leads a process group of its own, for two reasons: what the model spawned is killed with it, and Ctrl-C
 * in a terminal reaches only the frontend, which drains while its replicas still answer. (What the model moves to
 * yet another group escapes.) It ends with its parent all the same, since its standard input closes then.
 */
export class ChildReplica implements RunningReplica {
  readonly id: string;
  readonly model: string;
  readonly version: string;
  readonly address: ReplicaAddress;
  readonly handle: string;
  readonly startedAt: string = new Date().toISOString();
  readonly exited: Promise<ReplicaExit>;
  readonly pid: number;
  readonly #child: Spawned;
  readonly #parts: ChildParts;
  #isStopping = false;
  #hasExited = false;
  #killAt = Infinity;
  #killTimer: NodeJS.Timeout | undefined;

  private constructor(child: Spawned, parts: ChildParts) {
    const { spec, folder, command } = parts;
    this.id = spec.id;
    this.model = spec.model;
    this.version = spec.version;
    this.address = command.address ?? { socketPath: folder.socketPath };
    this.pid = child.pid;
    this.handle = String(child.pid);
    this.#child = child;
    this.#parts = parts;
    this.exited = this.#watch();
  }

  /** @throws ReplicaStartError when the operating system refuses */
  static async start(parts: ChildParts): Promise<ChildReplica> {
    const child = await spawned(parts);
    // Nothing is ever written to it: it only has to stay open.
    child.stdin?.on("error", () => {});
    child.on("error", () => {});
    return new ChildReplica(child, parts);
  }

  tail(lines: number): readonly LogLine[] {
    return this.#parts.log.tail(lines);
  }

  logs(options: LogOptions): AsyncIterable<LogLine> {
    return this.#parts.log.read(options);
  }

  async stats(): Promise<ReplicaStats> {
    const stats = this.#hasExited ? undefined : await processStats(this.pid);
    if (stats === undefined) throw new ReplicaNotFoundError(`replica ${this.id} does not run any more`);
    return stats;
  }

  async stop(graceMs: number): Promise<void> {
    if (!this.#hasExited) {
      if (!this.#isStopping) {
        this.#isStopping = true;
        this.#child.kill("SIGTERM");
      }
      this.#killAfter(graceMs);
    }
    await this.exited;
  }

  /** Of several stops the one with the least patience counts. */
  #killAfter(graceMs: number): void {
    const killAt = performance.now() + graceMs;
    if (killAt >= this.#killAt) return;
    this.#killAt = killAt;
    clearTimeout(this.#killTimer);
    this.#killTimer = setTimeout(() => {
      if (!this.#hasExited) signalGroup(this.pid, "SIGKILL");
    }, graceMs);
  }

  async #watch(): Promise<ReplicaExit> {
    const { log, spec, release } = this.#parts;
    const { stdout, stderr } = this.#child;
    const output = Promise.all([pumped(log, stdout, "stdout"), pumped(log, stderr, "stderr")]);
    const status = await exitOf(this.#child);
    this.#hasExited = true;
    clearTimeout(this.#killTimer);
    signalGroup(this.pid, "SIGKILL");
    const impatience = setTimeout(() => {
      // Where the machine stood still, what was written before the exit is not read before the next turn.
      setImmediate(() => {
        stdout?.destroy();
        stderr?.destroy();
      });
    }, OUTPUT_GRACE_MS);
    await output;
    clearTimeout(impatience);
    this.#child.stdin?.destroy();
    await log.end();
    await release();
    return describeExit(status, {
      wasStopped: this.#isStopping,
      memoryMb: spec.limits.memoryMb,
      lastLines: log.tail(200),
    });
  }
}

type Spawned = ChildProcess & { readonly pid: number };

async function spawned({ spec, folder, command }: ChildParts): Promise<Spawned> {
  try {
    const child = spawn(command.file, command.args, {
      cwd: command.cwd ?? folder.path,
      env: command.environment,
      stdio: ["pipe", "pipe", "pipe"],
      detached: true,
    });
    // Some refusals are thrown, others come as an event.
    if (child.pid === undefined) await once(child, "spawn");
    return child as Spawned;
  } catch (error) {
    const cwd = command.cwd ?? folder.path;
    throw new ReplicaStartError(
      `replica ${spec.id} of model ${spec.model} version ${spec.version} could not be started: ${refusalOf(error as Error, command, cwd)}`,
      { cause: error, details: { logTail: [] } },
    );
  }
}

function refusalOf(error: Error, { file, environment }: Command, cwd: string): string {
  const code = isNodeError(error) ? error.code : undefined;
  if (code === "ENOENT") {
    if (/\s/.test(file))
      return `no program "${file}"; each word of a command is an element of its own: ${JSON.stringify(file.split(/\s+/))}`;
    return `no program ${file} in ${cwd} or on the PATH (${environment["PATH"] ?? ""}); install it where windjammer runs, or correct the command`;
  }
  if (code === "EACCES") {
    return `${file} is not executable; begin the command with what runs it ("python3", "node"), or chmod +x the file before it is deployed`;
  }
  return `${error.message}; check the limits of this user on processes, open files and memory`;
}

export interface ExitStatus {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** Not `events.once`, which rejects when a signal could not be delivered. */
function exitOf(child: ChildProcess): Promise<ExitStatus> {
  return new Promise((resolve) => {
    child.once("exit", (code, signal) => resolve({ code, signal }));
  });
}

async function pumped(log: ReplicaLog, stream: Readable | null, name: LogLine["stream"]): Promise<void> {
  if (stream !== null) await log.pump(stream, name);
}

export interface ExitCircumstances {
  readonly wasStopped: boolean;
  readonly memoryMb: number | undefined;
  readonly lastLines: readonly LogLine[];
}

/**
 * Signs of a full memory in a log, by the signal they end with: V8 aborts when its heap is full; a model container
 * that passed its limit kills itself when native code keeps it from exiting with its own code.
 */
const OUT_OF_MEMORY_SIGNS: readonly (readonly [NodeJS.Signals, RegExp])[] = [
  ["SIGABRT", /JavaScript heap out of memory/],
  ["SIGKILL", /^windjammer: out of memory/],
];

/** Names the reason of an exit. */
export function describeExit(
  { code, signal }: ExitStatus,
  { wasStopped, memoryMb, lastLines }: ExitCircumstances,
): ReplicaExit {
  const status = {
    ...(code === null ? {} : { exitCode: code }),
    ...(signal === null ? {} : { signal }),
  };
  if (wasStopped) return { reason: "stopped", ...status, message: "stopped" };
  const hasSign = OUT_OF_MEMORY_SIGNS.some(
    ([end, sign]) =>
      end === signal && lastLines.some((line) => line.stream === "stderr" && sign.test(line.text)),
  );
  if (code === EXIT_OUT_OF_MEMORY || hasSign) {
    const limit = memoryMb === undefined ? "" : ` (limit ${memoryMb} MiB)`;
    return { reason: "out-of-memory", ...status, message: `out of memory${limit}` };
  }
  if (signal !== null) return { reason: "killed", ...status, message: `killed by ${signal}` };
  return { reason: "exited", ...status, message: `exited with code ${code}` };
}
