import type { Readable } from "node:stream";
import { pack } from "tar-stream";
import { expect, it } from "vitest";
import { fileOfArchive } from "../../../core/runtimes/engine-messages.ts";

it("a file out of an archive is read whole, however large", async () => {
  const archive = pack();
  const content = "0123456789".repeat(300_000);
  archive.entry({ name: "package-lock.json" }, content);
  archive.finalize();
  expect(await fileOfArchive(archive as unknown as Readable)).toBe(content);
});
