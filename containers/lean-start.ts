// Keeps the heap of a process small while it loads what it runs, and gives back what loading leaves behind.
import { getHeapStatistics, setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** Marking a larger heap several times takes longer than its garbage is worth. */
const MAX_HEAP_BYTES = 100 * 2 ** 20;

type Collect = (how: { type: "major"; execution: "sync"; flavor: "last-resort" }) => void;

/**
 * All that is loaded survives, which V8 answers with a young generation of many times its first size, for good: 15 MiB
 * of a server that nobody asks. So it stays as it is until `load` has ended, and may grow with the first queries; then the
 * heap is tidied.
 * Of the whole process: for entries of our own, not for a library in somebody's program.
 */
export async function leanStart<T>(load: () => Promise<T>): Promise<T> {
  setFlagsFromString("--semi-space-growth-factor=1");
  try {
    return await load();
  } finally {
    setFlagsFromString("--semi-space-growth-factor=2");
    tidyHeap();
  }
}

/**
 * Collects all garbage of this thread's heap and returns the free pages to the system: 5 MiB of a server, 6 of a model
 * container's two threads, for 20 to 30 ms each. To be called before the first query; a heap above 100 MiB is left as
 * it is. V8 looks for garbage once more 8 s later, when it is idle by then.
 */
export function tidyHeap(): void {
  if (getHeapStatistics().used_heap_size > MAX_HEAP_BYTES) return;
  // The flag adds `gc` to contexts made from then on: to this one, and to none of the program's or the model's.
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("globalThis.gc") as Collect | undefined;
  setFlagsFromString("--no-expose-gc");
  // Flags are the whole process's: another thread that did the same may have taken it back in between.
  collect?.({ type: "major", execution: "sync", flavor: "last-resort" });
}
