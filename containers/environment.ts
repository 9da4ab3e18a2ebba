// Reads a model container's environment: where it listens, what it serves, its limits.
import { ENV } from "./protocol.ts";

export interface Environment {
  /** Unix socket or TCP address. */
  readonly address: { readonly socketPath: string } | { readonly host: string; readonly port: number };
  readonly modelName: string;
  readonly modelVersion: string;
  readonly modelDir: string;
  readonly threads: number;
  /** MiB; undefined: no limit. */
  readonly memoryLimitMb: number | undefined;
  readonly exitsWithParent: boolean;
}

type Variables = Readonly<Record<string, string | undefined>>;

/** @throws Error naming the variable that is wrong */
export function readEnvironment(variables: Variables): Environment {
  const socketPath = variables[ENV.socket];
  return {
    address: socketPath
      ? { socketPath }
      : {
          host: variables[ENV.host] || "0.0.0.0",
          port: integer(variables, ENV.port, { least: 0, most: 65_535 }) ?? 8080,
        },
    modelName: variables[ENV.modelName] || "model",
    modelVersion: variables[ENV.modelVersion] || "1",
    modelDir: variables[ENV.modelDir] || "/model",
    threads: integer(variables, ENV.threads, { least: 1, most: 1024 }) ?? 1,
    memoryLimitMb: integer(variables, ENV.memoryLimitMb, { least: 1, most: 2 ** 30 }),
    exitsWithParent: variables[ENV.exitWithParent] === "1",
  };
}

function integer(
  variables: Variables,
  name: string,
  bounds: { readonly least: number; readonly most: number },
): number | undefined {
  const text = variables[name];
  if (!text) return undefined;
  const value = Number(text);
  if (Number.isInteger(value) && value >= bounds.least && value <= bounds.most) return value;
  throw new Error(`${name} is "${text}"; it takes a whole number from ${bounds.least} to ${bounds.most}`);
}

/**
 * What native libraries read from the process's environment while they load. Each is to be set before the model's
 * thread starts, unless it is set already: that thread's copy of the environment does not reach them.
 */
export function libraryVariables(threads: number): Readonly<Record<string, string>> {
  return {
    ORT_DISABLE_TELEMETRY: "1",
    // By default TensorFlow takes every core it sees, twice over, for no gain.
    TF_NUM_INTRAOP_THREADS: `${threads}`,
    TF_NUM_INTEROP_THREADS: "1",
    TF_CPP_MIN_LOG_LEVEL: "3",
  };
}
