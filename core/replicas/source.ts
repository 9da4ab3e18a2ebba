// Where the replicas of a version come from: the runtime starts them, or they run elsewhere and are only reached.
import type { Manifest } from "../../containers/protocol.ts";
import type { ReplicaSpec, Runtime, RunningReplica } from "../runtimes/runtime.ts";
import { remoteServers } from "./remote.ts";

/** One for all replicas of a version. */
export interface ReplicaSource {
  /** Starts one, or finds one, and returns at once; it becomes ready, or ends, on its own. */
  start(spec: ReplicaSpec): Promise<RunningReplica>;
  /** Hears of a replica of the version that runs already, and that it did not start itself. */
  adopt?(running: RunningReplica): void;
}

/** Whether the runtime prepares the version and starts its replicas. */
export function needsRuntime({ container }: Pick<Manifest, "container">): boolean {
  return container?.kind !== "url" && container?.kind !== "clipper-rpc";
}

export function replicaSource({ container }: Pick<Manifest, "container">, runtime: Runtime): ReplicaSource {
  return container?.kind === "url" ? remoteServers(container.urls) : runtime;
}
