// The process runtime as users pass it: model containers as child processes; needs nothing but Node, and Python for Python models.
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import type { Runtime } from "../runtime.ts";
import { containerEntry } from "./launch.ts";
import { ProcessRuntime } from "./process-runtime.ts";

export interface ProcessRuntimeOptions {
  /**
   * Folders whose node_modules, and those of the folders above, a model's packages may be taken from when the exact
   * versions are there; else they are installed once with npm. All come from one of the folders, the first that has
   * them. Default: the current folder, then windjammer's own installation.
   */
  readonly packagesFrom?: readonly string[] | undefined;
  /** Arguments of Node in every replica, such as `--enable-source-maps`. Default: none. */
  readonly nodeArgs?: readonly string[] | undefined;
  /**
   * Python 3.9 or newer of Python models: a command of the PATH, or a path. A model with a requirements.txt gets a virtual
   * environment of it, one without sees what is installed there. Default "python3".
   */
  readonly python?: string | undefined;
  /** On close, ms that a replica has to finish before it is killed. Default 5,000. */
  readonly killGraceMs?: number | undefined;
}

/**
 * Runs each replica as a child process on a private Unix socket. A memory limit is kept; CPU and network are not
 * limited, and the model runs as the user who runs windjammer: use it for models that are trusted as much as one's
 * own code.
 *
 * @example
 * const wj = await windjammer({ runtime: processRuntime({ nodeArgs: ["--enable-source-maps"] }) });
 */
export function processRuntime(options: ProcessRuntimeOptions = {}): Runtime {
  return new ProcessRuntime({
    packagesFrom: options.packagesFrom ?? [process.cwd(), dirname(fileURLToPath(import.meta.url))],
    nodeArgs: options.nodeArgs ?? [],
    killGraceMs: options.killGraceMs ?? 5_000,
    python: options.python,
    entry: containerEntry(),
  });
}
