// Memory limit of a model container: watches its resident memory and bounds the model's heap.
import type { ResourceLimits } from "node:worker_threads";

const MIB = 2 ** 20;
const POLL_MS = 250;

/** Part of the limit that the model's JavaScript heap may fill: the rest is for tensors, code and the server. */
const HEAP_SHARE = 0.75;
/**
 * Part of it for values that do not live long. V8's own measure takes no account of the limit: under load it lets them fill
 * 100 MiB and more before it looks which are needed, and a container with the limit 256 would end with an empty heap.
 */
const YOUNG_SHARE = 0.125;

export function heapLimits(limitMb: number | undefined): ResourceLimits {
  if (limitMb === undefined) return {};
  return {
    maxOldGenerationSizeMb: Math.max(16, Math.floor(limitMb * HEAP_SHARE)),
    maxYoungGenerationSizeMb: Math.max(3, Math.floor(limitMb * YOUNG_SHARE)),
  };
}

/** Calls `onExceeded` once, with a message. Does not keep the process alive. */
export function watchMemory(limitMb: number, onExceeded: (message: string) => void): void {
  const timer = setInterval(() => {
    const residentMb = Math.round(process.memoryUsage.rss() / MIB);
    if (residentMb <= limitMb) return;
    clearInterval(timer);
    onExceeded(`out of memory: ${residentMb} MiB resident, limit ${limitMb} MiB`);
  }, POLL_MS);
  timer.unref();
}

/** Why the worker ended with ERR_WORKER_OUT_OF_MEMORY. */
export function heapExceededMessage(limitMb: number | undefined): string {
  const { maxOldGenerationSizeMb } = heapLimits(limitMb);
  return limitMb === undefined
    ? "out of memory: the model filled its JavaScript heap; no memory limit is set"
    : `out of memory: the model filled its JavaScript heap of ${maxOldGenerationSizeMb} MiB, limit ${limitMb} MiB`;
}
