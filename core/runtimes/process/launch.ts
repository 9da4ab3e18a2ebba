// How a model container is launched as a child process: its entry, arguments and environment.
import { fileURLToPath } from "node:url";
import { ENV } from "../../../containers/protocol.ts";
import { processEnvironment } from "../../environment.ts";
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

/** Our server in Python, which is shipped as it is: beside dist/ in the package. */
export function pythonEntry(): string {
  const root = import.meta.url.endsWith(".ts") ? "../../.." : "../../../..";
  return fileURLToPath(new URL(`${root}/containers/python/server.py`, import.meta.url));
}

/** The program that a replica runs. */
export type Server =
  | { readonly kind: "node"; readonly entry: string; readonly nodeArgs: readonly string[] }
  /** `python`: path of the interpreter. */
  | { readonly kind: "python"; readonly entry: string; readonly python: string };

export interface Command {
  readonly file: string;
  readonly args: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  /** Working folder. Default: the replica's own. */
  readonly cwd?: string;
  /** Where it may listen. Default: on the replica's socket. */
  readonly address?: ReplicaAddress;
}

export function containerCommand(spec: ReplicaSpec, folder: ReplicaFolder, server: Server): Command {
  const { memoryMb, cpus } = spec.limits;
  return {
    ...programOf(server, memoryMb),
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

function programOf(server: Server, memoryMb: number | undefined): Pick<Command, "file" | "args"> {
  // Neither variables nor the user's own packages change what Python runs, and nothing is written beside its sources.
  if (server.kind === "python") return { file: server.python, args: ["-I", "-B", server.entry] };
  const heap = memoryMb === undefined ? [] : [`--max-old-space-size=${Math.floor(memoryMb * HEAP_SHARE)}`];
  return { file: process.execPath, args: [...server.nodeArgs, ...heap, server.entry] };
}
