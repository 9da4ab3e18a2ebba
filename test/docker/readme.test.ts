// What the README says of Docker is true: its scripts and its quickstart, as they stand there.
import { execFile } from "node:child_process";
import { readFile, rm, writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Engine } from "../../core/runtimes/engine.ts";
import { cli, cliJson } from "../helpers/cli.ts";
import { defaultBaseImage } from "./default-images.ts";
import { hasEngine } from "./engine.ts";

const run = promisify(execFile);
const root = join(import.meta.dirname, "../..");
const env = {
  ...process.env,
  PATH: `${join(root, "node_modules/.bin")}${delimiter}${process.env["PATH"] ?? ""}`,
};
const readme = await readFile(join(root, "README.md"), "utf8");
const blocks = [...readme.matchAll(/^```ts\n(.*?)^```$/gms)]
  .map(([, text = ""]) => text)
  .filter((text) => text.includes("windjammer/runtimes/docker"));

describe.skipIf(!hasEngine)("with Docker", () => {
  let base: AsyncDisposable;

  beforeAll(async () => {
    base = await defaultBaseImage();
  });

  afterAll(() => base?.[Symbol.asyncDispose]());

  it("the scripts of the README run, and print what they say", async () => {
    expect(blocks).toHaveLength(2);
    for (const [index, text] of blocks.entries()) {
      const file = join(root, `.readme-docker-${index}.ts`);
      await writeFile(file, text);
      try {
        const { stdout } = await run("node", [file], { cwd: root, env, timeout: 200_000 });
        for (const [, expected = ""] of text.matchAll(/\/\/ prints (.*)$/gm))
          expect(stdout).toContain(expected);
      } finally {
        await rm(file);
      }
    }
  });

  it("npm run quickstart answers as without it, shows the build, and leaves no container", async () => {
    const { stdout } = await run("npm", ["run", "quickstart", "--", "--runtime", "docker"], {
      cwd: root,
      env,
    });
    expect(stdout).toContain("16 of 16 match");
    expect(stdout).toMatch(/prepare {2}(?:step \d+\/\d+|image \S+ is there already)/);
    const engine = await Engine.connect(undefined);
    expect(await engine.containers({ "windjammer.model": "digits" })).toEqual([]);
  });

  it("windjammer build makes an image, says its stages, and wants a version", async () => {
    const model = ["build", "examples/functions/sum.ts", "--export", "sum", "--name", "cli-sum"];
    const missing = await cli(model, { cwd: root });
    expect(missing.code).toBe(2);
    expect(missing.stderr).toContain("--version is missing");
    const built = await cli([...model, "--version", "1"], { cwd: root });
    expect(built.code).toBe(0);
    expect(built.stderr).toMatch(/✓ bundle .*\n.*✓ build /);
    const image = /image +(windjammer\/cli-sum:1-\w+)/.exec(built.stdout)?.[1] ?? "";
    expect(await cliJson([...model, "--version", "1", "--json"], { cwd: root })).toMatchObject({ image });
    const engine = await Engine.connect(undefined);
    expect(await engine.findImage(image)).toBeDefined();
    expect(await engine.containers({ "windjammer.model": "cli-sum" })).toEqual([]);
    const noPassword = await cli([...model, "--version", "1", "--push", "h/m", "--push-user", "me"], {
      cwd: root,
    });
    expect(noPassword.stderr).toContain("WINDJAMMER_PUSH_PASSWORD");
  });
});
