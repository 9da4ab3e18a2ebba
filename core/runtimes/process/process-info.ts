// What the operating system knows of a process: who it is beyond its reusable number, its memory and CPU time.
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { isNodeError } from "../../errors.ts";
import type { ReplicaStats } from "../runtime.ts";

const run = promisify(execFile);

/** Linux reports times to user space in hundredths of a second, whatever the kernel's own tick is. */
const MS_PER_TICK = 10;

/** Boot and start time of a process; undefined when it does not run (any more). Equal only for the same process. */
export async function processIdentity(pid: number): Promise<string | undefined> {
  if (process.platform !== "linux") return (await ps(pid, "lstart="))?.trim();
  const fields = await statFields(pid);
  const startTicks = fields?.[19];
  if (fields === undefined || startTicks === undefined || fields[0] === "Z") return undefined;
  const boot = await readFile("/proc/sys/kernel/random/boot_id", "utf8").catch(() => "");
  return `${boot.trim()}/${startTicks}`;
}

/** Undefined when the process does not run (any more). */
export async function processStats(pid: number): Promise<ReplicaStats | undefined> {
  if (process.platform !== "linux") return parsePs(await ps(pid, "rss=,time="));
  const [fields, status] = await Promise.all([
    statFields(pid),
    readFile(`/proc/${pid}/status`, "utf8").catch(() => ""),
  ]);
  const residentKb = /^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1];
  if (fields === undefined || residentKb === undefined) return undefined;
  return {
    memoryBytes: Number(residentKb) * 1024,
    cpuMs: (Number(fields[11]) + Number(fields[12])) * MS_PER_TICK,
  };
}

/** Signals a process group. False when there is nothing (left) to signal. */
export function signalGroup(pid: number, signal: NodeJS.Signals): boolean {
  try {
    return process.kill(-pid, signal);
  } catch (error) {
    // EPERM: macOS says so of a group of which only an unreaped leader is left.
    if (isNodeError(error) && (error.code === "ESRCH" || error.code === "EPERM")) return false;
    throw error;
  }
}

/** Reads `ps -o rss=,time=`: KiB, then [[days-]hours:]minutes:seconds. */
export function parsePs(output: string | undefined): ReplicaStats | undefined {
  const parts = /^\s*(\d+)\s+(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+(?:\.\d+)?)\s*$/.exec(output ?? "");
  if (parts === null) return undefined;
  const [residentKb, days, hours, minutes, seconds] = parts.slice(1).map((part) => Number(part ?? 0));
  const minutesInAll = ((days ?? 0) * 24 + (hours ?? 0)) * 60 + (minutes ?? 0);
  return {
    memoryBytes: (residentKb ?? 0) * 1024,
    cpuMs: Math.round((minutesInAll * 60 + (seconds ?? 0)) * 1000),
  };
}

/** /proc/PID/stat from its third field on: the second, the name, may hold anything. */
async function statFields(pid: number): Promise<string[] | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => undefined);
  return stat?.slice(stat.lastIndexOf(")") + 2).split(" ");
}

async function ps(pid: number, columns: string): Promise<string | undefined> {
  try {
    return (await run("ps", ["-o", columns, "-p", String(pid)])).stdout;
  } catch {
    return undefined;
  }
}
