// Keeps the heap's young generation small while a process loads what it runs.
import { setFlagsFromString } from "node:v8";

/**
 * All that is loaded survives, which V8 answers with a young generation of many times its first size, for good: 15 MiB
 * of a server that nobody asks. So it stays as it is until `load` has ended, and may grow with the first queries.
 * Of the whole process: for entries of our own, not for a library in somebody's program.
 */
export async function withSmallYoungGeneration<T>(load: () => Promise<T>): Promise<T> {
  setFlagsFromString("--semi-space-growth-factor=1");
  try {
    return await load();
  } finally {
    setFlagsFromString("--semi-space-growth-factor=2");
  }
}
