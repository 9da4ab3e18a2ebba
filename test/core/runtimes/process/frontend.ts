// A frontend for tests that kill it: starts two replicas and says who they are. Without a script as second argument
// they are real model containers; with "--command" programs that look at neither standard input nor SIGTERM.
import { join } from "node:path";
import { processRuntime } from "../../../../core/runtimes/process/index.ts";
import { ProcessRuntime } from "../../../../core/runtimes/process/process-runtime.ts";
import { ready, writeFunctionBundle } from "../../../conformance/replica-client.ts";
import { lineMatching } from "./scripts.ts";

const [folder = "", entry] = process.argv.slice(2);
const DEAF = ["/bin/sh", "-c", "trap '' TERM; sleep 600 & echo child $!; wait"];
const runtime =
  entry === undefined
    ? processRuntime()
    : new ProcessRuntime({ packagesFrom: [], nodeArgs: [], killGraceMs: 200, entry });
await runtime.open({ runDir: join(folder, "run"), cacheDir: join(folder, "cache"), owner: "test" });
const bundle = await writeFunctionBundle(
  join(folder, "bundle"),
  `export const predict = (inputs) => inputs;`,
  entry === "--command" ? { loader: "command", container: { kind: "command", command: DEAF } } : {},
);
const image = await runtime.prepare(bundle, { report: () => {}, signal: new AbortController().signal });
const spec = { model: "m", version: "1", image, bundle, limits: { cpus: 1 } };
const pids = ["m-1-r1", "m-1-r2"].map(async (id) => {
  const replica = await runtime.start({ ...spec, id });
  const pid = Number(replica.handle);
  if (entry === "--command") return [pid, Number((await lineMatching(replica, /^child (\d+)$/))[1])];
  await (entry === undefined ? ready(replica) : lineMatching(replica, /^up$/));
  return [pid];
});
console.log(JSON.stringify((await Promise.all(pids)).flat()));
