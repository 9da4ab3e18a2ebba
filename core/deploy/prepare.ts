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
  limits: PrepareWithin,
): Promise<string> {
  if (!needsRuntime(bundle.manifest)) return "elsewhere";
  const { model, version: name } = version;
  const isImage = runtime.abilities.isolation === "container";
  const prepare = (options: PrepareOptions): Promise<string> => runtime.prepare(bundle, options);
  return withinLimit(prepare, { model, version: name, isImage }, limits);
}

/** @throws PackageInstallError or ImageBuildError at the limit; what `prepare` throws */
export async function withinLimit<T>(
  prepare: (options: PrepareOptions) => Promise<T>,
  {
    model,
    version,
    isImage,
  }: { readonly model: string; readonly version: string; readonly isImage: boolean },
  { report, signal, timeoutMs }: PrepareWithin,
): Promise<T> {
  const limit = new AbortController();
  const [Failure, instead] = isImage
    ? [ImageBuildError, "build its image beforehand on this engine"]
    : [PackageInstallError, "install its packages beforehand where windjammer runs"];
  let last = "";
  const timer = setTimeout(() => {
    limit.abort(
      new Failure(
        `preparing model ${model} version ${version} took longer than ${timeoutMs} ms${reached(last)}; give it more time (prepareTimeoutMs), or ${instead}`,
        { details: { model, version, prepareTimeoutMs: timeoutMs } },
      ),
    );
  }, timeoutMs);
  const either = AbortSignal.any([signal, limit.signal]);
  try {
    const remember: typeof report = (message, details) => {
      last = message.trim();
      report(message, details);
    };
    return await unlessAborted(prepare({ model, version, report: remember, signal: either }), either);
  } finally {
    clearTimeout(timer);
  }
}

/** What it was at, where that is known. */
function reached(last: string): string {
  return last === "" ? "" : ` (it had come to: ${last.slice(0, 200)})`;
}
