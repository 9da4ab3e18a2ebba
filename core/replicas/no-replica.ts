// What a query is told while no replica of its version is ready.
import { NoReplicaError } from "../errors.ts";
import type { Version } from "../types.ts";

/** What is known of the replicas. */
interface Outlook {
  /** Why one went lately, or could not start. */
  readonly trouble: string | undefined;
  /** One is on its way. */
  readonly isRecovering: boolean;
}

export function noReplica(
  { model, version, manifest }: Version,
  { trouble, isRecovering }: Outlook,
): NoReplicaError {
  const remedy =
    manifest.container?.kind === "clipper-rpc"
      ? "no container of it is connected; start one, and let it connect to the RPC port"
      : "none runs; scale it up, or deploy it again";
  const why = trouble ?? (isRecovering ? "one is being started; try again" : remedy);
  return new NoReplicaError(`no replica of model ${model} version ${version} is ready: ${why}`, {
    details: { model, version },
  });
}
