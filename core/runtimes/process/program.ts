// A program of the user's as a child process: where it listens, what it finds in its environment.
import { createServer, type AddressInfo } from "node:net";
import { delimiter, dirname } from "node:path";
import { ENV, type ContainerSource } from "../../../containers/protocol.ts";
import { processEnvironment } from "../../environment.ts";
import type { ReplicaSpec } from "../runtime.ts";
import { INHERITED_VARIABLES, type Command } from "./launch.ts";
import type { ReplicaFolder } from "./run-dir.ts";

const LOOPBACK = "127.0.0.1";

/**
 * It is given a socket and a port; nobody knows which one it will listen on, so that replicas try both. Its working
 * folder is that of the bundle.
 * @param ports of the replicas that run, by their folders: one that listens on its socket leaves its port open to others
 */
export async function programCommand(
  spec: ReplicaSpec,
  folder: ReplicaFolder,
  {
    command,
    ports,
  }: Extract<ContainerSource, { readonly kind: "command" }> & { readonly ports: Map<string, number> },
): Promise<Command> {
  const [file = "", ...args] = command;
  const port = await freePort(ports, folder.name);
  const { PATH = "", ...inherited } = processEnvironment(INHERITED_VARIABLES);
  return {
    file,
    args,
    cwd: spec.bundle.files,
    address: { anyOf: [{ socketPath: folder.socketPath }, { host: LOOPBACK, port }] },
    environment: {
      ...inherited,
      // `node` is then the one that runs Windjammer.
      PATH: [dirname(process.execPath), PATH].join(delimiter),
      // The bundle's files are what was deployed: nothing is written among them.
      PYTHONDONTWRITEBYTECODE: "1",
      PYTHONUNBUFFERED: "1",
      ...spec.bundle.manifest.environment,
      [ENV.socket]: folder.socketPath,
      [ENV.port]: String(port),
      [ENV.host]: LOOPBACK,
      [ENV.modelName]: spec.model,
      [ENV.modelVersion]: spec.version,
      [ENV.modelDir]: spec.bundle.files,
      [ENV.threads]: String(Math.max(1, Math.ceil(spec.limits.cpus))),
      [ENV.exitWithParent]: "1",
      ...(spec.limits.memoryMb === undefined ? {} : { [ENV.memoryLimitMb]: String(spec.limits.memoryMb) }),
    },
  };
}

/** One that is free now, and that no replica has; whoever takes it in between makes the program fail, and the next start gets another one. */
async function freePort(ports: Map<string, number>, owner: string): Promise<number> {
  const server = createServer();
  const listening = Promise.withResolvers<void>();
  server.once("error", listening.reject);
  server.listen(0, LOOPBACK, listening.resolve);
  await listening.promise;
  const { port } = server.address() as AddressInfo;
  const isFree = ![...ports.values()].includes(port);
  if (isFree) ports.set(owner, port);
  await new Promise((resolve) => server.close(resolve));
  return isFree ? port : freePort(ports, owner);
}
