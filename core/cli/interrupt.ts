// How commands that go on until they are told to stop end: on a signal, or when nobody reads them any more.

/** Exit code of a process ended by SIGINT or SIGTERM: 128 + its number. */
export const EXIT_CODES = { SIGINT: 130, SIGTERM: 143 } as const;
export type StopSignal = keyof typeof EXIT_CODES;

const SIGNALS = ["SIGINT", "SIGTERM"] as const;

/**
 * Runs `work` with a signal that aborts on Ctrl-C and SIGTERM, and sets the exit code 130 or 143; a second one ends the
 * process at once. It aborts as well when the reader of standard output has gone (`| head`), which is no error. What
 * `work` throws of the abort itself is not thrown on.
 */
export async function untilInterrupted(work: (signal: AbortSignal) => Promise<void>): Promise<void> {
  const stop = new AbortController();
  const onSignal = (signal: StopSignal): void => {
    if (stop.signal.aborted) process.exit(EXIT_CODES[signal]);
    process.exitCode = EXIT_CODES[signal];
    stop.abort();
  };
  const onGone = (): void => stop.abort();
  for (const signal of SIGNALS) process.on(signal, onSignal);
  process.stdout.on("error", onGone);
  try {
    await work(stop.signal);
  } catch (error) {
    if (!stop.signal.aborted || !isAbort(error)) throw error;
  } finally {
    for (const signal of SIGNALS) process.off(signal, onSignal);
    process.stdout.off("error", onGone);
  }
}

/** Node's own calls wrap the signal's reason. */
function isAbort(error: unknown): boolean {
  return error instanceof Error && error.name === "AbortError";
}
