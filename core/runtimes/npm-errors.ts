// Turns what npm says when it fails into errors that say what to do.
import { DiskFullError, PackageInstallError, PackageNotFoundError, type WindjammerError } from "../errors.ts";

export interface NpmResult {
  readonly exitCode: number | null;
  /** Last lines of both streams. */
  readonly lines: readonly string[];
}

const NETWORK_CODES = new Set([
  "EAI_AGAIN",
  "ECONNREFUSED",
  "ECONNRESET",
  "ENETUNREACH",
  "ENOTFOUND",
  "ERR_SOCKET_TIMEOUT",
  "ETIMEDOUT",
]);

interface Report {
  readonly code: string | undefined;
  /** What npm says of it, in a line. */
  readonly text: string;
  /** "name@version" that does not exist. */
  readonly missing: string | undefined;
  readonly details: { readonly [key: string]: unknown };
}

export function installError(result: NpmResult): WindjammerError {
  const { code, text, missing, details } = readReport(result);
  switch (code) {
    case "E404":
      return new PackageNotFoundError(
        `package ${missing ?? "of the model"} does not exist in npm's registry, or needs a login there: ` +
          "correct its name in the model's packages",
        { details },
      );
    case "ETARGET":
      return new PackageNotFoundError(
        `package ${missing ?? "of the model"} does not exist in this version: ` +
          "correct the version in the model's packages",
        { details },
      );
    case "ENOSPC":
    case "EDQUOT":
      return new DiskFullError(`no space left to install packages: ${text}; free some and deploy again`, {
        details,
      });
    default:
      return new PackageInstallError(`installing packages failed: ${text}; ${adviceFor(code)}`, { details });
  }
}

/** Name of the package, if the error is about a version of it that was never published. */
export function missingVersionOf(error: PackageNotFoundError): string | undefined {
  const { npmCode, missing } = error.details;
  if (npmCode !== "ETARGET" || typeof missing !== "string") return undefined;
  return missing.slice(0, missing.lastIndexOf("@"));
}

/** @param json what `npm view NAME versions --json` printed */
export function addVersions(error: PackageNotFoundError, json: string): PackageNotFoundError {
  const value: unknown = JSON.parse(json);
  const versions = (Array.isArray(value) ? (value as unknown[]) : [value]).filter(
    (version) => typeof version === "string",
  );
  if (versions.length === 0) return error;
  const newest = versions.slice(-5).toReversed();
  return new PackageNotFoundError(`${error.message} (newest are ${newest.join(", ")})`, {
    details: { ...error.details, versions: newest },
  });
}

function readReport({ exitCode, lines }: NpmResult): Report {
  const said = lines
    .map((line) => /^npm (?:error|ERR!) ?(.*)$/.exec(line)?.[1])
    .filter((line) => line !== undefined);
  const code = firstMatch(said, [/^code (\S+)$/]);
  const missing = firstMatch(said, [
    /No matching version found for (\S+?)\.?$/,
    /'(\S+@[^']+)' (?:could not be found|is not in)/,
  ]);
  const prose = said.filter((line) => !/^(?:code |A complete log|$)/.test(line)).slice(0, 6);
  return {
    code,
    text: prose.join("; ") || lines.slice(-3).join("; ") || `npm ended with exit code ${exitCode}`,
    missing,
    details: {
      logTail: lines.slice(-20),
      ...(code === undefined ? {} : { npmCode: code }),
      ...(missing === undefined ? {} : { missing }),
    },
  };
}

function firstMatch(lines: readonly string[], patterns: readonly RegExp[]): string | undefined {
  return lines
    .flatMap((line) => patterns.map((pattern) => pattern.exec(line)?.[1]))
    .find((found) => found !== undefined);
}

function adviceFor(code: string | undefined): string {
  if (code === "EUSAGE") return "package-lock.json does not fit the model's packages: make it anew";
  if (code !== undefined && NETWORK_CODES.has(code)) {
    return (
      "npm cannot reach its registry: check the network and npm's settings, " +
      "or install these packages beforehand where windjammer runs"
    );
  }
  return "more of npm's output is in the details";
}
