// `windjammer logs`: what replicas write, of one or of all that serve a model.
import { setTimeout as delay } from "node:timers/promises";
import type { Command } from "commander";
import type { Windjammer } from "../client/interface.ts";
import { ModelNotFoundError, ReplicaNotFoundError } from "../errors.ts";
import { didYouMean } from "../nearest.ts";
import type { LogLine, ReplicaStatus } from "../types.ts";
import { untilInterrupted } from "./interrupt.ts";
import { Output, paint } from "./output.ts";
import { serverCommand, type ServerFlags, withServer } from "./server.ts";
import { parseWhole } from "./values.ts";

/** How often a model is looked at for replicas that are new. */
const LOOK_EVERY_MS = 1_000;

interface LogFlags extends ServerFlags {
  readonly follow?: true;
  readonly tail: number;
  readonly since?: string;
  readonly timestamps?: true;
}

interface ReplicaLine extends LogLine {
  readonly replica: string;
}

/** Whose lines are wanted. */
interface Target {
  /** Of all replicas that there are. */
  readonly matches: (replica: ReplicaStatus) => boolean;
  /** A single replica, which may end; a model gets new ones. */
  readonly isReplica: boolean;
}

export function logsCommand(): Command {
  return serverCommand("logs", "what replicas write; -f goes on with what is new")
    .argument("<target>", "a model or an application, or one replica by its id")
    .argument("[version]", "only this version of the model")
    .option("-f, --follow", "go on until Ctrl-C")
    .option("--tail <lines>", "last lines of each replica to begin with", parseWhole, 100)
    .option("--since <time>", "only lines from then on, such as 2026-01-31T12:00:00Z")
    .option("--timestamps", "begin each line with its time")
    .action(async (target: string, version: string | undefined, flags: LogFlags) => {
      await withServer(flags, async (wj) => {
        const wanted = await targetOf(wj, target, version);
        if (flags.follow === true) await untilInterrupted((signal) => follow(wj, wanted, { flags, signal }));
        else await printKept(wj, wanted, flags);
      });
    });
}

/** @throws ReplicaNotFoundError, ModelNotFoundError, VersionNotFoundError */
async function targetOf(wj: Windjammer, target: string, version: string | undefined): Promise<Target> {
  const [replicas, models, links] = await Promise.all([wj.replicas(), wj.models(), wj.links()]);
  if (version === undefined && replicas.some(({ id }) => id === target))
    return { matches: ({ id }) => id === target, isReplica: true };
  const names = models.map(({ name }) => name);
  const model = names.includes(target)
    ? target
    : links.find(({ application }) => application === target)?.model;
  if (model === undefined) {
    const known = [...names, ...links.map(({ application }) => application), ...replicas.map(({ id }) => id)];
    throw new ModelNotFoundError(
      `no model, application or replica is named "${target}"; ${didYouMean(target, known, "windjammer models lists the models")}`,
      { details: { name: target } },
    );
  }
  // For its error.
  if (version !== undefined) await wj.version(model, version);
  return {
    matches: (replica) => replica.model === model && (version === undefined || replica.version === version),
    isReplica: false,
  };
}

/** The lines that are kept, of all replicas in the order of their times. */
async function printKept(wj: Windjammer, target: Target, flags: LogFlags): Promise<void> {
  const output = new Output(flags);
  const replicas = (await wj.replicas()).filter(target.matches);
  if (replicas.length === 0) output.note("no replica of it runs; windjammer versions shows what should");
  const lists = await Promise.all(
    replicas.map(async ({ id }) => {
      const lines = await Array.fromAsync(wj.logs(id, options(flags)));
      return lines.map((line): ReplicaLine => Object.assign(line, { replica: id }));
    }),
  );
  const lines = lists.flat().toSorted((one, other) => one.at.localeCompare(other.at));
  for (const line of lines) print(output, line, { flags, isShared: replicas.length > 1 });
}

interface Following {
  readonly flags: LogFlags;
  readonly signal: AbortSignal;
}

/** Follows every replica there is, and those that come later, until the signal aborts or the one replica has gone. */
async function follow(wj: Windjammer, target: Target, { flags, signal }: Following): Promise<void> {
  const output = new Output(flags);
  const followed = new Map<string, Promise<void>>();
  const failed = Promise.withResolvers<never>();
  // Handled below, by the race; an abort before that is no error.
  failed.promise.catch(() => {});
  const followOne = async (id: string): Promise<void> => {
    for await (const line of wj.logs(id, { ...options(flags), follow: true, signal })) {
      const replicaLine = Object.assign(line, { replica: id });
      print(output, replicaLine, { flags, isShared: !target.isReplica });
    }
  };
  while (!signal.aborted) {
    for (const { id } of (await wj.replicas()).filter(target.matches)) {
      if (!followed.has(id)) followed.set(id, followOne(id).catch(ignoreGone).catch(failed.reject));
    }
    const next = target.isReplica
      ? Promise.all(followed.values())
      : delay(LOOK_EVERY_MS, undefined, { signal });
    await Promise.race([failed.promise, next]);
    if (target.isReplica) return;
  }
}

/** It ended between the list and the question. */
function ignoreGone(error: unknown): void {
  if (!(error instanceof ReplicaNotFoundError)) throw error;
}

function options({ tail, since }: LogFlags): { readonly tail: number; readonly since?: string } {
  return { tail, ...(since === undefined ? {} : { since }) };
}

function print(
  output: Output,
  line: ReplicaLine,
  { flags, isShared }: { readonly flags: LogFlags; readonly isShared: boolean },
): void {
  output.item(line, () => {
    const time = flags.timestamps === true ? `${paint("dim", line.at)} ` : "";
    const whose = isShared ? `${paint("cyan", line.replica)} ` : "";
    return `${time}${whose}${line.text}`;
  });
}
