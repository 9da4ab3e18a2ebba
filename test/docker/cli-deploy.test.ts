// The command line against the Docker runtime: a folder with a Dockerfile, an image.
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { writeTemplate } from "../../core/cli/init.ts";
import { windjammer, type Windjammer } from "../../deployers/index.ts";
import { Engine } from "../../core/runtimes/engine.ts";
import { cli, cliJson } from "../helpers/cli.ts";
import { BASE_IMAGE, hasEngine, testDocker } from "./engine.ts";

const run = promisify(execFile);
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "wj-cli-docker-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe.skipIf(!hasEngine)("windjammer deploy on Docker", () => {
  let wj: Windjammer;
  let env: Record<string, string>;
  const images: string[] = [];

  beforeAll(async () => {
    wj = await windjammer({ port: 0, adminPort: 0, runtime: testDocker() });
    env = { WINDJAMMER_URL: wj.adminUrl };
  });

  afterAll(async () => {
    await wj?.close();
    const engine = await Engine.connect(undefined);
    for (const image of images) await engine.removeImage(image);
    for (const { tags } of await engine.images({ "windjammer.deployer": "container" }))
      for (const tag of tags) await engine.removeImage(tag);
  });

  it("builds a folder with a Dockerfile, shows the steps, and gives a line from the contract that the server declares", async () => {
    const server = join(folder, "adder");
    await writeTemplate("node", server);
    const recipe = join(server, "Dockerfile");
    await writeFile(recipe, (await readFile(recipe, "utf8")).replace(/^FROM .*/m, `FROM ${BASE_IMAGE}`));
    const { code, stdout, stderr } = await cli(["deploy", "adder", "--verbose"], { env, cwd: folder });
    expect(stderr).toContain("adder is a folder with a Dockerfile");
    expect(stderr).toMatch(/FROM windjammer-test-base:24/);
    expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringContaining("adder version 1 serves") });
    const line = /curl .*/.exec(stdout)?.[0] ?? "";
    expect(JSON.parse((await run("sh", ["-c", line])).stdout)).toHaveProperty("output");

    const image = /windjammer\/adder:\S+/.exec(stderr)?.[0] ?? "";
    images.push(image);
    const copy = await cliJson(["deploy", image, "--name", "by-image"], { env, cwd: folder });
    expect(copy).toMatchObject({ model: "by-image", version: "1", result: "deployed" });
  });

  it("tries one out with --dry-run, without a server", async () => {
    const found = await cliJson(["deploy", images[0] ?? "", "--name", "tried", "--dry-run"], { cwd: folder });
    expect(found).toMatchObject({ isDryRun: true, kind: "image", output: expect.anything() });
    expect((await wj.models()).map(({ name }) => name)).not.toContain("tried");
  });
});
