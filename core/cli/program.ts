// The `windjammer` command: its commands, what it prints for an error, its exit codes.
import { Command, CommanderError } from "commander";
import { errorBody } from "../error-replies.ts";
import { InvalidOptionsError, toWindjammerError, type WindjammerError } from "../errors.ts";
import { packageVersion } from "../version.ts";
import type { CommandGroups } from "./commands.ts";
import { startCommand } from "./start.ts";

/** Exit code for a command line that is not understood. */
const USAGE = 2;

const EXIT_CODES_TEXT = `
Exit codes: 0 done; 1 it failed; 2 the command line is wrong; 130 and 143 ended by Ctrl-C and SIGTERM.
Every command but start takes --json; its errors are then JSON, too, on standard error.`;

/** Runs one command line (without node and script) and sets the exit code: 0, 1 for an error, 2 for wrong usage. */
export async function run(args: readonly string[]): Promise<void> {
  // Whoever read our output may have gone (`| head`); a server still has to close in peace.
  for (const stream of [process.stdout, process.stderr]) stream.on("error", ignoreBrokenPipe);
  const isJson = asksForJson(args);
  try {
    const program = await createProgram(isJson, args);
    await program.parseAsync(understood(program, args), { from: "user" });
  } catch (error) {
    process.exitCode = exitCode(error);
    // Commander has said its own errors already.
    if (error instanceof CommanderError) return;
    printError(toWindjammerError(error), isJson);
  }
}

/** `help` of a command that there is not is that command: commander says what is wrong with it, but prints all help for the former. */
function understood({ commands }: Command, args: readonly string[]): readonly string[] {
  const [first, name, ...rest] = args;
  const isOurs = name === undefined || name.startsWith("-") || name === "help";
  if (first !== "help" || isOurs || commands.some((each) => each.name() === name)) return args;
  return [name, ...rest];
}

function ignoreBrokenPipe(error: NodeJS.ErrnoException): void {
  if (error.code !== "EPIPE") throw error;
}

function exitCode(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : USAGE;
  return error instanceof InvalidOptionsError ? USAGE : 1;
}

/** Before the command line is understood, so that what is wrong with it can be said in JSON as well. */
function asksForJson(args: readonly string[]): boolean {
  const end = args.indexOf("--");
  return args.slice(0, end === -1 ? undefined : end).includes("--json");
}

function printError(error: WindjammerError, isJson: boolean): void {
  const text = isJson ? JSON.stringify(errorBody(error)) : `windjammer: ${error.code}: ${error.message}`;
  process.stderr.write(`${text}\n`);
}

/** The command line, before it is run: with the commands that its arguments may need. */
export async function createProgram(isJson: boolean, args: readonly string[] = []): Promise<Command> {
  const groups = await commandsFor(args);
  const program = new Command("windjammer")
    .description("Makes a function, a model file or a container a batched REST endpoint.")
    .version(packageVersion(), "-V, --version", "print the version")
    .helpOption("-h, --help", "print this help")
    .addHelpText("after", EXIT_CODES_TEXT)
    .configureOutput({ outputError: (text, write) => write(usageError(text, isJson)) })
    .showHelpAfterError(
      isJson ? false : "(windjammer --help, or windjammer help COMMAND, lists what there is)",
    )
    // So that a command can have options of these names, as deploy has --version.
    .enablePositionalOptions()
    .exitOverride();
  const add = (command: Command): void => {
    // Commands made apart do not inherit how this one ends and prints.
    command.copyInheritedSettings(program);
    if (!isJson) command.showHelpAfterError(`(windjammer ${command.name()} --help says what it takes)`);
    program.addCommand(command);
  };
  for (const [group, commands] of groups) {
    program.commandsGroup(group);
    for (const command of commands) add(command(() => program));
  }
  program.helpCommand("help [command]", "print the help of a command");
  return program;
}

/** A server keeps in memory what it loads, for as long as it runs: it does without the other commands. */
async function commandsFor([name]: readonly string[]): Promise<CommandGroups> {
  if (name === "start") return [["Servers:", [startCommand]]];
  return (await import("./commands.ts")).COMMANDS;
}

/** Commander's own words for a command line that is wrong. */
function usageError(text: string, isJson: boolean): string {
  const message = text.replace(/^error: /, "");
  if (!isJson) return `windjammer: ${message}`;
  return `${JSON.stringify(errorBody(new InvalidOptionsError(message.trim().replaceAll("\n", " "))))}\n`;
}
