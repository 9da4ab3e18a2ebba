// Starts the servers under test as processes of their own, and reads their CPU time from the operating system.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { processStats } from "../../core/runtimes/process/process-info.ts";

export interface BenchServer extends AsyncDisposable {
  readonly pid: number;
  /** First match of `pattern` in its output. */
  readonly url: string;
}

/** Starts `node …args` and waits for a line that holds a URL matched by `pattern`. */
export async function startServer(args: readonly string[], pattern: RegExp): Promise<BenchServer> {
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  const url = await firstMatch(child, pattern);
  const { pid } = child;
  if (pid === undefined) throw new Error(`could not start node ${args.join(" ")}`);
  return {
    pid,
    url,
    async [Symbol.asyncDispose](): Promise<void> {
      const gone = once(child, "exit");
      child.kill("SIGTERM");
      await gone;
    },
  };
}

/** CPU time of processes so far, user and system, ms. */
export async function cpuMs(pids: readonly number[]): Promise<number> {
  const stats = await Promise.all(pids.map((pid) => processStats(pid)));
  return stats.reduce((sum, stat) => sum + (stat?.cpuMs ?? 0), 0);
}

async function firstMatch(child: ChildProcess, pattern: RegExp): Promise<string> {
  if (child.stdout === null) throw new Error("no output to read");
  for await (const line of createInterface(child.stdout)) {
    const match = pattern.exec(line);
    if (match !== null) {
      child.stdout.resume();
      return match[1] ?? match[0];
    }
  }
  throw new Error(`the server ended without a line that matches ${pattern.source}`);
}
