// How a model container is launched as a child process: its entry, arguments and environment.
import { fileURLToPath } from "node:url";
import { ENV } from "../../../containers/protocol.ts";
import { processEnvironment } from "../../config.ts";
import type { ReplicaAddress } from "../../types.ts";
import type { ReplicaSpec } from "../runtime.ts";
import type { ReplicaFolder } from "./run-dir.ts";

/**
 * What a replica gets of the frontend's environment. Nothing else: tokens and passwords that happen to be there are
 * not the model's business. What a model needs beyond these goes into its manifest's `environment`.
 */
export const INHERITED_VARIABLES: readonly string[] = [
  "PATH",
  "HOME",
  "TMPDIR",
  "LANG",
  "LC_ALL",
  "LC_CTYPE",
  "TZ",
  "NODE_EXTRA_CA_CERTS",
  "SSL_CERT_FILE",
  "SSL_CERT_DIR",
  "LD_LIBRARY_PATH",
];

/** V8's old generation gets this part of the memory limit; the rest is for code, buffers and native libraries. */
const HEAP_SHARE = 0.75;

/** The model container of this package: the built file, or its source when this file runs from source itself. */
export function containerEntry(): string {
  const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
  return fileURLToPath(new URL(`../../../containers/server.${extension}`, import.meta.url));
}

export interface Command {
  readonly file: string;
  readonly args: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  /** Working folder. Default: the replica's own. */
  readonly cwd?: string;
  /** Where it may listen. Default: on the replica's socket. */
  readonly address?: ReplicaAddress;
}

export function containerCommand(
  spec: ReplicaSpec,
  folder: ReplicaFolder,
  options: { readonly entry: string; readonly nodeArgs: readonly string[] },
): Command {
  const { memoryMb, cpus } = spec.limits;
  const heap = memoryMb === undefined ? [] : [`--max-old-space-size=${Math.floor(memoryMb * HEAP_SHARE)}`];
  return {
    file: process.execPath,
    args: [...options.nodeArgs, ...heap, options.entry],
    environment: {
      ...processEnvironment(INHERITED_VARIABLES),
      ...spec.bundle.manifest.environment,
      [ENV.socket]: folder.socketPath,
      [ENV.modelName]: spec.model,
      [ENV.modelVersion]: spec.version,
      [ENV.modelDir]: spec.bundle.files,
      [ENV.threads]: String(Math.max(1, Math.ceil(cpus))),
      [ENV.exitWithParent]: "1",
      ...(memoryMb === undefined ? {} : { [ENV.memoryLimitMb]: String(memoryMb) }),
    },
  };
}
