// Starts the servers under test as processes of their own, and reads their CPU time from the operating system.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readdir, readFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { processStats } from "../../core/runtimes/process/process-info.ts";

export interface BenchServer extends AsyncDisposable {
  readonly pid: number;
  /** First match of `pattern` in its output. */
  readonly url: string;
  /** Its output up to there. */
  readonly output: string;
}

/** Starts `node …args` and waits for a line that holds a URL matched by `pattern`. */
export async function startServer(
  args: readonly string[],
  pattern: RegExp,
  env: Readonly<Record<string, string>> = {},
): Promise<BenchServer> {
  const child = spawn(process.execPath, args, {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, ...env },
  });
  const { url, output } = await firstMatch(child, pattern);
  const { pid } = child;
  if (pid === undefined) throw new Error(`could not start node ${args.join(" ")}`);
  return {
    pid,
    url,
    output,
    async [Symbol.asyncDispose](): Promise<void> {
      const gone = once(child, "exit");
      child.kill("SIGTERM");
      await gone;
    },
  };
}

/** A process and all that it, or what it started, has started. Where there is no /proc: the process alone. */
export async function treeOf(pid: number): Promise<readonly number[]> {
  const entries = await readdir("/proc").catch(() => []);
  const all = entries.filter((entry) => /^\d+$/.test(entry));
  const stats = await Promise.all(all.map((one) => readFile(`/proc/${one}/stat`, "utf8").catch(() => "")));
  const parents = stats.map((text) => Number(/\) \S (\d+) /.exec(text)?.[1]));
  const tree = [pid];
  // Grows while it is read: the children of children.
  for (const one of tree)
    for (const [index, parent] of parents.entries()) if (parent === one) tree.push(Number(all[index]));
  return tree;
}

/** CPU time of processes so far, user and system, ms. */
export async function cpuMs(pids: readonly number[]): Promise<number> {
  const times = await Promise.all(pids.map(cpuOf));
  return times.reduce((sum, time) => sum + time, 0);
}

/** Linux counts nanoseconds a thread; elsewhere, and in the sum of a process, it is hundredths of a second. */
async function cpuOf(pid: number): Promise<number> {
  const tasks = await readdir(`/proc/${pid}/task`).catch(() => []);
  if (tasks.length === 0) return (await processStats(pid))?.cpuMs ?? 0;
  const stats = await Promise.all(
    tasks.map((task) => readFile(`/proc/${pid}/task/${task}/schedstat`, "utf8").catch(() => "0")),
  );
  return stats.reduce((sum, text) => sum + Number.parseInt(text, 10) / 1e6, 0);
}

/** Resident memory of processes, summed: pages that they share, as of Node's own file, count for each. */
export async function residentMb(pids: readonly number[]): Promise<number> {
  const stats = await Promise.all(pids.map(processStats));
  return stats.reduce((sum, one) => sum + (one?.memoryBytes ?? 0), 0) / 2 ** 20;
}

/** The same with pages of files counted once, as they are in memory once. NaN where the system does not tell. */
export async function sharedOnceMb(pids: readonly number[]): Promise<number> {
  const maps = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/smaps`, "utf8").catch(() => "")));
  if (maps.includes("")) return Number.NaN;
  let ownKb = 0;
  const fileKb = new Map<string, number>();
  for (const text of maps) {
    for (const [file, { resident, own }] of mappingsIn(text)) {
      ownKb += own;
      fileKb.set(file, Math.max(fileKb.get(file) ?? 0, resident - own));
    }
  }
  return (ownKb + [...fileKb.values()].reduce((sum, kb) => sum + kb, 0)) / 1024;
}

/** KiB by the path that is mapped, of which `own` are the process's alone: written to, or backed by no file. */
function mappingsIn(text: string): ReadonlyMap<string, { resident: number; own: number }> {
  const mappings = new Map<string, { resident: number; own: number }>();
  let current = { resident: 0, own: 0 };
  for (const line of text.split("\n")) {
    const path = /^[\da-f]+-[\da-f]+ (?:\S+ ){4}\s*(.*)$/.exec(line)?.[1];
    const [, key, kb] = /^(Rss|Anonymous):\s+(\d+) kB$/.exec(line) ?? [];
    if (path !== undefined) {
      current = mappings.get(path) ?? { resident: 0, own: 0 };
      mappings.set(path, current);
    } else if (key !== undefined) {
      current[key === "Rss" ? "resident" : "own"] += Number(kb);
    }
  }
  return mappings;
}

async function firstMatch(
  child: ChildProcess,
  pattern: RegExp,
): Promise<Pick<BenchServer, "url" | "output">> {
  if (child.stdout === null) throw new Error("no output to read");
  let output = "";
  for await (const line of createInterface(child.stdout)) {
    output += `${line}\n`;
    const match = pattern.exec(line);
    if (match !== null) {
      child.stdout.resume();
      return { url: match[1] ?? match[0], output };
    }
  }
  throw new Error(`the server ended without a line that matches ${pattern.source}`);
}
