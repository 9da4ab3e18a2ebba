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
  readonly memoryMb: number | undefined;
  readonly lastLines: readonly LogLine[];
}

/** @param state undefined when the container was removed behind our back */
export function describeExit(
  state: ContainerState | undefined,
  circumstances: ExitCircumstances,
): ReplicaExit {
  const { wasStopped, sawOutOfMemory, memoryMb, lastLines } = circumstances;
  const exitCode = state?.exitCode;
  const status = exitCode === undefined ? {} : { exitCode };
  const signal = exitCode === undefined ? "SIGKILL" : signalOf(exitCode);
  if (wasStopped) return { reason: "stopped", ...status, message: "stopped" };
  const hasSign = lastLines.some(({ stream, text }) => stream === "stderr" && OUT_OF_MEMORY_SIGN.test(text));
  const isKilled = exitCode === EXIT_OUT_OF_MEMORY || exitCode === SIGNAL_BASE + constants.signals.SIGABRT;
  if (state?.wasOutOfMemory === true || (isKilled && (sawOutOfMemory || hasSign))) {
    const limit = memoryMb === undefined ? "" : ` (limit ${memoryMb} MiB)`;
    return { reason: "out-of-memory", ...status, message: `out of memory${limit}` };
  }
  if (exitCode === undefined)
    return { reason: "killed", signal: "SIGKILL", message: "its container was removed" };
  if (signal !== undefined) return { reason: "killed", ...status, signal, message: `killed by ${signal}` };
  return { reason: "exited", ...status, message: `exited with code ${exitCode}` };
}

function signalOf(exitCode: number): string | undefined {
  const number = exitCode - SIGNAL_BASE;
  return Object.entries(constants.signals).find(([, value]) => value === number)?.[0];
}
