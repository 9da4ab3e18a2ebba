// Names the reason why a container ended, from what the engine and its log say.
import { constants } from "node:os";
import { EXIT_OUT_OF_MEMORY } from "../../../containers/protocol.ts";
import type { LogLine, ReplicaExit } from "../../types.ts";
import type { ContainerState } from "../engine.ts";

/** Exit codes from here on name the signal that ended the process. */
const SIGNAL_BASE = 128;
/** V8 aborts when its heap is full; a model container ends itself when it passes its limit. */
const OUT_OF_MEMORY_SIGN = /JavaScript heap out of memory|^windjammer: out of memory/;

export interface ExitCircumstances {
  readonly wasStopped: boolean;
  /** The engine told of the kernel's killer, which may have hit a child only. */
  readonly sawOutOfMemory: boolean;
  /** What the engine's health check said, for which we ended it. */
  readonly unhealthy?: string | undefined;
  readonly memoryMb: number | undefined;
  readonly lastLines: readonly LogLine[];
}

/** @param state undefined when the container was removed behind our back */
export function describeExit(
  state: ContainerState | undefined,
  circumstances: ExitCircumstances,
): ReplicaExit {
  const status = state === undefined ? {} : { exitCode: state.exitCode };
  if (circumstances.wasStopped) return { reason: "stopped", ...status, message: "stopped" };
  if (state === undefined)
    return { reason: "killed", signal: "SIGKILL", message: "its container was removed" };
  const { exitCode } = state;
  const { unhealthy } = circumstances;
  if (unhealthy !== undefined) {
    const said = unhealthy === "" ? "" : `: ${unhealthy}`;
    return { reason: "killed", exitCode, signal: "SIGKILL", message: `failed its health checks${said}` };
  }
  if (isOutOfMemory(state, circumstances)) {
    const { memoryMb } = circumstances;
    const limit = memoryMb === undefined ? "" : ` (limit ${memoryMb} MiB)`;
    return { reason: "out-of-memory", exitCode, message: `out of memory${limit}` };
  }
  const signal = signalOf(exitCode);
  return signal === undefined
    ? { reason: "exited", exitCode, message: `exited with code ${exitCode}` }
    : { reason: "killed", exitCode, signal, message: `killed by ${signal}` };
}

function isOutOfMemory(
  { exitCode, wasOutOfMemory }: ContainerState,
  { sawOutOfMemory, lastLines }: ExitCircumstances,
): boolean {
  if (wasOutOfMemory) return true;
  if (exitCode !== EXIT_OUT_OF_MEMORY && exitCode !== SIGNAL_BASE + constants.signals.SIGABRT) return false;
  return (
    sawOutOfMemory ||
    lastLines.some(({ stream, text }) => stream === "stderr" && OUT_OF_MEMORY_SIGN.test(text))
  );
}

function signalOf(exitCode: number): string | undefined {
  const number = exitCode - SIGNAL_BASE;
  return Object.entries(constants.signals).find(([, value]) => value === number)?.[0];
}
