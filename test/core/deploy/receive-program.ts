// Run as a child process: receives bundles in a loop, and prints each chunk that is read and each hash that is stored.
import { writeSync } from "node:fs";
import { Readable } from "node:stream";
import { BundleStore } from "../../../core/deploy/bundle-store.ts";
import { manifest } from "../../../core/deploy/deployer.ts";
import { tar } from "./tar-bytes.ts";

const bundles = new BundleStore(process.argv[2] ?? "", { maxBytes: 2 ** 24, maxEntries: 100 });
await bundles.open();
const content = JSON.stringify(manifest({ deployer: "test", loader: "function", inputType: "json" }));

function* chunksOf(bytes: Buffer): Generator<Buffer> {
  for (let start = 0; start < bytes.length; start += 40_000) {
    writeSync(1, "chunk\n");
    yield bytes.subarray(start, start + 40_000);
  }
}

for (let count = 0; ; count++) {
  const bytes = tar(
    { name: "manifest.json", content },
    { name: "weights.bin", content: Buffer.alloc(200_000, `${process.pid}-${count} `) },
    { name: "lib/code.mjs", content: "export {};" },
  );
  const { hash } = await bundles.receive(Readable.from(chunksOf(bytes), { objectMode: false }));
  writeSync(1, `${hash}\n`);
  if (count % 3 === 2) {
    await bundles.remove(hash);
    writeSync(1, `removed ${hash}\n`);
  }
}
