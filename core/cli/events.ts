// `windjammer events`: the steps of deployments, past ones and those that go on.
import { setTimeout as delay } from "node:timers/promises";
import type { Command } from "commander";
import type { Windjammer } from "../client/interface.ts";
import { DeploymentNotFoundError, ModelNotFoundError } from "../errors.ts";
import { nearest } from "../nearest.ts";
import type { Deployment, DeploymentEvent } from "../types.ts";
import { untilInterrupted } from "./interrupt.ts";
import { oneLine, Output, paint, type Style } from "./output.ts";
import { serverCommand, type ServerFlags, withServer } from "./server.ts";
import { parseWhole } from "./values.ts";

/** How often is looked for deployments that are new. */
const LOOK_EVERY_MS = 1_000;

const STYLES: Readonly<Record<DeploymentEvent["level"], Style>> = {
  info: "dim",
  warning: "yellow",
  error: "red",
};

interface EventFlags extends ServerFlags {
  readonly follow?: true;
  readonly last: number;
}

export function eventsCommand(): Command {
  return serverCommand("events", "the steps of deployments; -f goes on with what is new")
    .argument("[target]", "only those of this model, or of one deployment by its id")
    .option("-f, --follow", "go on until Ctrl-C")
    .option("--last <deployments>", "how many past deployments to begin with", parseWhole, 3)
    .action(async (target: string | undefined, flags: EventFlags) => {
      const output = new Output(flags);
      await withServer(flags, async (wj) => {
        const select = await selection(wj, target);
        const past = select(await wj.deployments());
        const shown = past.slice(0, flags.last).toReversed();
        if (past.length === 0) output.note("no deployments yet: windjammer deploy --help");
        if (flags.follow !== true) {
          for (const deployment of shown) await printPast(wj, deployment, output);
          return;
        }
        const known = new Set(past.map(({ id }) => id));
        for (const { id } of shown) known.delete(id);
        await untilInterrupted((signal) => follow(wj, select, { output, known, signal }));
      });
    });
}

type Selection = (deployments: readonly Deployment[]) => readonly Deployment[];

/** @throws DeploymentNotFoundError, ModelNotFoundError */
async function selection(wj: Windjammer, target: string | undefined): Promise<Selection> {
  if (target === undefined) return (deployments) => deployments;
  const [models, deployments] = await Promise.all([wj.models(), wj.deployments()]);
  if (deployments.some(({ id }) => id === target)) return (all) => all.filter(({ id }) => id === target);
  const known = new Set([...models.map(({ name }) => name), ...deployments.map(({ model }) => model)]);
  if (known.has(target)) return (all) => all.filter(({ model }) => model === target);
  const near = nearest(target, [...known, ...deployments.map(({ id }) => id)]);
  const ErrorClass =
    target.includes("-") && near === undefined ? DeploymentNotFoundError : ModelNotFoundError;
  throw new ErrorClass(
    `no model or deployment is "${target}"; ${near === undefined ? "windjammer events lists the last ones" : `did you mean "${near}"?`}`,
    { details: { name: target } },
  );
}

async function printPast(wj: Windjammer, deployment: Deployment, output: Output): Promise<void> {
  for (const event of await wj.pastEvents(deployment.id)) print(output, deployment, event);
}

interface Following {
  readonly output: Output;
  /** Deployments that are not shown, and those that are followed already. */
  readonly known: Set<string>;
  readonly signal: AbortSignal;
}

async function follow(
  wj: Windjammer,
  select: Selection,
  { output, known, signal }: Following,
): Promise<void> {
  const failed = Promise.withResolvers<never>();
  // Handled by the race below.
  failed.promise.catch(() => {});
  const followOne = async (deployment: Deployment): Promise<void> => {
    for await (const event of wj.events(deployment.id, signal)) print(output, deployment, event);
  };
  while (!signal.aborted) {
    for (const deployment of select(await wj.deployments()).toReversed()) {
      if (known.has(deployment.id)) continue;
      known.add(deployment.id);
      followOne(deployment).catch(failed.reject);
    }
    await Promise.race([failed.promise, delay(LOOK_EVERY_MS, undefined, { signal })]);
  }
}

function print(output: Output, { id, model, version }: Deployment, event: DeploymentEvent): void {
  output.item({ deployment: id, model, version, ...event }, () => {
    const { at, step, level, message } = event;
    return `${paint("dim", at)}  ${paint("bold", `${model} ${version}`)}  ${paint(STYLES[level], step.padEnd(7))}  ${oneLine(message)}`;
  });
}
