// The command line against the Docker runtime: a folder with a Dockerfile, an image, and the compose file that it exports.
import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { parse } from "yaml";
import { writeTemplate } from "../../core/cli/init.ts";
import { deployFunction, windjammer, type Windjammer } from "../../deployers/index.ts";
import { Engine } from "../../core/runtimes/engine.ts";
import { cli, cliJson } from "../helpers/cli.ts";
import { BASE_IMAGE, hasEngine, testDocker } from "./engine.ts";

const run = promisify(execFile);
const root = join(import.meta.dirname, "../..");
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

  it("refuses a compose file of a server that needs the engine itself", async () => {
    const { code, stderr } = await cli(["export", "compose"], { env });
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: expect.stringContaining("UNSUPPORTED_MODEL: the server runs models by its docker runtime"),
    });
  });
});

interface Service {
  readonly image: string;
  readonly command: readonly string[];
  readonly user: string;
  readonly ports: readonly string[];
  readonly volumes: readonly { readonly source: string; readonly target: string }[];
  readonly environment: Readonly<Record<string, string>>;
}

describe.skipIf(!hasEngine)("windjammer export compose", () => {
  it("describes a container that serves what the server served, from its state folder", async () => {
    const state = join(folder, "state");
    const image = await imageWithWindjammer();
    const service = await exported(state, image);
    const name = `wj-compose-${process.pid}`;
    onTestFinished(async () => void (await run("docker", ["rm", "-f", name]).catch(() => undefined)));
    const token = "a-token-for-the-compose-file";
    const environment = { ...service.environment, WINDJAMMER_TOKEN: token };
    const args = [
      "run",
      "--detach",
      "--init",
      `--name=${name}`,
      `--user=${service.user}`,
      ...service.ports.flatMap((port) => ["--publish", port]),
      ...service.volumes.flatMap(({ source, target }) => ["--volume", `${source}:${target}`]),
      ...Object.entries(environment).flatMap(([key, value]) => ["--env", `${key}=${value}`]),
      service.image,
      ...service.command,
    ];
    await run("docker", args);
    const [query = ""] = service.ports.map((port) => `http://${port.split(":").slice(0, 2).join(":")}`);
    const ask = async (): Promise<unknown> => {
      const reply = await fetch(`${query}/kept/predict`, { method: "POST", body: '{ "input": [1, 2] }' });
      return reply.json();
    };
    await expect
      .poll(() => ask().catch(String), { timeout: 60_000, interval: 500 })
      .toMatchObject({ output: 2 });
  }, 300_000);
});

/** The service of the file that is exported, from a server that has stopped since. */
async function exported(state: string, image: string): Promise<Service> {
  await using wj = await windjammer({ port: 0, adminPort: 0, stateDir: state });
  await deployFunction(wj, {
    name: "kept",
    version: "1",
    inputType: "doubles",
    fn: (rows) => rows.map((row) => row.length),
  });
  const flags = ["--state-dir", state, "--image", image];
  const { stdout } = await cli(["export", "compose", ...flags], { env: { WINDJAMMER_URL: wj.adminUrl } });
  const file = parse(stdout) as { readonly services: { readonly windjammer: Service } };
  return file.services.windjammer;
}

/** The packed package, installed into the image of the tests. */
async function imageWithWindjammer(): Promise<string> {
  const context = join(folder, "context");
  await writeFile(join(folder, "package.json"), '{ "private": true }');
  const path = `${join(root, "node_modules/.bin")}${delimiter}${process.env["PATH"] ?? ""}`;
  const options = { cwd: root, env: { ...process.env, PATH: path } };
  await run("npm", ["pack", "--silent", "--ignore-scripts", "--pack-destination", folder], options);
  const tarball = (await readdir(folder)).find((each) => each.endsWith(".tgz")) ?? "";
  await run(
    "npm",
    ["install", "--no-audit", "--no-fund", "--prefix", context, join(folder, tarball)],
    options,
  );
  await writeFile(
    join(context, "Dockerfile"),
    `FROM ${BASE_IMAGE}\nCOPY . /opt/windjammer\nENV PATH=/opt/windjammer/node_modules/.bin:$PATH\n`,
  );
  const tag = `wj-compose-test:${process.pid}`;
  await run("docker", ["build", "--quiet", "--tag", tag, context]);
  onTestFinished(async () => void (await run("docker", ["rmi", "-f", tag]).catch(() => undefined)));
  return tag;
}
