// The `windjammer` command: its commands, what it prints for an error, its exit codes.
import { Command, CommanderError } from "commander";
import { InvalidOptionsError, toWindjammerError } from "../errors.ts";
import { packageVersion } from "../version.ts";
import { checkContainerCommand } from "./check-container.ts";
import { clipperLabelsCommand } from "./clipper-labels.ts";
import { initCommand } from "./init.ts";
import { startCommand } from "./start.ts";

/** Exit code for a command line that is not understood. */
const USAGE = 2;

/** Runs one command line (without node and script) and sets the exit code: 0, 1 for an error, 2 for wrong usage. */
export async function run(args: readonly string[]): Promise<void> {
  // Whoever read our output may have gone (`| head`); a server still has to close in peace.
  for (const stream of [process.stdout, process.stderr]) stream.on("error", ignoreBrokenPipe);
  try {
    await createProgram().parseAsync(args, { from: "user" });
  } catch (error) {
    process.exitCode = exitCode(error);
    // Commander has said its own errors already.
    if (error instanceof CommanderError) return;
    const { code, message } = toWindjammerError(error);
    process.stderr.write(`windjammer: ${code}: ${message}\n`);
  }
}

function ignoreBrokenPipe(error: NodeJS.ErrnoException): void {
  if (error.code !== "EPIPE") throw error;
}

function exitCode(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : USAGE;
  return error instanceof InvalidOptionsError ? USAGE : 1;
}

function createProgram(): Command {
  const program = new Command("windjammer")
    .description("Makes a function or an ONNX file a batched REST endpoint.")
    .version(packageVersion(), "-V, --version", "print the version")
    .helpOption("-h, --help", "print this help")
    .helpCommand("help [command]", "print the help of a command")
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, "windjammer: ")) })
    .showHelpAfterError("(windjammer --help, or windjammer help COMMAND, lists what there is)")
    .exitOverride();
  // Commands made apart do not inherit how this one ends and prints.
  for (const command of [startCommand(), checkContainerCommand(), initCommand(), clipperLabelsCommand()])
    program.addCommand(command.copyInheritedSettings(program));
  return program;
}
