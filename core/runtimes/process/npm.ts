// Runs npm, without a shell, to install what a package.json declares.
import { basename, delimiter, dirname } from "node:path";
import { processEnvironment } from "../../environment.ts";
import { isNodeError, PackageInstallError, PackageNotFoundError } from "../../errors.ts";
import { addVersions, installError, missingVersionOf, type NpmResult } from "../npm-errors.ts";
import { INHERITED_VARIABLES } from "./launch.ts";
import { runTool } from "./tool.ts";

/**
 * Settings of an npm that runs us (`npm run`, `npx`) and hands them down, but means its own install by them. Those
 * that concern every install, such as the registry, the cache and proxies, stay.
 */
const NOT_HANDED_DOWN =
  /^npm_(?:config_(?:global|location|local_prefix|prefix|dry_run|workspaces?|include_workspace_root|omit|include|package_lock(?:_only)?|lockfile_version|save.*|ignore_scripts|only|production|if_present|call|package|yes)$|package_|lifecycle_)/;

const OURS = /^WINDJAMMER_/;
const FOR_NETWORK = /^(?:npm_config_.*|(?:https?|no|all)_proxy)$/i;

export interface NpmOptions {
  /** Folder with the package.json. */
  readonly folder: string;
  readonly signal: AbortSignal;
  readonly onLine: (line: string) => unknown;
}

/**
 * Installs what the folder's package.json declares, exactly as its package-lock.json says where there is one. No
 * install script runs but those of `scripts`, packages by name.
 * @throws PackageNotFoundError, PackageInstallError, DiskFullError; the signal's reason when aborted
 */
export async function npmInstall(
  plan: { readonly hasLockfile: boolean; readonly scripts: readonly string[] },
  options: NpmOptions,
): Promise<void> {
  const install = plan.hasLockfile ? ["ci"] : ["install", "--save-exact", "--package-lock"];
  await npm([...install, "--ignore-scripts"], options);
  // With every version of npm, only the scripts of named packages run this way.
  if (plan.scripts.length > 0) {
    const rebuild = ["rebuild", "--ignore-scripts=false", "--foreground-scripts", "--", ...plan.scripts];
    await npm(rebuild, options);
  }
}

async function npm(args: readonly string[], options: NpmOptions): Promise<void> {
  const result = await runNpm(args, options);
  options.signal.throwIfAborted();
  if (result.exitCode === 0) return;
  const error = installError(result);
  throw error instanceof PackageNotFoundError ? await withVersions(error, options) : error;
}

async function runNpm(args: readonly string[], { folder, signal, onLine }: NpmOptions): Promise<NpmResult> {
  const [file, ...first] = npmCommand();
  const flags = ["--no-audit", "--no-fund", "--no-progress", "--no-update-notifier", "--color=false"];
  // Without these, npm waits for more than a minute before it says that there is no network.
  const retries = ["--fetch-retry-mintimeout=500", "--fetch-retry-maxtimeout=3000"];
  const [command, ...rest] = args;
  const started = runTool({
    file,
    args: [...first, command ?? "", ...flags, "--prefer-offline", ...retries, ...rest],
    folder,
    environment: command === "rebuild" ? scriptEnvironment() : npmEnvironment(),
    signal,
    onLine: (line) => !/^npm (?:error|ERR!)/.test(line) && onLine(line),
  });
  return started.catch((error: unknown) => {
    if (!isNodeError(error)) throw error;
    const advice =
      error.code === "ENOENT"
        ? "npm was not found on the PATH; install it, or install the model's packages where windjammer runs"
        : `npm could not be started: ${error.message}`;
    throw new PackageInstallError(advice, { cause: error, details: { logTail: [] } });
  });
}

/** The npm that runs us, else the one of the PATH. `npm_execpath` may also name pnpm, yarn or bun. */
function npmCommand(): [string, ...string[]] {
  const runner = processEnvironment(["npm_execpath"])["npm_execpath"];
  return runner !== undefined && basename(runner) === "npm-cli.js" ? [process.execPath, runner] : ["npm"];
}

/**
 * The user's own environment, as if he ran npm himself: his registries, their tokens and proxies are set there. Not
 * what is meant for this server, such as its token.
 */
function npmEnvironment(): Record<string, string> {
  return inherited((name) => !OURS.test(name));
}

/** Install scripts are other people's code: they get what a replica gets, and npm's way to the network. */
function scriptEnvironment(): Record<string, string> {
  return inherited((name) => INHERITED_VARIABLES.includes(name) || FOR_NETWORK.test(name));
}

function inherited(isWanted: (name: string) => boolean): Record<string, string> {
  const own = Object.entries(processEnvironment());
  const environment = Object.fromEntries(
    own.filter(([name]) => isWanted(name) && !NOT_HANDED_DOWN.test(name)),
  );
  return {
    ...environment,
    // Packages are made for the Node that will run them, not for another one of the PATH.
    PATH: [dirname(process.execPath), environment["PATH"] ?? ""].join(delimiter),
    ONNXRUNTIME_NODE_INSTALL: "skip",
  };
}

/** Adds the newest versions that do exist; without a word from the registry the error stays as it is. */
async function withVersions(error: PackageNotFoundError, options: NpmOptions): Promise<PackageNotFoundError> {
  const name = missingVersionOf(error);
  if (name === undefined) return error;
  const seen: string[] = [];
  // Its warnings, on standard error, are not part of the JSON.
  const onLine = (line: string): unknown => !line.startsWith("npm ") && seen.push(line);
  try {
    const { exitCode } = await runNpm(["view", "--json", "--", name, "versions"], { ...options, onLine });
    return exitCode === 0 ? addVersions(error, seen.join("\n")) : error;
  } catch {
    return error;
  }
}
