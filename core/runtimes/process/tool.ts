// Runs an installer (npm, pip) without a shell: its lines as they come, killed with all it started when cancelled.
import { spawn, type ChildProcess } from "node:child_process";
import type { Readable } from "node:stream";
import { LineSplitter } from "../lines.ts";
import { signalGroup } from "./process-info.ts";

/** Lines that are kept for an error. */
const KEPT_LINES = 100;
const OUTPUT_GRACE_MS = 1_000;

export interface ToolCommand {
  readonly file: string;
  readonly args: readonly string[];
  readonly folder: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  readonly onLine: (line: string) => unknown;
}

export interface ToolResult {
  readonly exitCode: number | null;
  /** Last lines of both streams. */
  readonly lines: readonly string[];
}

/** @throws the operating system's error when it cannot be started; the signal's reason when aborted before */
export async function runTool(command: ToolCommand): Promise<ToolResult> {
  const { signal } = command;
  signal.throwIfAborted();
  const child = spawn(command.file, command.args, {
    cwd: command.folder,
    env: command.environment,
    stdio: ["ignore", "pipe", "pipe"],
    // A group of its own, so that install scripts are killed with it.
    detached: true,
  });
  const lines: string[] = [];
  const keep = (line: string): void => {
    lines.push(line);
    if (lines.length > KEPT_LINES) lines.shift();
    if (line !== "") command.onLine(line);
  };
  forEachLine(child.stdout, keep);
  forEachLine(child.stderr, keep);
  const kill = (): void => {
    if (child.pid !== undefined) signalGroup(child.pid, "SIGKILL");
  };
  signal.addEventListener("abort", kill, { once: true });
  try {
    return { exitCode: await closed(child), lines };
  } finally {
    signal.removeEventListener("abort", kill);
  }
}

function forEachLine(stream: Readable, onLine: (line: string) => void): void {
  const splitter = new LineSplitter();
  stream.on("data", (chunk: Buffer) => splitter.push(chunk).forEach(onLine));
  stream.on("end", () => splitter.end().forEach(onLine));
}

function closed(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve(code));
    // What the tool left running must not keep us waiting for the end of its output.
    // After a stall of the machine, what it has written is not read before the next turn.
    const leave = (): void => void setImmediate(() => [child.stdout?.destroy(), child.stderr?.destroy()]);
    child.once("exit", () => setTimeout(leave, OUTPUT_GRACE_MS).unref());
  });
}
