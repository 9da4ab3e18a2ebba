// What a server left when it was killed: ends its deployments, stops its replicas that no version wants.
import { DeploymentInterruptedError } from "../errors.ts";
import type { Log } from "../log.ts";
import type { RunningReplica } from "../runtimes/runtime.ts";
import type { Registry } from "../registry/registry.ts";
import type { Deployment } from "../types.ts";
import { Journal } from "./journal.ts";

/** Those that were cut off before their switch have failed: with it, in one commit, they succeed. */
export async function endInterrupted(registry: Registry, log: Log): Promise<void> {
  for (const deployment of registry.deployments()) {
    if (deployment.state === "running") await endOne(registry, deployment, log);
  }
}

async function endOne(registry: Registry, deployment: Deployment, log: Log): Promise<void> {
  const { id, model, version } = deployment;
  const past = await registry.events(id);
  const journal = new Journal(
    {
      persist: (event) => registry.appendEvent(id, event),
      deliver: (event) => log.warn({ deployment: id }, event.message),
    },
    past,
  );
  const step = past.at(-1)?.step ?? "receive";
  const message = `the server stopped during the deployment of model ${model} version ${version}, at step ${step}; nothing of it is left: deploy again`;
  const { code } = DeploymentInterruptedError.kind;
  await journal.say({ step, level: "error", message, details: { code } });
  await registry.putDeployment({
    ...deployment,
    state: "failed",
    endedAt: new Date().toISOString(),
    error: { code, message, step, logTail: [], details: {} },
  });
}

/** Stops replicas that nobody would send anything. Never rejects. */
export async function stopReplicas(replicas: readonly RunningReplica[], log: Log): Promise<void> {
  const stopping = replicas.map(async (running) => {
    try {
      await running.stop(0);
    } catch (error) {
      log.error({ replica: running.id, err: error }, "a replica could not be stopped");
    }
  });
  await Promise.all(stopping);
}
