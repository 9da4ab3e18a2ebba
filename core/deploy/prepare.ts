// Readies a bundle for its runtime, within a limit of time.
import { PackageInstallError } from "../errors.ts";
import type { PrepareOptions, Runtime } from "../runtimes/runtime.ts";
import type { BundleFolder, Version } from "../types.ts";
import { needsRuntime } from "../replicas/source.ts";
import { unlessAborted } from "../wait.ts";

export interface PrepareWithin extends PrepareOptions {
  readonly timeoutMs: number;
}

/** What runs of it is killed at the limit. @throws PackageInstallError at the limit; what the runtime throws */
export async function prepareWithin(
  runtime: Runtime,
  { version, bundle }: { readonly version: Version; readonly bundle: BundleFolder },
  { report, signal, timeoutMs }: PrepareWithin,
): Promise<string> {
  if (!needsRuntime(bundle.manifest)) return "elsewhere";
  const limit = new AbortController();
  const timer = setTimeout(() => {
    limit.abort(
      new PackageInstallError(
        `preparing model ${version.model} version ${version.version} took longer than ${timeoutMs} ms; give it more time (prepareTimeoutMs), or install its packages beforehand where windjammer runs`,
        { details: { model: version.model, version: version.version, prepareTimeoutMs: timeoutMs } },
      ),
    );
  }, timeoutMs);
  const either = AbortSignal.any([signal, limit.signal]);
  const names = { model: version.model, version: version.version };
  try {
    return await unlessAborted(runtime.prepare(bundle, { ...names, report, signal: either }), either);
  } finally {
    clearTimeout(timer);
  }
}
