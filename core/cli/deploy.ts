// `windjammer deploy`: makes an endpoint out of a file, a folder, an image or a URL, and shows how it goes.
import { type Command, Option } from "commander";
import { InvalidOptionsError } from "../errors.ts";
import { addModelFlags, type ModelFlags } from "./deploying/flags.ts";
import { untilInterrupted } from "./interrupt.ts";
import { serverCommand, type ServerFlags } from "./server.ts";
import { parseWords } from "./values.ts";

export interface DeployFlags extends ServerFlags, ModelFlags {
  readonly runtime?: "process" | "docker";
  readonly dryRun?: true;
  readonly watch?: true;
  /** False: `--no-switch`. */
  readonly switch: boolean;
  readonly verbose?: true;
}

export function deployCommand(): Command {
  return addModelFlags(
    serverCommand(
      "deploy",
      "make an endpoint of a model; the version before serves until this one has passed",
    ).argument(
      "<model>",
      "an .onnx file, a SavedModel folder, a model.json, a .ts or .js module, a folder with a Dockerfile, a Python folder or zip, an image, a URL",
    ),
  )
    .addOption(
      new Option(
        "--runtime <runtime>",
        "refuse a server that runs models otherwise; with --dry-run: what to try it with",
      ).choices(["process", "docker"]),
    )
    .option("--command <line>", 'program that serves a folder, such as "python3 server.py"', parseWords)
    .option("--no-switch", "leave it ready beside the version that serves; rollback switches to it later")
    .option("--dry-run", "bundle, check and run it here, without a server")
    .option("--watch", "go on, and deploy again when its files change")
    .option("-v, --verbose", "show every line, also of builds")
    .action(async (target: string, flags: DeployFlags) => {
      checkTogether(flags);
      // Late: the help of a command needs none of it.
      const { deploy } = await import("./deploying/deploy.ts");
      await untilInterrupted((signal) => deploy(target, flags, signal));
    });
}

/** @throws InvalidOptionsError */
function checkTogether(flags: DeployFlags): void {
  if (flags.dryRun === true && !flags.switch)
    refuse("--no-switch", "--dry-run switches nothing either; leave one of them out");
  if (flags.watch !== true) return;
  if (!flags.switch)
    refuse("--no-switch", "with --watch each change takes the place of the one before; leave it out");
  if (flags.dryRun === true) refuse("--watch", "it deploys, and --dry-run does not; leave one of them out");
  if (flags.version !== undefined)
    refuse("--version", "with --watch each change becomes a version of its own, numbered; leave it out");
}

function refuse(option: string, why: string): never {
  throw new InvalidOptionsError(`${option}: ${why}`, { details: { option } });
}
