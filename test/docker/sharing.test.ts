// What is remembered of an engine: whether its containers share sockets with this machine, and not what went wrong once.
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { containerUser, Folders } from "../../core/runtimes/docker/folders.ts";
import { ownerLabels } from "../../core/runtimes/docker/labels.ts";
import { sharesSockets } from "../../core/runtimes/docker/sharing.ts";
import { Engine } from "../../core/runtimes/engine.ts";
import { tempFolder } from "../helpers/temp.ts";
import { BASE_IMAGE, hasEngine } from "./engine.ts";

describe.skipIf(!hasEngine)("whether an engine shares sockets", () => {
  it("is kept once a trial has run, and tried again where none could run", async () => {
    const cacheDir = await tempFolder();
    const user = containerUser(false);
    const folders = await Folders.open(
      { runDir: join(await tempFolder(), "run"), owner: "sharing" },
      user,
      new Set(),
    );
    const engine = await Engine.connect(undefined);
    const parts = { engine, folders, user, labels: ownerLabels("sharing") };
    const found = (image: string): Promise<boolean> =>
      sharesSockets(parts, { engineId: "ID:1", cacheDir, image });

    expect(await found("windjammer-test-missing:1")).toBe(false);
    await expect(readdir(join(cacheDir, "engines"))).rejects.toThrow("ENOENT");

    expect(await found(BASE_IMAGE)).toBe(true);
    expect(await readFile(join(cacheDir, "engines", "ID-1"), "utf8")).toBe("socket");
    expect(await found("windjammer-test-missing:1")).toBe(true);
  });
});
