import { PassThrough, type Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { pack } from "tar-stream";
import { expect, it } from "vitest";
import { fileOfArchive } from "../../../core/runtimes/engine-messages.ts";

it("a file out of an archive is read whole, however large", async () => {
  const content = "0123456789".repeat(300_000);
  expect(await fileOfArchive(archiveOf(content))).toBe(content);
});

it("an archive is let go once its file is read, and one that breaks off is an error", async () => {
  const archive = pack();
  archive.entry({ name: "package-lock.json" }, "{}");
  archive.entry({ name: "another" }, "x".repeat(1_000_000));
  const stream = archive as unknown as Readable;
  expect(await fileOfArchive(stream)).toBe("{}");
  expect(stream.destroyed).toBe(true);

  const cut = new PassThrough();
  cut.write((await buffer(archiveOf("x".repeat(1000)))).subarray(0, 700));
  const failure = fileOfArchive(cut);
  cut.destroy(new Error("the engine has gone"));
  await expect(failure).rejects.toThrow("the engine has gone");
});

function archiveOf(content: string): Readable {
  const archive = pack();
  archive.entry({ name: "package-lock.json" }, content);
  archive.finalize();
  return archive as unknown as Readable;
}
