// What a start cleans up behind a server that was killed: deployments left running, bundles that nobody refers to.
import { DeploymentInterruptedError } from "../errors.ts";
import type { Log } from "../log.ts";
import type { Runtime } from "../runtimes/runtime.ts";
import type { Registry } from "../registry/registry.ts";
import type { Deployment, DeploymentEvent } from "../types.ts";
import type { BundleStore } from "./bundle-store.ts";
import { Journal } from "./journal.ts";

/** Ends the records of deployments that were cut off: after the switch they have succeeded, before it they failed. */
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
  const endedAt = new Date().toISOString();
  if (hasSwitched(registry, deployment, past)) {
    await journal.say({
      step: "done",
      level: "warning",
      message: `the server stopped after the switch; model ${model} serves version ${version}`,
    });
    await registry.putDeployment({ ...deployment, state: "succeeded", result: "deployed", endedAt });
    return;
  }
  const step = past.at(-1)?.step ?? "receive";
  const message = `the server stopped during the deployment of model ${model} version ${version}, at step ${step}; nothing of it is left: deploy again`;
  const { code } = DeploymentInterruptedError.kind;
  await journal.say({ step, level: "error", message, details: { code } });
  await registry.putDeployment({
    ...deployment,
    state: "failed",
    endedAt,
    error: { code, message, step, logTail: [] },
  });
}

/** The switch is one commit of the registry, so the registry knows; the events only say what was current before. */
function hasSwitched(registry: Registry, deployment: Deployment, past: readonly DeploymentEvent[]): boolean {
  const checked = past.find((event) => event.step === "check");
  if (checked === undefined || registry.findModel(deployment.model)?.currentVersion !== deployment.version)
    return false;
  return checked.details?.["former"] !== deployment.version;
}

/** Removes bundles that no version refers to: a deployment was to use them, and was cut off. */
export async function removeUnusedBundles({
  registry,
  bundles,
  runtime,
  log,
}: {
  readonly registry: Registry;
  readonly bundles: BundleStore;
  readonly runtime: Runtime;
  readonly log: Log;
}): Promise<void> {
  const used = new Set(registry.versions().map((version) => version.bundle));
  for (const hash of await bundles.hashes()) {
    if (used.has(hash)) continue;
    log.info({ bundle: hash }, "removing a bundle that no version refers to");
    try {
      await runtime.forget?.(hash);
      await bundles.remove(hash);
    } catch (error) {
      log.warn({ err: error, bundle: hash }, "a bundle could not be removed");
    }
  }
}
