// Readies a bundle for its runtime, within a limit of time.
import { ImageBuildError, PackageInstallError } from "../errors.ts";
import type { PrepareOptions, Runtime } from "../runtimes/runtime.ts";
import type { BundleFolder, Version } from "../types.ts";
import { needsRuntime } from "../replicas/source.ts";
import { unlessAborted } from "../wait.ts";

export interface PrepareWithin extends PrepareOptions {
  readonly timeoutMs: number;
}

/** What runs of it is killed at the limit. @throws PackageInstallError or ImageBuildError at the limit; what the runtime throws */
export async function prepareWithin(
  runtime: Pick<Runtime, "abilities" | "prepare">,
  { version, bundle }: { readonly version: Version; readonly bundle: BundleFolder },
  { report, signal, timeoutMs }: PrepareWithin,
): Promise<string> {
  if (!needsRuntime(bundle.manifest)) return "elsewhere";
  const limit = new AbortController();
  const [Failure, instead] =
    runtime.abilities.isolation === "container"
      ? [ImageBuildError, "build its image beforehand on this engine"]
      : [PackageInstallError, "install its packages beforehand where windjammer runs"];
  let last = "";
  const timer = setTimeout(() => {
    limit.abort(
      new Failure(
        `preparing model ${version.model} version ${version.version} took longer than ${timeoutMs} ms${reached(last)}; give it more time (prepareTimeoutMs), or ${instead}`,
        { details: { model: version.model, version: version.version, prepareTimeoutMs: timeoutMs } },
      ),
    );
  }, timeoutMs);
  const either = AbortSignal.any([signal, limit.signal]);
  const names = { model: version.model, version: version.version };
  try {
    const remember: typeof report = (message, details) => {
      last = message.trim();
      report(message, details);
    };
    const options = { ...names, report: remember, signal: either };
    return await unlessAborted(runtime.prepare(bundle, options), either);
  } finally {
    clearTimeout(timer);
  }
}

/** What it was at, where that is known. */
function reached(last: string): string {
  return last === "" ? "" : ` (it had come to: ${last.slice(0, 200)})`;
}
