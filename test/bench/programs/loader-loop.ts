// The pure speed of a model: its loader called in a loop on batches of one size, one JSON line out.
// Arguments: folder of the bundle's files, batch size, seconds.
import { join } from "node:path";
import type { Batch, Loader } from "../../../containers/loader.ts";
import { DATATYPE_BYTES, type Manifest } from "../../../containers/protocol.ts";
import { elementCount } from "../../../containers/tensors.ts";
import { readFile } from "node:fs/promises";

/** Of an axis that the contract leaves open. */
const FREE_SIZE = 784;

const [modelDir = "", size = "1", seconds = "1"] = process.argv.slice(2);
const manifest = JSON.parse(await readFile(join(modelDir, "manifest.json"), "utf8")) as Manifest;
const program = new URL(`../../../dist/containers/${manifest.loader}/loader.js`, import.meta.url).href;
const { loader } = (await import(program)) as { loader: Loader };
const model = await loader.load({ modelDir, manifest, threads: 1 });

const count = Number(size);
const inputs = manifest.contract.inputs.map(({ name, datatype, shape }) => {
  const dims = [count, ...shape.map((axis) => (axis === -1 ? FREE_SIZE : axis))];
  return { name, datatype, shape: dims, data: new Uint8Array(elementCount(dims) * DATATYPE_BYTES[datatype]) };
});
const batch: Batch = { count, inputs, signal: new AbortController().signal };

async function run(ms: number): Promise<{ readonly rows: number; readonly elapsedMs: number }> {
  const startedAt = performance.now();
  let rows = 0;
  while (performance.now() - startedAt < ms) {
    await model.predict(batch);
    rows += count;
  }
  return { rows, elapsedMs: performance.now() - startedAt };
}

await run(200);
const before = process.cpuUsage();
const { rows, elapsedMs } = await run(Number(seconds) * 1000);
const { user, system } = process.cpuUsage(before);
console.log(JSON.stringify({ perSecond: (rows * 1000) / elapsedMs, cpuUs: (user + system) / rows }));
process.exit(0);
