// A server's deploying half on the real registry, bundle store and serving, with replicas that a test scripts.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { BundleStore } from "../../core/deploy/bundle-store.ts";
import { packFolder } from "../../core/deploy/bundle.ts";
import { Deployments } from "../../core/deploy/deployments.ts";
import { createLog } from "../../core/log.ts";
import { Metrics } from "../../core/metrics.ts";
import { Serving } from "../../core/query/serving.ts";
import { MemoryStore } from "../../core/registry/memory-store.ts";
import { Registry } from "../../core/registry/registry.ts";
import type { Store } from "../../core/registry/store.ts";
import type { Runtime } from "../../core/runtimes/runtime.ts";
import type { Deployment, DeploymentEvent, DeploymentRequest } from "../../core/types.ts";
import { writeBundle, type SourceOptions } from "./bundles.ts";
import { ScriptedRuntime, type Script } from "./scripted-runtime.ts";

export interface LabOptions {
  readonly script?: Script;
  /** Default: a scripted one. */
  readonly runtime?: Runtime;
  readonly store?: Store;
  /** Folder of the bundles; default a new one, removed after the test. */
  readonly root?: string;
  /** Default 0: bundles that nothing refers to go with the next failure or deletion. */
  readonly keepUnusedBundlesMs?: number;
}

/** Answers each input with itself. */
export const echo: Script = ({ inputs }) => ({ outputs: inputs });

export interface Lab {
  readonly registry: Registry;
  readonly bundles: BundleStore;
  readonly serving: Serving;
  readonly runtime: ScriptedRuntime;
  readonly deployments: Deployments;
  /** Stores a bundle and gives its hash. */
  add(content: string, options?: Omit<SourceOptions, "source">): Promise<string>;
  /** Deploys and waits; `content` is the bundle's. */
  deploy(content: string, request: Omit<DeploymentRequest, "bundle">): Promise<Deployment>;
  events(deployment: Deployment): Promise<readonly DeploymentEvent[]>;
  close(): Promise<void>;
}

export async function openLab(options: LabOptions = {}): Promise<Lab> {
  const root = options.root ?? (await mkdtemp(join(tmpdir(), "wj-lab-")));
  const runtime = new ScriptedRuntime(options.script ?? echo);
  const registry = await Registry.open(options.store ?? new MemoryStore());
  const bundles = new BundleStore(join(root, "bundles"), { maxBytes: 2 ** 24, maxEntries: 1000 });
  await bundles.open();
  const log = createLog("silent");
  const serving = new Serving({
    runtime: options.runtime ?? runtime,
    metrics: new Metrics(),
    log,
    maxQueueLength: 100,
  });
  const deployments = new Deployments({
    registry,
    bundles,
    runtime: options.runtime ?? runtime,
    serving,
    log,
    keepUnusedBundlesMs: options.keepUnusedBundlesMs ?? 0,
  });
  let count = 0;
  const add: Lab["add"] = async (content, more) => {
    const folder = join(root, `content-${count++}`);
    await writeBundle(folder, { source: content, ...more });
    return (await bundles.receive(packFolder(folder))).hash;
  };
  let closed: Promise<void> | undefined;
  const close = (): Promise<void> =>
    (closed ??= (async () => {
      await deployments.close();
      await serving.closeAll(0);
      await runtime.close();
      await registry.close();
      if (options.root === undefined) await rm(root, { recursive: true, force: true });
    })());
  onTestFinished(close);
  return {
    registry,
    bundles,
    serving,
    runtime,
    deployments,
    add,
    deploy: async (content, request) => {
      const bundle = await add(content);
      return deployments.wait((await deployments.begin({ ...request, bundle })).id);
    },
    events: (deployment) => registry.events(deployment.id),
    close,
  };
}
