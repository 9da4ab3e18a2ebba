// The quickstart with its model in a container.
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { Engine } from "../../core/runtimes/engine.ts";
import { BASE_IMAGE, hasEngine } from "./engine.ts";

const run = promisify(execFile);
const root = fileURLToPath(new URL("../..", import.meta.url));

describe.skipIf(!hasEngine)("the quickstart", () => {
  it("answers as without Docker, shows the build, and leaves no container", async () => {
    const args = ["examples/digits/main.ts", "--runtime", "docker", "--base-image", BASE_IMAGE];
    const { stdout } = await run("node", ["--conditions=windjammer-source", ...args], { cwd: root });
    expect(stdout).toContain("16 of 16 match");
    expect(stdout).toMatch(/prepare {2}(?:step \d+\/\d+|image \S+ is there already)/);
    const engine = await Engine.connect(undefined);
    expect(await engine.containers({ "windjammer.model": "digits" })).toEqual([]);
  });
});
