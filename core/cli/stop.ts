// `windjammer stop`: ends a server, over its management API or by its state folder, and waits until it has gone.
import { resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Command } from "commander";
import { defaultStateDir } from "../environment.ts";
import { ServerUnreachableError, StateDirInUseError } from "../errors.ts";
import { Output } from "./output.ts";
import { serverCommand, type ServerFlags, serverUrl, withServer } from "./server.ts";
import { durationText } from "./units.ts";
import { parseWhole } from "./values.ts";

const LOOK_EVERY_MS = 50;

interface StopFlags extends ServerFlags {
  readonly stateDir?: string | true;
  readonly timeoutMs: number;
}

/** A server that was told to stop. */
interface Stopping {
  /** A URL or a folder. */
  readonly server: string;
  readonly stateDir: string;
  readonly pid: number | undefined;
  readonly isGone: () => Promise<boolean>;
}

export function stopCommand(): Command {
  return serverCommand("stop", "end a server: queries that run may finish, then everything stops")
    .option(
      "--state-dir [folder]",
      "end the process that holds this folder (default: the one that start uses) by SIGTERM, in place of a server at a URL",
    )
    .option("--timeout-ms <ms>", "how long to wait until it has gone", parseWhole, 60_000)
    .action(async (flags: StopFlags) => {
      const output = new Output(flags);
      const begun = Date.now();
      const stopping = await (flags.stateDir === undefined ? tell(flags) : signal(flags.stateDir));
      output.progress(`waiting for ${stopping.server} to end`);
      await waitFor(stopping, flags.timeoutMs);
      const { server, stateDir, pid } = stopping;
      const tookMs = Date.now() - begun;
      output.result({ server, stateDir, pid: pid ?? null, tookMs }, () => {
        return `stopped ${server} in ${durationText(tookMs)}`;
      });
    });
}

/** Asks the management API. */
async function tell(flags: StopFlags): Promise<Stopping> {
  const url = serverUrl(flags);
  const { pid, stateDir } = await withServer(flags, (wj) => wj.stopServer());
  const { isLoopbackName } = await import("../config.ts");
  const { stateDirHolder } = await import("../registry/state-dir.ts");
  // On another machine, or in a container, only its address can be watched.
  const isHere = isLoopbackName(new URL(url).hostname) && stateDirHolder(stateDir)?.pid === pid;
  const isGone = isHere
    ? async (): Promise<boolean> => stateDirHolder(stateDir)?.pid !== pid
    : (): Promise<boolean> => isSilent(url);
  return { server: url, stateDir, pid, isGone };
}

/** Ends the process that holds the folder, as Ctrl-C would. @throws ServerUnreachableError when none does */
async function signal(folder: string | true): Promise<Stopping> {
  const stateDir = resolve(folder === true ? defaultStateDir() : folder);
  const { stateDirHolder } = await import("../registry/state-dir.ts");
  const holder = stateDirHolder(stateDir);
  if (holder?.pid === undefined) {
    const why =
      holder === undefined
        ? "no server uses it; `windjammer stop` without --state-dir asks the one at the management API"
        : "another process holds it and does not say its pid; end the server where it runs";
    throw new ServerUnreachableError(`state folder ${stateDir}: ${why}`, { details: { stateDir } });
  }
  const { pid } = holder;
  try {
    process.kill(pid, "SIGTERM");
  } catch (error) {
    throw new StateDirInUseError(
      `state folder ${stateDir} is held by process ${pid}, which cannot be told to end (${(error as Error).message}); end it as the user that started it`,
      { cause: error, details: { stateDir, pid } },
    );
  }
  return { server: stateDir, stateDir, pid, isGone: async () => stateDirHolder(stateDir)?.pid !== pid };
}

/** @throws StateDirInUseError when it takes too long */
async function waitFor({ server, pid, stateDir, isGone }: Stopping, timeoutMs: number): Promise<void> {
  const until = Date.now() + timeoutMs;
  while (!(await isGone())) {
    if (Date.now() > until) {
      throw new StateDirInUseError(
        `${server} (pid ${pid}) has begun to close, and has not ended after ${durationText(timeoutMs)}: a query or a replica takes long; wait on, or end it with kill -9 ${pid}`,
        { details: { stateDir, pid } },
      );
    }
    await delay(LOOK_EVERY_MS);
  }
}

async function isSilent(url: string): Promise<boolean> {
  try {
    const reply = await fetch(`${url.replace(/\/+$/, "")}/health/live`, {
      signal: AbortSignal.timeout(2_000),
    });
    await reply.body?.cancel();
    return false;
  } catch {
    return true;
  }
}
