// `windjammer apply` and `windjammer start --config` as processes of their own, against real servers.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { windjammer, type Windjammer } from "windjammer";
import { cli, type CliResult, cliJson, startCli, startOnTerminal } from "../../helpers/cli.ts";
import { passing } from "../../helpers/passing.ts";

const INDEX = pathToFileURL(join(import.meta.dirname, "../../../dist/deployers/index.js")).href;
let root: string;
let cwd: string;
let wj: Windjammer;
let env: Record<string, string>;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "wj-apply-"));
});
afterAll(() => rm(root, { recursive: true, force: true }));
beforeEach(async () => {
  cwd = await mkdtemp(join(root, "x-"));
  wj = await windjammer({ port: 0, adminPort: 0 });
  env = { WINDJAMMER_URL: wj.adminUrl };
  await write("one.ts", "1");
  await write("two.ts", "2");
  return () => wj.close();
});

const write = (name: string, value: string): Promise<void> =>
  writeFile(join(cwd, name), `export const predict = (inputs: unknown[]) => inputs.map(() => ${value});\n`);

/** The text of an object literal. */
const config = (text: string): Promise<void> =>
  writeFile(
    join(cwd, "windjammer.config.ts"),
    `import { defineConfig } from "${INDEX}";\nexport default defineConfig(${text});\n`,
  );

const apply = (...args: readonly string[]): Promise<CliResult> => cli(["apply", ...args], { env, cwd });

interface Applied {
  readonly isApplied: boolean;
  readonly plan: readonly {
    readonly action: string;
    readonly what: string;
    readonly name: string;
    readonly changes: readonly string[];
  }[];
}

/** "create model one". */
async function applied(...args: readonly string[]): Promise<readonly string[]> {
  const { plan } = await cliJson<Applied>(["apply", ...args], { env, cwd });
  return plan.map(({ action, what, name }) => `${action} ${what} ${name}`);
}

describe("apply", () => {
  test("prints the plan first, carries it out, and then has nothing to do", async () => {
    await config(`{
      models: { one: { source: "one.ts", replicas: 2, latencyObjectiveMs: 90_000 }, two: { source: "two.ts" } },
      applications: { second: { model: "two", defaultOutput: null } },
    }`);
    const plan = await apply("--plan");
    expect(plan.code).toBe(0);
    expect(plan.stderr).toMatch(/\+ create +model +one +version 1; a module\n.*\+ create +model +two/);
    expect(plan.stdout).toBe("plan: 4 to create, 0 to update, 0 unchanged, 0 to delete\n");
    expect(await wj.models()).toEqual([]);

    expect(await apply("--yes")).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("applied: 4 to create"),
    });
    const links = (await wj.links()).map(({ application, model }) => [application, model]);
    expect(Object.fromEntries(links)).toEqual({ one: "one", second: "two" });
    expect(await (await wj.application<object, number>("second")).predict({})).toBe(2);
    expect((await wj.versions("one"))[0]?.settings.replicas).toBe(2);

    const again = await apply("--yes");
    expect(again).toMatchObject({ code: 0, stdout: expect.stringMatching(/^nothing to do: .*4 unchanged/) });
    expect(await wj.deployments()).toHaveLength(2);
  });

  test("updates what has changed, and only that; what the file leaves out stays", async () => {
    await config(
      `{ models: { one: { source: "one.ts", latencyObjectiveMs: 90_000 }, two: { source: "two.ts" } } }`,
    );
    await apply("--yes");
    await write("one.ts", "11");
    await config(
      `{ models: { one: { source: "one.ts", latencyObjectiveMs: 80_000 }, two: { source: "two.ts" } } }`,
    );
    expect(await applied("--yes")).toEqual([
      "update model one",
      "unchanged model two",
      "update application one",
      "unchanged application two",
    ]);
    expect(await (await wj.application<object, number>("one")).predict({})).toBe(11);
    await config(
      `{ models: { one: { source: "one.ts", memoryMb: 300 } }, applications: { other: { model: "two" } } }`,
    );
    const { stderr } = await apply("--plan");
    expect(stderr).toMatch(/~ update +model +one +version 2 → 3 \(other settings\); memoryMb none → 300/);
    expect(await applied("--yes")).toEqual([
      "update model one",
      "create application other",
      "unchanged application one",
    ]);
    const one = (await wj.applications()).find(({ name }) => name === "one");
    expect(one).toMatchObject({ latencyObjectiveMs: 80_000 });
  });

  test("shows which settings a new version does not have, since the file leaves them out", async () => {
    await config(
      `{ models: { one: { source: "one.ts", memoryMb: 300, examples: [{ input: {}, output: 1 }] } } }`,
    );
    await apply("--yes");
    await config(`{ models: { one: { source: "one.ts" } } }`);
    expect(await applied("--yes")).toEqual(["unchanged model one", "unchanged application one"]);
    await write("one.ts", "11");
    const { stderr } = await apply("--plan");
    expect(stderr).toContain("version 1 → 2 (other content); memoryMb 300 → none; examples");
    await apply("--yes");
    const { settings } = await wj.version("one", "2");
    expect(settings).toMatchObject({ limits: { cpus: 1 }, examples: [] });
    expect(settings.limits).not.toHaveProperty("memoryMb");
  });

  test("deletes what the file does not name with --prune only", async () => {
    await config(`{ models: { one: { source: "one.ts" }, two: { source: "two.ts" } } }`);
    await apply("--yes");
    await config(`{ models: { one: { source: "one.ts" } } }`);
    const without = await apply("--yes");
    expect(without.stderr).toContain(
      "left alone, since the file does not name them (--prune deletes them): application two, model two",
    );
    expect(await wj.models()).toHaveLength(2);
    expect(await applied("--yes", "--prune")).toEqual([
      "unchanged model one",
      "unchanged application one",
      "delete application two",
      "delete model two",
    ]);
    expect((await wj.models()).map(({ name }) => name)).toEqual(["one"]);
  });

  test("keeps with --prune a model of the server that the file only links", async () => {
    await config(`{ models: { one: { source: "one.ts" } } }`);
    await apply("--yes");
    await config(`{ applications: { other: { model: "one" } } }`);
    const rows = await applied("--yes", "--prune");
    expect(rows).toContain("delete application one");
    expect(rows).not.toContain("delete model one");
    expect((await wj.models()).map(({ name }) => name)).toEqual(["one"]);
  });

  test("refuses wrong settings of a model's application before anything is changed", async () => {
    await config(`{ models: { one: { source: "one.ts", latencyObjectiveMs: "50" } } }`);
    const { code, stderr } = await apply("--yes");
    expect(code).toBe(2);
    expect(stderr).toContain("models.one.latencyObjectiveMs");
    expect(await wj.models()).toEqual([]);
  });

  test("stops at a step that fails, says where, and leaves the rest as it was", async () => {
    await config(
      `{ models: { one: { source: "one.ts" }, two: { source: "two.ts", examples: [{ input: {}, output: 2 }] } } }`,
    );
    await apply("--yes");
    await write("one.ts", "11");
    await write("two.ts", "22");
    await config(`{
      models: { one: { source: "one.ts" }, two: { source: "two.ts", examples: [{ input: {}, output: 2 }] } },
      applications: { late: { model: "one" }, one: { model: "one" }, },
    }`);
    const { code, stderr } = await apply("--yes", "--json");
    expect(code).toBe(1);
    expect(JSON.parse(stderr)).toMatchObject({
      error: "GATE_FAILED",
      message: expect.stringContaining("stopped at update model two"),
      details: { done: ["update model one"], left: ["create application late"] },
    });
    expect(await (await wj.application<object, number>("one")).predict({})).toBe(11);
    expect(await (await wj.application<object, number>("two")).predict({})).toBe(2);
    expect(await wj.applications()).toHaveLength(2);
  });

  describe("that lets another model answer, and fails after the former link is gone,", () => {
    beforeEach(async () => {
      await config(`{
        models: { one: { source: "one.ts", application: null } },
        applications: { served: { model: "one", defaultOutput: "former" } },
      }`);
      expect(await apply("--yes")).toMatchObject({ code: 0 });
      await config(`{
        models: { two: { source: "two.ts", application: null, inputType: "doubles" } },
        applications: { served: { model: "two", latencyObjectiveMs: 70_000 } },
      }`);
    });

    test.each<[string, string, string, () => Promise<void>]>([
      [
        "as the model to link was deleted",
        "PUT /api/v1/applications/served/links/two",
        "MODEL_NOT_FOUND",
        () => wj.deleteModel("two"),
      ],
      [
        "as somebody linked the former model again",
        "PUT /api/v1/applications/served",
        "INVALID_REQUEST",
        () => wj.link("served", "one"),
      ],
    ])("%s, puts back the former settings and link", async (...[, call, code, meanwhile]) => {
      const before = await wj.applications();
      env = { WINDJAMMER_URL: await passing(wj.adminUrl, { call, meanwhile }) };
      const run = await apply("--yes", "--json");
      expect(JSON.parse(run.stderr)).toMatchObject({
        error: code,
        message: expect.stringContaining("application served is as it was, answered by one"),
        details: { stoppedAt: "update application served" },
      });
      expect(run.code).toBe(1);
      expect(await wj.applications()).toEqual(before);
      expect(await (await wj.application<object, number>("served")).predict({})).toBe(1);
    });

    test("says what is to be done when the former link cannot be put back either", async () => {
      const call = "PUT /api/v1/applications/served/links/two";
      const meanwhile = (): Promise<void> => wj.close();
      env = { WINDJAMMER_URL: await passing(wj.adminUrl, { call, meanwhile }) };
      const { code, stderr } = await apply("--yes");
      expect(stderr).toMatch(
        /application served could not be put back as it was \(.*windjammer link served one/s,
      );
      expect(code).toBe(1);
    });

    test("removes an application again that it made and cannot link", async () => {
      await config(`{ models: { two: { source: "two.ts" } } }`);
      const call = "PUT /api/v1/applications/two/links/two";
      env = {
        WINDJAMMER_URL: await passing(wj.adminUrl, { call, meanwhile: () => wj.deleteModel("two") }),
      };
      const { stderr } = await apply("--yes");
      expect(stderr).toContain("application two was removed again");
      expect((await wj.applications()).map(({ name }) => name)).toEqual(["served"]);
    });
  });

  // Elsewhere script(1) has other options.
  describe.runIf(process.platform === "linux")("asks on a terminal whether to carry the plan out,", () => {
    const question = "carry it out? [y/N] ";

    test.each<[string, string, number, RegExp, boolean]>([
      ["y", "y\r", 0, /applied: 2 to create/, true],
      ["yes in capitals", "YES\r", 0, /applied: 2 to create/, true],
      ["n", "n\r", 0, /nothing was changed/, false],
      ["something else", "why?\r", 0, /nothing was changed/, false],
      ["nothing", "\r", 0, /nothing was changed/, false],
      ["Ctrl-D", "\u0004", 0, /\r\nnothing was changed/, false],
      ["Ctrl-C", "\u0003", 130, /\r\nnothing was changed/, false],
    ])("and takes %s", async (...[, keys, code, shown, isApplied]) => {
      await config(`{ models: { one: { source: "one.ts" } } }`);
      const run = startOnTerminal(["apply"], { env, cwd });
      await expect.poll(run.shown).toContain(question);
      // The plan stands above the question.
      expect(run.shown().indexOf("create")).toBeLessThan(run.shown().indexOf(question));
      run.type(keys);
      expect(await run.exited).toBe(code);
      expect(run.shown()).toMatch(shown);
      expect((await wj.models()).map(({ name }) => name)).toEqual(isApplied ? ["one"] : []);
    });
  });

  test("asks nobody where nobody is", async () => {
    await config(`{ models: { one: { source: "one.ts" } } }`);
    const { code, stderr } = await apply();
    expect({ code, models: await wj.models() }).toEqual({ code: 2, models: [] });
    expect(stderr).toContain("add --yes");
  });

  test("takes a JSON file by --config, with paths that start at its folder", async () => {
    await writeFile(join(cwd, "my.json"), JSON.stringify({ models: { one: { source: "./one.ts" } } }));
    const run = await cli(["apply", "--yes", "--config", join(cwd, "my.json")], { env, cwd: root });
    expect(run).toMatchObject({ code: 0, stdout: expect.stringContaining("2 to create") });
  });
});

describe("a config file that is wrong is refused before anything is done, by its field", () => {
  test.each<[string, string, RegExp]>([
    [
      "an unknown field",
      "{ model: {} }",
      /windjammer\.config\.ts: unknown field 'model'; did you mean 'models'\?/,
    ],
    ["a bad name", '{ models: { "Bad Name": { source: "one.ts" } } }', /models\.Bad Name: /],
    ["no source", "{ models: { one: {} } }", /models\.one\.source: expected string, got nothing/],
    ["a kind that there is not", '{ models: { one: { source: "one.ts", as: "x" } } }', /models\.one\.as: /],
    [
      "a source that is not there",
      '{ models: { one: { source: "on.ts" } } }',
      /models\.one: no file or folder on\.ts: did you mean one\.ts\?/,
    ],
    [
      "an option of another type",
      '{ models: { one: { source: "one.ts", replicas: "2" } } }',
      /models\.one: replicas: expected/,
    ],
    [
      "a deployment without a switch",
      '{ models: { one: { source: "one.ts", switch: false } } }',
      /models\.one\.switch: .*what the file declares serves/,
    ],
    [
      "no switch among a deployer's own options",
      '{ models: { one: { source: "one.ts", options: { switch: false } } } }',
      /models\.one\.options\.switch: .*what the file declares serves/,
    ],
    [
      "a misspelt option",
      '{ models: { one: { source: "one.ts", replica: 2 } } }',
      /models\.one: unknown option 'replica'; did you mean 'replicas'/,
    ],
    [
      "an application of no model",
      '{ applications: { a: { model: "none" } } }',
      /applications\.a\.model: no model "none"/,
    ],
    ["an application without a model", "{ applications: { a: {} } }", /applications\.a\.model: expected/],
    [
      "a setting of no application",
      '{ models: { one: { source: "one.ts", application: null, defaultOutput: 1 } } }',
      /models\.one\.defaultOutput belongs to an application/,
    ],
    [
      "an application twice",
      '{ models: { one: { source: "one.ts", application: "two" }, two: { source: "two.ts" } } }',
      /application two is declared by models\.two and elsewhere/,
    ],
    ["a server option", "{ server: { prot: 1 } }", /server: unknown option 'prot'; did you mean 'port'\?/],
    [
      "a model that does not compile",
      '{ models: { one: { source: "bad.ts" } } }',
      /models\.one: .*bad\.ts:1/,
    ],
  ])("%s", async (...[, text, message]) => {
    await config(text);
    await writeFile(join(cwd, "bad.ts"), "export const predict = (=> 1;\n");
    const { code, stderr } = await apply("--yes");
    expect(stderr).toMatch(message);
    expect(code).toBeGreaterThan(0);
    expect(await wj.models()).toEqual([]);
  });

  test("none at all says what was looked for", async () => {
    const { code, stderr } = await apply("--yes");
    expect(code).toBe(1);
    expect(stderr).toMatch(/no config file in .*: looked for windjammer\.config\.ts, .*json/);
  });

  test("one that throws, and one without a default export", async () => {
    await writeFile(join(cwd, "windjammer.config.ts"), 'throw new Error("no luck");\n');
    expect((await apply()).stderr).toContain("windjammer.config.ts does not load: Error: no luck");
    await writeFile(join(cwd, "windjammer.config.ts"), "export const models = {};\n");
    expect((await apply()).stderr).toContain("no default export");
  });

  test("a version that exists with other content, and settings that cannot change", async () => {
    await config(`{ models: { one: { source: "one.ts", version: "1" } } }`);
    expect(await apply("--yes")).toMatchObject({ code: 0 });
    await config(`{ models: { one: { source: "one.ts", version: "1", cpus: 0.5 } } }`);
    expect((await apply("--yes")).stderr).toContain("serving with another cpus");
    await write("one.ts", "11");
    expect((await apply("--yes")).stderr).toMatch(/VERSION_EXISTS: models\.one\.version: version 1/);
  });
});

test("start --config takes the server options of the file, and flags count before it", async () => {
  await config(
    `{ server: { port: 0, adminPort: 0, maxInputs: 7, maxQueueLength: 9, stateDir: "state", logLevel: "silent", serverName: "mine" } }`,
  );
  const run = startCli(["start", "--config", "windjammer.config.ts", "--max-inputs", "5"], { cwd });
  await expect.poll(() => run.stdout() + run.stderr()).toContain("/health/ready");
  expect(run.stdout()).toContain(join(cwd, "state"));
  const [query = "", admin = ""] = run.stdout().match(/http:\/\/[\d.]+:\d+/g) ?? [];
  expect(await (await fetch(`${admin}/api/v1/server`)).json()).toMatchObject({ limits: { maxInputs: 5 } });
  expect(await (await fetch(`${query}/v2`)).json()).toMatchObject({ name: "mine" });
  run.child.kill("SIGINT");
  expect(await run.exited).toBe(0);
});
