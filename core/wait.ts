// Waiting that ends early: for work that takes no signal of its own, and for time to pass.
import { setTimeout as sleep } from "node:timers/promises";
import { toWindjammerError } from "./errors.ts";

const PARTS = 10;

/** Resolves with the work, or rejects with the signal's reason; the work itself goes on. */
export async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = Promise.withResolvers<never>();
  const onAbort = (): void => aborted.reject(toWindjammerError(signal.reason));
  if (signal.aborted) onAbort();
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([work, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", onAbort);
    // Whoever lost the race must not surface as an unhandled rejection.
    work.catch(() => undefined);
    aborted.promise.catch(() => undefined);
  }
}

/** Resolves after `ms`, or when the signal aborts. Never rejects. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done, { once: true });
    function done(): void {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    }
  });
}

/**
 * Resolves after `ms`, counted in ten parts: of time in which the machine stood still one passes at most, so that what came
 * meanwhile, such as the end of a process, is heard before it is given up. When the signal aborts it ends at once.
 */
export async function patience(ms: number, signal?: AbortSignal): Promise<undefined> {
  for (let part = 0; part < PARTS; part++)
    await sleep(ms / PARTS, undefined, { signal }).catch(() => undefined);
  return undefined;
}

/** Resolves when the work has ended, however, and after `ms` at the latest; the work itself goes on. */
export async function within(work: Promise<unknown>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const bound = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([work.catch(() => undefined), bound]);
  clearTimeout(timer);
}
