// `windjammer build`: makes the image of a model, without a server.
import { Command, Option } from "commander";
import { addModelFlags, type ModelFlags } from "./deploying/flags.ts";
import { untilInterrupted } from "./interrupt.ts";

export interface BuildFlags extends ModelFlags {
  readonly engine?: string;
  readonly baseImage?: string;
  readonly pythonBaseImage?: string;
  readonly pull?: "missing" | "always" | "never";
  readonly push?: string;
  readonly pushUser?: string;
  readonly verbose?: true;
  readonly json?: true;
}

export function buildCommand(): Command {
  const command = new Command("build")
    .description("make the image of a model on a container engine, and run nothing")
    .argument("<model>", "as deploy takes it; with the same options deploy finds the image");
  return addModelFlags(command)
    .option(
      "--engine <address>",
      "the engine: unix:///path, tcp://host:port, ssh://user@host (default: as docker finds it)",
    )
    .option("--base-image <image>", "image with Node 24 (default: node:24-bookworm-slim)")
    .option(
      "--python-base-image <image>",
      "image with Python, of Python models (default: python:3.12-slim-bookworm)",
    )
    .addOption(
      new Option("--pull <when>", "fetch the base image (default: missing)").choices([
        "missing",
        "always",
        "never",
      ]),
    )
    .option("--push <repository>", "push it: registry.example.org/models")
    .option(
      "--push-user <name>",
      "user of that registry; the password is taken from WINDJAMMER_PUSH_PASSWORD",
    )
    .option("-v, --verbose", "show every line of the build")
    .option("--json", "print JSON")
    .action(async (target: string, flags: BuildFlags) => {
      // Late: the help of a command needs none of it.
      const { build } = await import("./deploying/build.ts");
      await untilInterrupted((signal) => build(target, flags, signal));
    });
}
