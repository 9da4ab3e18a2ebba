// The command line as a process of its own, and a server for it to talk to.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { onTestFinished } from "vitest";

const MAIN = join(import.meta.dirname, "../../core/cli/main.ts");

export interface CliOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Written to its standard input; default: there is none. */
  readonly input?: string | Uint8Array;
}

export interface CliRun {
  readonly child: ChildProcess;
  readonly stdout: () => string;
  readonly stderr: () => string;
  /** Exit code, or the signal that ended it. */
  readonly exited: Promise<number | string>;
}

export interface CliResult {
  readonly code: number | string;
  readonly stdout: string;
  readonly stderr: string;
}

/** Starts `windjammer …`; what still runs when the test has finished is killed. */
export function startCli(
  args: readonly string[],
  { env = {}, cwd = process.cwd(), input }: CliOptions = {},
): CliRun {
  const child = spawn(process.execPath, [MAIN, ...args], {
    cwd,
    env: { ...withoutOurs(process.env), ...env },
    stdio: [input === undefined ? "ignore" : "pipe", "pipe", "pipe"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  // It may end before it has read all.
  child.stdin?.on("error", () => {}).end(input);
  let stdout = "";
  let stderr = "";
  child.stdout?.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr?.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const exited = once(child, "close").then(
    ([code, signal]: unknown[]) => (code ?? signal) as number | string,
  );
  return { child, stdout: () => stdout, stderr: () => stderr, exited };
}

/** A run on a terminal of its own: what it prints comes together, as people see it. */
export interface TerminalRun {
  readonly shown: () => string;
  /** Keys: "y\r", or "\u0003" for Ctrl-C. */
  readonly type: (keys: string) => void;
  readonly exited: Promise<number | string>;
}

/** Starts `windjammer …` on a pseudo terminal, by script(1) of util-linux. */
export function startOnTerminal(
  args: readonly string[],
  { env = {}, cwd = process.cwd() }: Omit<CliOptions, "input"> = {},
): TerminalRun {
  const command = [process.execPath, MAIN, ...args].map((word) => `'${word.replaceAll("'", `'\\''`)}'`);
  // The last word is where it would keep a log of the session.
  const child = spawn("script", ["--quiet", "--return", "--command", command.join(" "), "/dev/null"], {
    cwd,
    env: { ...withoutOurs(process.env), TERM: "xterm", SHELL: "/bin/sh", ...env },
    stdio: ["pipe", "pipe", "inherit"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  child.stdin.on("error", () => {});
  let shown = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (shown += text));
  const exited = once(child, "close").then(
    ([code, signal]: unknown[]) => (code ?? signal) as number | string,
  );
  return { shown: () => shown, type: (keys) => void child.stdin.write(keys), exited };
}

/** Runs `windjammer …` to its end. */
export async function cli(args: readonly string[], options?: CliOptions): Promise<CliResult> {
  const run = startCli(args, options);
  const code = await run.exited;
  return { code, stdout: run.stdout(), stderr: run.stderr() };
}

/** As `cli`, with what it printed read as JSON. */
export async function cliJson<T>(args: readonly string[], options?: CliOptions): Promise<T> {
  const { code, stdout, stderr } = await cli([...args, "--json"], options);
  if (code !== 0) throw new Error(`windjammer ${args.join(" ")} ended with ${code}: ${stderr}`);
  return JSON.parse(stdout) as T;
}

/** A developer's own settings, or a CI's, must not decide what tests see. */
function withoutOurs(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const { WINDJAMMER_URL: _1, WINDJAMMER_TOKEN: _2, NO_COLOR: _3, FORCE_COLOR: _4, CI: _5, ...rest } = env;
  return rest;
}
