// What all commands that talk to a server share: how they find it, their errors, exit codes, colours and JSON.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { deployFunction, windjammer, type Windjammer } from "windjammer";
import { createProgram } from "../../../core/cli/program.ts";
import { cli, cliJson, startCli, startOnTerminal } from "../../helpers/cli.ts";
import { tempFolder } from "../../helpers/temp.ts";

const TOKEN = "a-token-for-the-command-line";
let wj: Windjammer;
let env: Record<string, string>;

const fn = (inputs: readonly number[][]): number[] => inputs.map((xs) => xs.length);

beforeAll(async () => {
  wj = await windjammer({ port: 0, adminPort: 0, token: TOKEN });
  env = { WINDJAMMER_URL: wj.adminUrl, WINDJAMMER_TOKEN: TOKEN };
  for (const version of ["1", "2"])
    await deployFunction(wj, {
      name: "length",
      version,
      inputType: "doubles",
      fn,
      latencyObjectiveMs: 5_000,
    });
  await deployFunction(wj, { name: "spare", version: "1", inputType: "doubles", fn, application: null });
});
afterAll(() => wj.close());

async function modelsOnTerminal(variables: Readonly<Record<string, string>>): Promise<string> {
  const run = startOnTerminal(["models"], { env: { ...env, ...variables } });
  expect(await run.exited).toBe(0);
  return run.shown();
}

describe("a command", () => {
  test("finds the server by --url and --token, or by the environment", async () => {
    const flags = await cli(["status", "--url", wj.adminUrl, "--token", TOKEN]);
    expect(flags).toMatchObject({ code: 0, stderr: "" });
    expect(flags.stdout).toContain(wj.url);
    expect(flags.stdout).toContain("2 of 2 ready");
    expect(await cli(["status"], { env })).toMatchObject({ code: 0, stderr: "" });
  });

  test("says that no server answers, where, and how to start one", async () => {
    const { code, stdout, stderr } = await cli(["models", "--url", "http://127.0.0.1:1"]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(/^windjammer: SERVER_UNREACHABLE: cannot reach http:\/\/127\.0\.0\.1:1: .*\n$/);
    expect(stderr).toContain("`windjammer start`");
    expect(stderr).toContain("--url or WINDJAMMER_URL");
  });

  test.each([
    [{}, "set WINDJAMMER_TOKEN to it, or give --token"],
    [{ WINDJAMMER_TOKEN: "another-token-altogether" }, "the one in WINDJAMMER_TOKEN is not it"],
  ])("says what to do about the token: %j", async (variables, hint) => {
    const { code, stderr } = await cli(["apps", "--url", wj.adminUrl], { env: variables });
    expect(code).toBe(1);
    expect(stderr).toMatch(/^windjammer: UNAUTHORIZED: .*\n$/);
    expect(stderr).toContain(hint);
    expect(stderr).not.toContain("another-token");
  });

  test("knows the query API from the management API, and a URL from what is none", async () => {
    const query = await cli(["apps", "--url", wj.url], { env });
    expect([query.code, query.stderr]).toEqual([1, expect.stringContaining("connect to its management API")]);
    const nonsense = await cli(["apps", "--url", "localhost"], { env });
    expect([nonsense.code, nonsense.stderr]).toEqual([
      2,
      expect.stringContaining("INVALID_OPTIONS: url: expected"),
    ]);
  });

  test("prints errors as JSON with --json, those of the command line as well", async () => {
    const unreachable = await cli(["apps", "--json", "--url", "http://127.0.0.1:1"]);
    expect(unreachable).toMatchObject({ code: 1, stdout: "" });
    expect(JSON.parse(unreachable.stderr)).toMatchObject({
      error: "SERVER_UNREACHABLE",
      details: { url: "http://127.0.0.1:1" },
    });
    const mistyped = await cli(["app", "--json"]);
    expect(mistyped).toMatchObject({ code: 2, stdout: "" });
    expect(JSON.parse(mistyped.stderr)).toEqual({
      error: "INVALID_OPTIONS",
      message: "unknown command 'app' (Did you mean apps?)",
      details: {},
    });
  });

  test("that is called wrongly points to its own help, and an unknown one to the list", async () => {
    const wrong = await cli(["scale", "length", "-1"]);
    expect([wrong.code, wrong.stderr]).toEqual([
      2,
      "windjammer: command-argument value '-1' is invalid for argument 'replicas'. expected a whole number.\n(windjammer scale --help says what it takes)\n",
    ]);
    expect((await cli(["scal"])).stderr).toContain("(windjammer --help, or windjammer help COMMAND, lists");
    const help = await cli(["help", "scal"]);
    expect([help.code, help.stdout, help.stderr]).toEqual([2, "", (await cli(["scal"])).stderr]);
  });

  test("suggests the model that was meant", async () => {
    const { code, stderr } = await cli(["versions", "lenght"], { env });
    expect(code).toBe(1);
    expect(stderr).toContain('MODEL_NOT_FOUND: no model named "lenght"; did you mean "length"?');
  });

  test("colours only where it is asked to when nobody watches a terminal", async () => {
    // oxlint-disable-next-line no-control-regex
    const escape = /\u001B\[/;
    expect((await cli(["models"], { env })).stdout).not.toMatch(escape);
    expect((await cli(["models"], { env: { ...env, FORCE_COLOR: "1" } })).stdout).toMatch(escape);
    expect((await cli(["models"], { env: { ...env, NO_COLOR: "1" } })).stdout).not.toMatch(escape);
    expect((await cli(["models", "--json"], { env: { ...env, FORCE_COLOR: "1" } })).stdout).not.toMatch(
      escape,
    );
  });

  test.runIf(process.platform === "linux")("colours on a terminal, unless NO_COLOR is set", async () => {
    // oxlint-disable-next-line no-control-regex
    expect(await modelsOnTerminal({})).toMatch(/\u001B\[1mlength/);
    // oxlint-disable-next-line no-control-regex
    expect(await modelsOnTerminal({ NO_COLOR: "1" })).not.toMatch(/\u001B/);
  });

  test("ends in peace when nobody reads what it prints", async () => {
    const run = startCli(["models"], { env });
    run.child.stdout?.destroy();
    expect([await run.exited, run.stderr()]).toEqual([0, ""]);
  });

  test("stands in a group of the help that says what it is for", async () => {
    const help = (await createProgram(false)).helpInformation();
    const groups = [...help.matchAll(/^([A-Z][^\n]*):\n((?: {2}.*\n)+)/gm)].map(([, title, rows = ""]) => [
      title,
      [...rows.matchAll(/^ {2}(?! )(\S+)/gm)].map(([, name]) => name),
    ]);
    expect(groups.map(([title]) => title)).not.toContain("Commands");
    expect(groups).toContainEqual(["This command line", ["completion", "help"]]);
    expect(groups.slice(1).flatMap(([, names]) => names)).toHaveLength(
      (await createProgram(false)).commands.length + 1,
    );
  });

  test("prints its help without a server, and each of its options with what it does", async () => {
    for (const command of (await createProgram(false)).commands) {
      expect(command.description()).not.toBe("");
      for (const option of command.options) expect(option.description).not.toBe("");
      const flags = command.options.map(({ long }) => long);
      if (command.name() !== "start")
        expect([command.name(), flags]).toEqual([command.name(), expect.arrayContaining(["--json"])]);
    }
    const { code, stdout } = await cli(["help", "versions"]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/Usage: windjammer versions \[options\] <model>/);
    expect(stdout).toContain("(default: WINDJAMMER_URL, or");
  });
});

test("init says what is in the way of its folder", async () => {
  const cwd = await tempFolder();
  await writeFile(join(cwd, "taken"), "");
  expect(await cli(["init", "container", "taken"], { cwd })).toEqual({
    code: 2,
    stdout: "",
    stderr: expect.stringMatching(
      /^windjammer: INVALID_OPTIONS: \S+taken cannot become a folder: EEXIST.*; name another\n$/,
    ),
  });
});

test("commands that write files say in JSON what they made", async () => {
  const folder = await tempFolder();
  expect(await cliJson(["init", "container", "mine"], { cwd: folder })).toEqual({
    folder: join(folder, "mine"),
    files: expect.arrayContaining(["model.mjs", "server.mjs"]),
    command: ["node", "server.mjs"],
  });
  const labels = await cliJson(["clipper-labels", "--metric-config", join(folder, "metrics.yml")]);
  expect(labels).toMatchObject({ "ai.clipper.container.label": "default-cluster" });
});

describe("windjammer status", () => {
  test("is a document for programs", async () => {
    expect(await cliJson(["status"], { env })).toMatchObject({
      url: wj.adminUrl,
      queryUrl: wj.url,
      runtime: "process",
      applications: 1,
      models: 2,
      deploying: [],
      replicas: { ready: 2, all: 2 },
      troubled: [],
    });
  });

  test("tells a newcomer what to do next", async () => {
    await using empty = await windjammer({ port: 0, adminPort: 0 });
    const { stdout } = await cli(["status", "--url", empty.adminUrl]);
    expect(stdout).toContain("nothing is deployed yet: windjammer deploy --help");
  });
});

describe("windjammer apps, models and versions", () => {
  test("list what there is", async () => {
    const apps = await cli(["apps"], { env });
    expect(apps.stdout).toMatch(/^APPLICATION +INPUT +MODEL +VERSION +OBJECTIVE +URL\n/);
    expect(apps.stdout).toMatch(
      new RegExp(`\nlength +doubles +length +2 +5\\.00 s +${wj.url}/length/predict\n$`),
    );
    const models = await cli(["models"], { env });
    expect(models.stdout).toMatch(/\nlength +2 +2 +1\/1 +length\n/);
    expect(models.stdout).toMatch(/\nspare +1 +1 +1\/1 +-\n$/);
    const versions = await cli(["versions", "length"], { env });
    expect(versions.stdout).toMatch(/\n2 +current +1\/1 +doubles +function +.* ago +[0-9a-f]{12}\n/);
    expect(versions.stdout).toMatch(/\n1 +stopped +0\/0 +doubles/);
  });

  test("are documents for programs", async () => {
    expect(await cliJson(["apps"], { env })).toEqual([
      {
        name: "length",
        inputType: "doubles",
        latencyObjectiveMs: 5000,
        url: `${wj.url}/length/predict`,
        model: "length",
        version: "2",
      },
    ]);
    expect(await cliJson(["models"], { env })).toEqual([
      {
        name: "length",
        currentVersion: "2",
        versions: 2,
        applications: ["length"],
        replicas: { ready: 1, desired: 1 },
      },
      expect.objectContaining({ name: "spare", applications: [] }),
    ]);
    expect(await cliJson(["versions", "length"], { env })).toMatchObject([
      { version: "2", isCurrent: true },
      { version: "1", isCurrent: false },
    ]);
  });

  test("say when there is nothing", async () => {
    await using empty = await windjammer({ port: 0, adminPort: 0 });
    expect((await cli(["models", "--url", empty.adminUrl])).stdout).toContain("no models yet");
    expect(await cliJson(["models", "--url", empty.adminUrl])).toEqual([]);
    expect((await cli(["apps", "--url", empty.adminUrl])).stdout).toContain("no applications yet");
  });
});
