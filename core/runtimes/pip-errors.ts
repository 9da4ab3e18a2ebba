// Turns what pip says when it fails into errors that say what to do.
import { DiskFullError, PackageInstallError, PackageNotFoundError, type WindjammerError } from "../errors.ts";

/** What an installer left: its exit code and the last lines of both streams. */
export interface PipResult {
  readonly exitCode: number | null;
  readonly lines: readonly string[];
}

const NO_NETWORK =
  /NewConnectionError|ConnectTimeoutError|NameResolutionError|ProxyError|ReadTimeoutError|Max retries exceeded|Network is unreachable/;

/** What a message of pip means, and what helps. */
const ADVICE: readonly (readonly [RegExp, string])[] = [
  [
    /DO NOT MATCH THE HASHES|Hashes are required/i,
    "correct the hashes in requirements.txt: with one, every package needs its own, those that packages depend on too",
  ],
  [
    /ResolutionImpossible|conflicting dependencies/i,
    "correct the versions in requirements.txt so that they fit each other: `pip install -r requirements.txt` in an empty environment shows which do",
  ],
  [
    /Requires-Python|requires a different Python|not a supported wheel/i,
    "the package is not made for this Python: choose another version of it, or another Python",
  ],
];

export function pipError(result: PipResult): WindjammerError {
  const { lines, exitCode } = result;
  const details = { logTail: lines.slice(-20) };
  const everything = lines.join("\n");
  if (/No space left on device|Errno 28|Disk quota exceeded/i.test(everything))
    return new DiskFullError(
      "no space left to install the model's Python packages; free some and deploy again",
      {
        details,
      },
    );
  const errors = lines.map((line) => /^ERROR: (.*)$/.exec(line)?.[1]).filter((line) => line !== undefined);
  const missing = missingPackage(errors);
  if (missing !== undefined) return notFound(missing, NO_NETWORK.test(everything), details);
  const last = errors.slice(0, 3).join("; ") || lines.slice(-3).join("; ");
  const text = conflictOf(lines) ?? (last || `pip ended with exit code ${exitCode}`);
  const advice =
    ADVICE.find(([pattern]) => pattern.test(everything))?.[1] ??
    (NO_NETWORK.test(everything) ? NETWORK_ADVICE : "more of pip's output is in the details");
  return new PackageInstallError(`installing Python packages failed: ${text}; ${advice}`, { details });
}

const NETWORK_ADVICE =
  "pip cannot reach its index: check the network, proxies and PIP_INDEX_URL, or put the wheels into the model's folder wheels/";

/** "alpha==1.0 is requested; beta 2.0 depends on alpha==1.1", of the lines in which pip explains it. */
function conflictOf(lines: readonly string[]): string | undefined {
  const start = lines.indexOf("The conflict is caused by:");
  if (start === -1) return undefined;
  const end = lines.indexOf("", start);
  const causes = lines.slice(start + 1, end === -1 ? start + 6 : end).map((line) => line.trim());
  return `these do not fit each other: ${causes.join("; ")}`;
}

interface Missing {
  /** "name==1.2.3". */
  readonly requirement: string;
  /** Versions that the index has, oldest first. */
  readonly versions: readonly string[];
}

function missingPackage(errors: readonly string[]): Missing | undefined {
  for (const line of errors) {
    const found =
      /^Could not find a version that satisfies the requirement (\S+).*\(from versions: (.*)\)$/.exec(line);
    if (found === null) continue;
    const [, requirement = "", versions = ""] = found;
    return { requirement, versions: versions === "none" ? [] : versions.split(", ") };
  }
  return undefined;
}

function notFound(
  { requirement, versions }: Missing,
  isOffline: boolean,
  details: Readonly<Record<string, unknown>>,
): WindjammerError {
  const more = { ...details, missing: requirement };
  if (versions.length > 0) {
    const newest = versions.slice(-5).toReversed();
    return new PackageNotFoundError(
      `Python package ${requirement} has no wheel of this version for this Python and machine (there are ${newest.join(", ")}): ` +
        "correct requirements.txt, or name the package in buildFromSource",
      { details: { ...more, versions: newest } },
    );
  }
  if (isOffline)
    return new PackageInstallError(
      `installing Python packages failed: ${requirement} was not found, and an index did not answer; ${NETWORK_ADVICE}`,
      { details: more },
    );
  return new PackageNotFoundError(
    `Python package ${requirement} does not exist in pip's index (or the index did not answer), or has no wheel for this Python and machine: ` +
      "correct requirements.txt, or name the package in buildFromSource",
    { details: more },
  );
}
