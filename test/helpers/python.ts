// Python for tests: the server's command, bundles of Python models, and which interpreters and packages there are.
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Manifest } from "../../containers/protocol.ts";
import {
  type BundleFiles,
  type BundleOnDisk,
  jsonFunction,
  type ServerCommand,
  writeBundle,
} from "./container.ts";

const SERVER: string = fileURLToPath(new URL("../../containers/python/server.py", import.meta.url));

/** The server in an interpreter. */
export function pythonServer(python = "python3"): ServerCommand {
  return [python, "-I", "-B", SERVER];
}

/** Whether an interpreter is there and runs this without an exception. */
export function pythonRuns(python: string, code: string): boolean {
  try {
    execFileSync(python, ["-I", "-c", code], { stdio: "ignore", timeout: 30_000 });
    return true;
  } catch {
    return false;
  }
}

/** The manifest of a Python function that takes and gives JSON, with `fields` over it. */
export function pythonFunction(fields: Partial<Manifest> = {}): Manifest {
  return jsonFunction({
    loader: "python",
    container: { kind: "python" },
    model: { form: "predict", file: "predict.py" },
    ...fields,
  });
}

/** A bundle of a `predict.py`, and other files. */
export function pythonBundle(
  code: string,
  fields: Partial<Manifest> = {},
  files: BundleFiles = {},
): Promise<BundleOnDisk> {
  return writeBundle(pythonFunction(fields), { "predict.py": code, ...files }, false);
}
