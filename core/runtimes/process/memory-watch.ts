// Holds a program that knows no limits to its memory limit, from outside.
import { setTimeout as delay } from "node:timers/promises";
import type { ReplicaLog } from "../replica-log.ts";
import type { RunningReplica } from "../runtime.ts";
import { signalGroup } from "./process-info.ts";

const LOOK_EVERY_MS = 250;

/** Looks now and then for as long as the program runs, and kills it over its limit; its log says why. Never rejects. */
export async function watchMemory(
  replica: RunningReplica & { readonly pid: number },
  log: ReplicaLog,
  limitMb: number,
): Promise<void> {
  const over = new AbortController();
  void replica.exited.then(() => over.abort());
  while (!over.signal.aborted) {
    const stats = await replica.stats().catch(() => undefined);
    const usedMb = (stats?.memoryBytes ?? 0) / 2 ** 20;
    if (usedMb > limitMb) {
      const text = `windjammer: out of memory: ${Math.round(usedMb)} MiB used, the limit is ${limitMb} MiB`;
      await log.append("stderr", [text]);
      signalGroup(replica.pid, "SIGKILL");
      return;
    }
    await delay(LOOK_EVERY_MS, undefined, { signal: over.signal, ref: false }).catch(() => undefined);
  }
}
