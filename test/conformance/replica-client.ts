// Bundles for runtime tests, and requests to a replica over whatever address it has.
import { mkdir, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { PATHS, type JsonObject, type Manifest } from "../../containers/protocol.ts";
import { manifest } from "../../core/deploy/deployer.ts";
import type { RunningReplica } from "../../core/runtimes/runtime.ts";
import { hashFolder } from "../../core/deploy/bundle.ts";
import type { BundleFolder } from "../../core/types.ts";

/** Writes a bundle of a function on lists of numbers: `source` is an ES module that exports `predict`. */
export async function writeFunctionBundle(
  root: string,
  source: string,
  fields: Partial<Manifest> = {},
): Promise<BundleFolder> {
  const files = join(root, "files");
  const described = manifest({
    deployer: "test",
    loader: "function",
    inputType: "doubles",
    model: { file: "function.mjs", export: "predict" },
    ...fields,
  });
  await mkdir(files, { recursive: true });
  await writeFile(join(files, "function.mjs"), source);
  await writeFile(join(files, "manifest.json"), JSON.stringify(described));
  return { hash: await hashFolder(files), root, files, manifest: described };
}

interface Reply {
  readonly status: number;
  readonly body: string;
}

function call(replica: RunningReplica, path: string, body?: JsonObject): Promise<Reply> {
  const { address } = replica;
  return new Promise((resolve, reject) => {
    const outgoing = request(
      { ...address, path, agent: false, method: body === undefined ? "GET" : "POST" },
      (incoming) => {
        let text = "";
        incoming.setEncoding("utf8");
        incoming.on("data", (part: string) => (text += part));
        incoming.on("end", () => resolve({ status: incoming.statusCode ?? 0, body: text }));
        incoming.on("error", reject);
      },
    );
    outgoing.on("error", reject);
    if (body !== undefined) outgoing.setHeader("content-type", "application/json");
    outgoing.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

/** Resolves when the replica answers that it is ready; fails with its log when it ends before. */
export async function ready(replica: RunningReplica, timeoutMs = 60_000): Promise<void> {
  const until = performance.now() + timeoutMs;
  const exit = replica.exited.then(() => "exited" as const);
  while (performance.now() < until) {
    const reply = await call(replica, PATHS.ready).catch(() => undefined);
    if (reply?.status === 200) return;
    if ((await Promise.race([exit, delay(20)])) === "exited") break;
  }
  const log = replica.tail(20).map((line) => line.text);
  throw new Error(`replica ${replica.id} did not become ready:\n${log.join("\n")}`);
}

/** Rows in, outputs out. @throws with the reply when it is not 200 */
export async function infer(
  replica: RunningReplica,
  rows: readonly (readonly number[])[],
): Promise<unknown[]> {
  const input = {
    name: "input",
    datatype: "FP64",
    shape: [rows.length, rows[0]?.length ?? 0],
    data: rows.flat(),
  };
  const reply = await call(replica, PATHS.infer(replica.model), { inputs: [input] });
  if (reply.status !== 200) throw new Error(`status ${reply.status}: ${reply.body}`);
  const { outputs } = JSON.parse(reply.body) as { outputs: { name: string; data: string[] }[] };
  const output = outputs.find(({ name }) => name === "output");
  return output?.data.map((text) => JSON.parse(text) as unknown) ?? [];
}
