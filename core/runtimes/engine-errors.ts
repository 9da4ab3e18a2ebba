// What a container engine says of a call that failed, as an error that names the way out.
import { SSH_FAILED } from "./engine-ssh.ts";
import { DiskFullError, EngineRefusedError, EngineUnreachableError, isNodeError } from "../errors.ts";

const ADVICE: Readonly<Record<string, string>> = {
  EACCES: "this user may not use it: add the user to the group docker, or use a rootless engine",
  [SSH_FAILED]:
    "let `ssh HOST docker version` work without a question: a key or an agent that it takes, its host among the known ones, docker there",
};

/** @param what "start container 1a2b" @param shown the engine's address, as the user knows it */
export function engineError(error: unknown, what: string, shown: string): Error {
  const { statusCode, message } = error as { statusCode?: number; message?: string };
  const text = message ?? String(error);
  if (/no space left on device/i.test(text)) {
    return new DiskFullError(
      `the container engine has no space left: ${text}; docker system df shows what takes it`,
      { cause: error },
    );
  }
  if (statusCode !== undefined) {
    const reason = /server error - ([^]*)$|reason: ([^]*)$/.exec(text)?.[0] ?? text;
    return new EngineRefusedError(
      `the container engine refused to ${what} (${statusCode}): ${reason.trim()}`,
      {
        cause: error,
        details: { statusCode },
      },
    );
  }
  if (!isNodeError(error)) return error instanceof Error ? error : new Error(text);
  const why = error.code === SSH_FAILED ? error.message : error.code;
  const advice =
    ADVICE[error.code ?? ""] ??
    "start it, or say where it is with DOCKER_HOST, a Docker context or the option host";
  return new EngineUnreachableError(`the container engine at ${shown} does not answer (${why}): ${advice}`, {
    cause: error,
    details: { engine: shown },
  });
}
