// The environment of this process: core's only reader of process.env. It imports no packages, so that the command line is quick.
import { homedir } from "node:os";
import { join } from "node:path";

/** Where `windjammer start` keeps its state: `$XDG_STATE_HOME/windjammer` (~/.local/state/windjammer). */
export function defaultStateDir(): string {
  return join(process.env["XDG_STATE_HOME"] || join(homedir(), ".local", "state"), "windjammer");
}

/** Where packages are installed: `$XDG_CACHE_HOME/windjammer` (~/.cache/windjammer). */
export function defaultCacheDir(): string {
  return join(process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "windjammer");
}

/** `WINDJAMMER_URL`, where commands look for the management API; undefined when it is unset or empty. */
export function urlFromEnvironment(): string | undefined {
  return process.env["WINDJAMMER_URL"] || undefined;
}

/** `WINDJAMMER_TOKEN`, the management API's token; undefined when it is unset or empty. */
export function tokenFromEnvironment(): string | undefined {
  return process.env["WINDJAMMER_TOKEN"] || undefined;
}

/** Variables of this process's environment: the named ones that are set, or all of them. */
export function processEnvironment(
  names: readonly string[] = Object.keys(process.env),
): Record<string, string> {
  const variables: Record<string, string> = {};
  for (const name of names) {
    const value = process.env[name];
    if (value !== undefined) variables[name] = value;
  }
  return variables;
}
