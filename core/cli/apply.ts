// `windjammer apply`: makes a server have what a config file declares; the plan comes first.
import type { Command } from "commander";
import { untilInterrupted } from "./interrupt.ts";
import { serverCommand, type ServerFlags } from "./server.ts";

export interface ApplyFlags extends ServerFlags {
  readonly config?: string;
  readonly plan?: true;
  readonly dryRun?: true;
  readonly yes?: true;
  readonly prune?: true;
  readonly verbose?: true;
}

export function applyCommand(): Command {
  return serverCommand("apply", "make a server have what windjammer.config.ts declares; the plan comes first")
    .option("--config <file>", "default: windjammer.config.ts, .mts, .js, .mjs or .json in this folder")
    .option("--plan", "print the plan, and change nothing")
    .option("--dry-run", "the same")
    .option("-y, --yes", "carry the plan out without asking")
    .option("--prune", "delete the applications and models that the file does not name")
    .option("-v, --verbose", "show every line of deployments")
    .action(async (flags: ApplyFlags) => {
      // Late: the help of a command needs none of it.
      const { apply } = await import("./applying/apply.ts");
      await untilInterrupted((signal) => apply(flags, signal));
    });
}
