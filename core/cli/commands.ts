// The commands of `windjammer`, as --help groups them.
import type { Command } from "commander";
import { appsCommand } from "./apps.ts";
import { applyCommand } from "./apply.ts";
import { benchCommand } from "./bench.ts";
import { deleteCommand, linkCommand, scaleCommand, unlinkCommand } from "./change.ts";
import { buildCommand } from "./build.ts";
import { checkContainerCommand } from "./check-container.ts";
import { clipperLabelsCommand } from "./clipper-labels.ts";
import { completionCommand } from "./completion.ts";
import { deployCommand } from "./deploy.ts";
import { describeCommand } from "./describe.ts";
import { doctorCommand } from "./doctor.ts";
import { eventsCommand } from "./events.ts";
import { exportCommand } from "./export.ts";
import { initCommand } from "./init.ts";
import { logsCommand } from "./logs.ts";
import { modelsCommand, versionsCommand } from "./models.ts";
import { predictCommand } from "./predict.ts";
import { rollbackCommand } from "./rollback.ts";
import { startCommand } from "./start.ts";
import { statusCommand } from "./status.ts";
import { stopCommand } from "./stop.ts";
import { topCommand } from "./top.ts";

/** Gets the whole command line, for what completes it. */
type MakeCommand = (program: () => Command) => Command;

export type CommandGroups = readonly (readonly [group: string, commands: readonly MakeCommand[]])[];

/** Each module loads what it runs with only when it runs. */
export const COMMANDS: CommandGroups = [
  ["Servers:", [startCommand, statusCommand, stopCommand]],
  ["Deploying:", [deployCommand, buildCommand, applyCommand, exportCommand]],
  ["Predictions:", [predictCommand, benchCommand]],
  ["What is deployed:", [appsCommand, modelsCommand, versionsCommand, describeCommand]],
  ["Changes:", [rollbackCommand, scaleCommand, linkCommand, unlinkCommand, deleteCommand]],
  ["What goes on:", [topCommand, logsCommand, eventsCommand]],
  ["Model containers:", [initCommand, checkContainerCommand, clipperLabelsCommand]],
  ["This machine:", [doctorCommand]],
  ["This command line:", [completionCommand]],
];
