// `windjammer deploy` as a process of its own, against a real server.
import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { windjammer, type Windjammer } from "windjammer";
import { writeTemplate } from "../../../core/cli/init.ts";
import { cli, cliJson, type CliResult, startCli } from "../../helpers/cli.ts";

const DIGITS = join(import.meta.dirname, "../../../examples/digits");
let wj: Windjammer;
let env: Record<string, string>;
let root: string;
let cwd: string;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "wj-deploy-"));
  wj = await windjammer({ port: 0, adminPort: 0 });
  env = { WINDJAMMER_URL: wj.adminUrl };
});
afterAll(async () => {
  await wj.close();
  await rm(root, { recursive: true, force: true });
});
beforeEach(async () => {
  cwd = await mkdtemp(join(root, "x-"));
});

const deploy = (...args: readonly string[]): Promise<CliResult> => cli(["deploy", ...args], { env, cwd });

interface Deployed {
  readonly version: string;
  readonly result: string;
}
const deployJson = (...args: readonly string[]): Promise<Deployed> =>
  cliJson<Deployed>(["deploy", ...args], { env, cwd });

/** A module whose predictions are `value`. */
const write = (name: string, value: string): Promise<void> =>
  writeFile(join(cwd, name), `export const predict = (inputs: unknown[]) => inputs.map(() => ${value});\n`);

async function shell(line: string): Promise<unknown> {
  return JSON.parse((await promisify(execFile)("sh", ["-c", line])).stdout);
}

describe("a deployment", () => {
  test("shows its stages in order, and ends with the URL and a line to try it", async () => {
    await write("answer.ts", "42");
    const { code, stdout, stderr } = await deploy("answer.ts");
    expect({ code, stderr: stderr.includes("\u001B") }).toEqual({ code: 0, stderr: false });
    expect(stderr).toContain("answer.ts is a module; deploying it as answer");
    expect([...stderr.matchAll(/^ {2}✓ (\w+)/gm)].map(([, stage]) => stage)).toEqual([
      "bundle",
      "build",
      "start",
      "gate",
      "switch",
    ]);
    expect(stdout).toContain("answer version 1 serves");
    expect(stdout).toContain(`${wj.url}/answer/predict`);
    expect(await shell(/curl .*/.exec(stdout)?.[0] ?? "")).toMatchObject({ output: 42, default: false });
  });

  test("of an ONNX file gives a line that makes its long input itself", async () => {
    const { code, stdout } = await deploy(join(DIGITS, "digits.onnx"), "--name", "onnx-digits");
    expect(code).toBe(0);
    expect(await shell(/curl .*/.exec(stdout)?.[0] ?? "")).toMatchObject({ output: { digit: 7 } });
  });

  test("gives one document with --json, and nothing on standard error", async () => {
    await write("plain.ts", "1");
    const { code, stdout, stderr } = await deploy("plain.ts", "--json");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(JSON.parse(stdout)).toMatchObject({
      model: "plain",
      version: "1",
      result: "deployed",
      application: "plain",
      url: `${wj.url}/plain/predict`,
      bundle: expect.stringMatching(/^[0-9a-f]{64}$/),
      stages: expect.arrayContaining([expect.objectContaining({ stage: "gate" })]),
    });
  });

  test("is numbered by its content: again changes nothing, an edit is the next one, and back is the first", async () => {
    await write("numbered.ts", "1");
    expect(await deployJson("numbered.ts")).toMatchObject({ version: "1", result: "deployed" });
    expect(await deployJson("numbered.ts")).toMatchObject({ version: "1", result: "unchanged" });
    await write("numbered.ts", "2");
    expect(await deployJson("numbered.ts")).toMatchObject({ version: "2", result: "deployed" });
    await write("numbered.ts", "1");
    expect(await deployJson("numbered.ts")).toMatchObject({ version: "1", result: "deployed" });
    // Settings that a version cannot change while it serves need another one.
    expect(await deployJson("numbered.ts", "--memory", "256")).toMatchObject({ version: "3" });
  });

  test("without a switch leaves the version ready, to be asked by its name and switched to later", async () => {
    await write("canary.ts", "1");
    expect(await deployJson("canary.ts")).toMatchObject({ version: "1", current: "1", result: "deployed" });
    await write("canary.ts", "2");
    const { code, stdout, stderr } = await deploy("canary.ts", "--no-switch");
    expect({ code, stages: [...stderr.matchAll(/^ +✓ (\w+)/gm)].map(([, name]) => name) }).toEqual({
      code: 0,
      stages: ["bundle", "build", "start", "gate"],
    });
    expect(stdout).toContain("canary version 2 is ready; version 1 goes on serving\n");
    expect(stdout).toContain("windjammer rollback canary 2");
    expect(await shell(/curl .*/.exec(stdout)?.[0] ?? "")).toMatchObject({ output: 2 });
    const app = await wj.application("canary");
    expect(await app.predict({})).toBe(1);
    expect(await deployJson("canary.ts", "--no-switch")).toMatchObject({
      version: "2",
      current: "1",
      result: "unchanged",
    });
    expect((await cli(["versions", "canary"], { env })).stdout).toMatch(/2 +ready +1\/1.*\n1 +current +1\/1/);
    // It never served: there is nothing to go back to.
    expect((await cli(["rollback", "canary"], { env })).stderr).toContain(
      'no version of model "canary" served before 1; name one: 2',
    );
    expect(await cli(["rollback", "canary", "2"], { env })).toMatchObject({
      code: 0,
      stdout: "canary serves version 2, in place of 1\n",
    });
    expect(await app.predict({})).toBe(2);
  });

  test.each<[string, readonly string[], RegExp]>([
    [
      "the first version of a model",
      [],
      /INVALID_OPTIONS: --no-switch: model first has no version that serves/,
    ],
    ["--dry-run", ["--dry-run"], /--no-switch: --dry-run switches nothing either/],
    ["--watch", ["--watch"], /--no-switch: with --watch each change takes the place/],
  ])("without a switch is refused for %s", async (...[, args, message]) => {
    await write("first.ts", "1");
    const { code, stderr } = await deploy("first.ts", "--no-switch", ...args);
    expect(stderr).toMatch(message);
    expect(code).toBe(2);
    expect((await wj.models()).map(({ name }) => name)).not.toContain("first");
  });

  test("takes what the flags say", async () => {
    await writeFile(
      join(cwd, "flags.mjs"),
      "export const twice = (rows) => rows.map(([x]) => x * 2 + Number(process.env.OFFSET));\n",
    );
    await writeFile(join(cwd, "cases.json"), '[{ "input": [1], "output": 12 }, { "input": [2] }]');
    const flags = [
      ["--name", "flagged", "--version", "v7", "--application", "doubled", "--export", "twice"],
      ["--input-type", "doubles", "--examples", "cases.json", "--tolerance", "0.5", "--env", "OFFSET=10"],
      [
        "--latency-objective",
        "900",
        "--default-output",
        '{"label": null}',
        "--cpus",
        "0.5",
        "--replicas",
        "2",
      ],
      ["--set", 'batching={"policy":"none"}', "--runtime", "process", "--memory", "256"],
    ].flat();
    expect(await deploy("flags.mjs", ...flags)).toMatchObject({ code: 0 });
    const [version] = await wj.versions("flagged");
    expect(version).toMatchObject({
      version: "v7",
      manifest: { inputType: "doubles", environment: { OFFSET: "10" } },
      settings: {
        replicas: 2,
        limits: { cpus: 0.5, memoryMb: 256 },
        batching: { policy: "none" },
        tolerance: 0.5,
        examples: [{ input: [1], output: 12 }, { input: [2] }],
      },
    });
    const application = (await wj.applications()).find(({ name }) => name === "doubled");
    expect(application).toMatchObject({ latencyObjectiveMs: 900, defaultOutput: { label: null } });
  });

  test("of a server elsewhere is by its URL", async () => {
    await deploy(join(DIGITS, "digits.onnx"), "--name", "near-digits");
    const { code, stdout } = await deploy(wj.url, "--name", "far-digits", "--set", 'modelName="near-digits"');
    expect(code).toBe(0);
    expect(await shell(/curl .*/.exec(stdout)?.[0] ?? "")).toMatchObject({ output: { digit: 7 } });
  });

  test("of a folder with a command is served by that program", async () => {
    await writeTemplate("node", join(cwd, "adder"));
    const { code, stdout, stderr } = await deploy("adder", "--command", "node server.mjs");
    expect(stderr).toContain("adder is a folder with a program that serves it");
    expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringContaining("adder version 1 serves") });
    const again = await deploy("adder", "--command", "node server.mjs");
    expect(again.stdout).toContain("unchanged");
    expect(await shell(/curl .*/.exec(stdout)?.[0] ?? "")).toMatchObject({ output: expect.anything() });
  });

  test("without an application says how it gets one", async () => {
    await write("lonely.ts", "1");
    const { code, stdout } = await deploy("lonely.ts", "--no-application");
    expect(code).toBe(0);
    expect(stdout).toContain("windjammer link");
    expect((await wj.applications()).map(({ name }) => name)).not.toContain("lonely");
  });

  test("shows the running stage live where people watch a terminal", async () => {
    await write("live.ts", "1");
    const main = join(import.meta.dirname, "../../../core/cli/main.ts");
    const program = `import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)`;
    const args = ["-c", program, process.execPath, main, "deploy", "live.ts", "--url", wj.adminUrl];
    const { stdout } = await promisify(execFile)("python3", args, {
      cwd,
      env: { ...process.env, TERM: "xterm" },
    });
    expect(stdout).toMatch(/[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏] start/);
    expect(stdout).toContain("\r\u001B[K");
    expect(stdout).toContain("live version 1 serves");
  });
});

describe("a mistake", () => {
  test.each<[string, readonly string[], number, RegExp]>([
    [
      "a file that is not there",
      ["nothing.onnx"],
      1,
      /MODEL_FILE_NOT_FOUND: no file or folder nothing\.onnx/,
    ],
    ["a misspelt one", ["anser.ts"], 1, /did you mean answer\.ts\?/],
    ["another suffix", ["notes.txt"], 1, /INVALID_MODEL_FILE: notes\.txt .*none of the kinds/],
    [
      "a flag that there is not",
      ["answer.ts", "--replica", "2"],
      2,
      /unknown option '--replica'\n\(Did you mean --replicas/,
    ],
    ["an option that there is not", ["answer.ts", "--set", "replica=2"], 2, /did you mean 'replicas'/],
    [
      "an option of another deployer",
      ["answer.ts", "--processing", "x.ts"],
      2,
      /unknown option 'processing'/,
    ],
    ["a value that is none", ["answer.ts", "--default-output", "{"], 2, /expected JSON/],
    ["a package without a version", ["answer.ts", "--package", "lodash"], 2, /lodash@4\.17\.21/],
    ["a range as a version", ["answer.ts", "--package", "lodash@^4"], 2, /lodash needs an exact version/],
    ["examples that are no list", ["answer.ts", "--examples", "notes.txt"], 2, /notes\.txt is not JSON/],
    ["examples that are not there", ["answer.ts", "--examples", "no.json"], 2, /no such file/],
    ["an input type that there is not", ["answer.ts", "--input-type", "images"], 2, /inputType: expected/],
    ["a broken ONNX file", ["broken.onnx"], 1, /INVALID_MODEL_FILE: /],
    [
      "a module without the export",
      ["other.ts"],
      1,
      /no export "predict": it exports "other"; .*--export other/,
    ],
    ["a module that does not compile", ["syntax.ts"], 1, /INVALID_MODEL_FILE: .*syntax\.ts:1/],
    ["a package that is not installed", ["needs.ts"], 1, /PACKAGE_NOT_FOUND: .*`npm install left-pad`/],
    [
      "another runtime",
      ["answer.ts", "--runtime", "docker"],
      2,
      /runs models by its process runtime; start one with/,
    ],
    ["an image on processes", ["spam:3"], 1, /UNSUPPORTED_MODEL: .*docker/i],
    ["--watch with --version", ["answer.ts", "--watch", "--version", "1"], 2, /--version: with --watch/],
    [
      "--watch of a URL",
      ["http://127.0.0.1:1", "--name", "far", "--watch"],
      2,
      /--watch: a server elsewhere/,
    ],
    ["no name to be had", ["http://127.0.0.1:1"], 2, /give one: --name/],
  ])("%s", async (...[, args, code, message]) => {
    await write("answer.ts", "1");
    await writeFile(join(cwd, "notes.txt"), "hello");
    await writeFile(join(cwd, "broken.onnx"), "no model at all");
    await writeFile(join(cwd, "other.ts"), "export const other = 1;\n");
    await writeFile(join(cwd, "syntax.ts"), "export const predict = (=> 1;\n");
    await writeFile(join(cwd, "needs.ts"), 'import pad from "left-pad";\nexport const predict = pad;\n');
    const result = await deploy(...args);
    expect(result.stderr).toMatch(message);
    expect(result).toMatchObject({ code, stdout: "" });
  });

  test("a version that exists with other content names the way out, and with --json is JSON", async () => {
    await write("fixed.ts", "1");
    await deployJson("fixed.ts", "--version", "1");
    await write("fixed.ts", "2");
    const { code, stderr } = await deploy("fixed.ts", "--version", "1", "--json");
    expect(code).toBe(1);
    expect(JSON.parse(stderr)).toMatchObject({ error: "VERSION_EXISTS" });
  });

  test("a model that refuses the made-up input is warned of, once", async () => {
    await writeFile(join(cwd, "picky.ts"), 'export const predict = () => { throw new Error("no"); };\n');
    const { code, stderr } = await deploy("picky.ts");
    expect(code).toBe(0);
    expect(stderr.match(/refused a made-up input/g)).toHaveLength(1);
    expect(stderr).toMatch(/✓ gate .*trying a made-up input/);
  });

  test("a model that gives another output than its example fails at the gate, and the one before serves", async () => {
    await write("gated.ts", "1");
    await deployJson("gated.ts");
    await write("gated.ts", "2");
    await writeFile(join(cwd, "cases.json"), '[{ "input": {}, "output": 1 }]');
    const { code, stderr } = await deploy("gated.ts", "--examples", "cases.json");
    expect(code).toBe(1);
    expect(stderr).toMatch(/✗ gate/);
    expect(stderr).toMatch(/GATE_FAILED: deployment of gated 2 failed at step "gate"/);
    const application = await wj.application<object, number>("gated");
    expect(await application.predict({})).toBe(1);
  });
});

test("Ctrl-C cancels the deployment, and nothing of it is left", async () => {
  await writeFile(
    join(cwd, "slow.ts"),
    "await new Promise((done) => setTimeout(done, 600_000));\nexport const predict = (x: unknown[]) => x;\n",
  );
  const run = startCli(["deploy", "slow.ts"], { env, cwd });
  await expect.poll(run.stderr).toContain("✓ build");
  run.child.kill("SIGINT");
  expect(await run.exited).toBe(130);
  expect(run.stderr()).toContain("cancelling");
  expect((await wj.models()).map(({ name }) => name)).not.toContain("slow");
  const cancelled = (await wj.deployments()).find(({ model }) => model === "slow");
  expect(cancelled).toMatchObject({ state: "failed", error: { code: "DEPLOYMENT_INTERRUPTED" } });
});

test("--watch deploys each good edit; a failing one is told, and the one before serves", async () => {
  await write("watched.ts", "1");
  await writeFile(join(cwd, "cases.json"), '[{ "input": {} }]');
  const run = startCli(["deploy", "watched.ts", "--examples", "cases.json", "--watch", "--json"], {
    env,
    cwd,
  });
  // In one step: nobody sees half of a file.
  const edit = async (text: string): Promise<void> => {
    await writeFile(join(root, "edited"), text);
    await rename(join(root, "edited"), join(cwd, "watched.ts"));
  };
  const lines = (): readonly { readonly version?: string; readonly error?: string }[] =>
    run
      .stdout()
      .split("\n")
      .slice(0, -1)
      .map((line) => JSON.parse(line) as object);
  const count = (n: number): Promise<void> => expect.poll(() => lines().length).toBe(n);
  await count(1);
  const application = await wj.application<object, number>("watched");
  await edit("export const predict = () => { throw new Error('not yet'); };\n");
  await count(2);
  expect(await application.predict({})).toBe(1);
  await edit("export const predict = (inputs: unknown[]) => inputs.map(() => 3);\n");
  await count(3);
  expect(await application.predict({})).toBe(3);
  expect(lines()).toMatchObject([{ version: "1" }, { error: "GATE_FAILED" }, { version: "2" }]);
  run.child.kill("SIGINT");
  expect(await run.exited).toBe(130);
});

describe("--dry-run", () => {
  test("bundles, starts and asks the model, without a server", async () => {
    await write("dry.ts", '{ "tried": true }'.replace(/^/, "(").concat(")"));
    const { code, stdout, stderr } = await cli(["deploy", "dry.ts", "--dry-run"], { cwd });
    expect(stderr).toContain("✓ gate");
    expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringContaining('{"tried":true}') });
    expect(stdout).toContain("nothing was deployed");
  });

  test("says with --json what it found; a folder of TensorFlow is tried as well", async () => {
    await mkdir(join(cwd, "net"));
    await cp(join(DIGITS, "tfjs"), join(cwd, "net"), { recursive: true });
    const found = await cliJson(["deploy", "net", "--dry-run"], { cwd });
    expect(found).toMatchObject({
      isDryRun: true,
      model: "net",
      deployer: "tensorflow",
      inputType: "tensor",
    });
  });

  test("fails as the deployment would", async () => {
    await writeFile(
      join(cwd, "bad.ts"),
      "throw new Error('no weights');\nexport const predict = () => [];\n",
    );
    const { code, stderr } = await cli(["deploy", "bad.ts", "--dry-run"], { cwd });
    expect(code).toBe(1);
    expect(stderr).toMatch(/✗ start[\s\S]*REPLICA_START_FAILED[\s\S]*no weights/);
  });
});
