// Programs that stand in for a model container where a test needs bad manners, and a runtime that runs them.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { JsonObject } from "../../../../containers/protocol.ts";
import { manifest } from "../../../../core/deploy/deployer.ts";
import { processIdentity } from "../../../../core/runtimes/process/process-info.ts";
import { ProcessRuntime } from "../../../../core/runtimes/process/process-runtime.ts";
import type { ReplicaSpec, RunningReplica } from "../../../../core/runtimes/runtime.ts";
import type { BundleFolder } from "../../../../core/types.ts";

/** Ends when its standard input does, as a model container must. */
export const WAITS = `process.stdin.resume().on("end", () => process.exit(0)); console.log("up");`;

export interface Bench extends AsyncDisposable {
  readonly folder: string;
  readonly runtime: ProcessRuntime;
  start(script: string, spec?: Partial<ReplicaSpec>): Promise<RunningReplica>;
}

export function emptyBundle(root: string, environment: Readonly<Record<string, string>> = {}): BundleFolder {
  const model: JsonObject = {};
  return {
    hash: "0".repeat(64),
    root,
    files: join(root, "files"),
    manifest: manifest({ deployer: "test", loader: "none", inputType: "json", model, environment }),
  };
}

/** A runtime in a temporary folder whose replicas run a script each. */
export async function bench(folderPrefix = "windjammer-process-"): Promise<Bench> {
  const folder = await mkdtemp(join(tmpdir(), folderPrefix));
  // One entry for all: it runs the script that the replica's environment names.
  const entry = join(folder, "entry.mjs");
  await writeFile(entry, `await import(process.env.SCRIPT);`);
  const runtime = new ProcessRuntime({ packagesFrom: [], nodeArgs: [], killGraceMs: 200, entry });
  await runtime.open({ runDir: join(folder, "run"), cacheDir: join(folder, "cache"), owner: "test" });
  let count = 0;
  return {
    folder,
    runtime,
    async start(script, spec = {}) {
      count += 1;
      const id = `m-1-r${count}`;
      const path = join(folder, `${id}.mjs`);
      await writeFile(path, script);
      return runtime.start({
        id,
        model: "m",
        version: "1",
        image: "process:test",
        bundle: emptyBundle(folder, { SCRIPT: path, FROM_MANIFEST: "yes" }),
        limits: { cpus: 1 },
        ...spec,
      });
    },
    async [Symbol.asyncDispose]() {
      await runtime.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** First line of a replica that matches; fails when there is none within 60 s. */
export async function lineMatching(replica: RunningReplica, pattern: RegExp): Promise<RegExpExecArray> {
  for await (const line of replica.logs({ follow: true, signal: AbortSignal.timeout(60_000) })) {
    const match = pattern.exec(line.text);
    if (match !== null) return match;
  }
  throw new Error(`no line like ${pattern.source} from ${replica.id}`);
}

/** Resolves when the process has gone; fails after 60 s. */
export async function gone(pid: number): Promise<void> {
  for (let tries = 0; tries < 3000; tries++) {
    if ((await processIdentity(pid)) === undefined) return;
    await delay(20);
  }
  throw new Error(`process ${pid} still runs`);
}
