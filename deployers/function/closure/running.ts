// How far the top level of a script has run, told by the calls that wait for this one.
import type { Script } from "./script.ts";

interface Frame {
  readonly url: string;
  readonly line: number;
  readonly column: number;
}

/** Offset up to which the top level of a script has run; infinite where it does not wait for this call. */
export function runsUpTo(script: Script): number {
  const offsets = frames()
    .filter(({ url }) => url === script.url)
    .map(({ line, column }) => script.offsetOf(line - 1, column - 1));
  return offsets.length === 0 ? Number.POSITIVE_INFINITY : Math.min(...offsets);
}

/** Nameless frames of files, also of functions that await. */
function frames(): readonly Frame[] {
  const prepareStackTrace: unknown = Reflect.get(Error, "prepareStackTrace");
  const { stackTraceLimit } = Error;
  try {
    Error.stackTraceLimit = Number.POSITIVE_INFINITY;
    Error.prepareStackTrace = (_, sites) =>
      sites
        .filter((site) => (site.getFunctionName() ?? "") === "")
        .map((site) => ({
          url: site.getScriptNameOrSourceURL() ?? "",
          line: site.getLineNumber() ?? 0,
          column: site.getColumnNumber() ?? 0,
        }));
    const { stack } = new Error("for its frames") as unknown as { readonly stack: readonly Frame[] };
    return stack;
  } finally {
    if (prepareStackTrace === undefined) Reflect.deleteProperty(Error, "prepareStackTrace");
    else Reflect.set(Error, "prepareStackTrace", prepareStackTrace);
    Error.stackTraceLimit = stackTraceLimit;
  }
}
