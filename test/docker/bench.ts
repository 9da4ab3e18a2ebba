// A Docker runtime in a temporary folder, with models given as text.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Manifest } from "../../containers/protocol.ts";
import type { DockerOptions } from "../../core/runtimes/docker/index.ts";
import type { PrepareOptions, ReplicaSpec, RunningReplica, Runtime } from "../../core/runtimes/runtime.ts";
import type { BundleFolder } from "../../core/types.ts";
import { ready, writeFunctionBundle } from "../conformance/replica-client.ts";
import { testDocker } from "./engine.ts";

export interface DockerBench extends AsyncDisposable {
  readonly folder: string;
  readonly runtime: Runtime;
  /** All that was reported while preparing. */
  readonly reports: string[];
  /** What went with each of them. */
  readonly details: Parameters<PrepareOptions["report"]>[1][];
  bundle(source: string, fields?: Partial<Manifest>): Promise<BundleFolder>;
  prepare(bundle: BundleFolder, options?: Partial<PrepareOptions>): Promise<string>;
  /** A replica that is ready. */
  start(source: string, spec?: Partial<ReplicaSpec>): Promise<RunningReplica>;
}

export async function dockerBench(options: DockerOptions = {}, owner = "bench"): Promise<DockerBench> {
  const folder = await mkdtemp(join(tmpdir(), "windjammer-docker-"));
  const runtime = testDocker(options);
  try {
    await runtime.open({ runDir: join(folder, "run"), cacheDir: join(folder, "cache"), owner });
  } catch (error) {
    await rm(folder, { recursive: true });
    throw error;
  }
  const reports: string[] = [];
  const details: DockerBench["details"] = [];
  const bundles: BundleFolder[] = [];
  const silent: PrepareOptions = {
    report: (message, more) => {
      reports.push(message);
      details.push(more);
    },
    signal: new AbortController().signal,
  };
  let count = 0;
  const bench: DockerBench = {
    folder,
    runtime,
    reports,
    details,
    bundle: (source, fields = {}) => writeFunctionBundle(join(folder, `b${++count}`), source, fields),
    prepare: (bundle, more = {}) => {
      bundles.push(bundle);
      return runtime.prepare(bundle, { ...silent, model: "bench", ...more });
    },
    async start(source, spec = {}) {
      const bundle = await bench.bundle(source);
      const image = await bench.prepare(bundle);
      const replica = await runtime.start({
        id: `bench-1-r${count}`,
        model: "bench",
        version: "1",
        image,
        bundle,
        limits: { cpus: 1 },
        ...spec,
      });
      await ready(replica);
      return replica;
    },
    async [Symbol.asyncDispose]() {
      await Promise.all((await runtime.list()).map((replica) => replica.stop(0)));
      // An engine that the test has taken away is tidied up at the end of the suite.
      for (const { hash } of bundles) await runtime.forget?.(hash).catch(() => {});
      await runtime.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
  return bench;
}
