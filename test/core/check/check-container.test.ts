// The checks of a model container: the templates pass them, and each finds the server that has its fault.
import { readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { checkContainer } from "../../../core/check/check-container.ts";
import { reportText, type CheckOutcome, type CheckReport } from "../../../core/check/report.ts";
import { writeTemplate, type TemplateName } from "../../../core/cli/init.ts";
import { InvalidOptionsError } from "../../../core/errors.ts";
import { processRuntime } from "../../../core/runtimes/process/index.ts";
import { foreignServer, json, VECTORS, type ServerScript } from "../../helpers/foreign-servers.ts";
import { cli as runCli, type CliResult, startCli } from "../../helpers/cli.ts";
import { isRunning } from "../../helpers/processes.ts";
import { freePort } from "../../helpers/free-ports.ts";
import { hasProgram } from "../../helpers/programs.ts";
import { tempFolder } from "../../helpers/temp.ts";

const ROOT = join(import.meta.dirname, "../../..");
const SETTINGS = { model: "m", readyTimeoutMs: 20_000, calls: 300, report: () => {} };

async function checkCommand(
  command: readonly string[],
  folder: string,
  more: Partial<typeof SETTINGS> = {},
): Promise<CheckReport> {
  const source = { kind: "command", command } as const;
  const target = { shown: command.join(" "), source, folder, runtime: processRuntime() };
  return checkContainer(target, { ...SETTINGS, ...more });
}

async function checkServer(script: ServerScript): Promise<Readonly<Record<string, CheckOutcome>>> {
  const { url } = await foreignServer(script);
  const source = { kind: "url", urls: [url] } as const;
  return outcomes(
    await checkContainer({ shown: url, source, folder: ".", runtime: processRuntime() }, SETTINGS),
  );
}

function outcomes({ checks }: CheckReport): Readonly<Record<string, CheckOutcome>> {
  return Object.fromEntries(checks.map(({ name, outcome }) => [name, outcome]));
}

async function template(name: TemplateName): Promise<string> {
  const folder = join(await tempFolder(), name);
  await writeTemplate(name, folder);
  if (name === "express") await symlink(join(ROOT, "node_modules"), join(folder, "node_modules"));
  return folder;
}

const NAMES = [
  "starts",
  "ready in time",
  "live",
  "metadata",
  "infer JSON",
  "infer binary",
  "batch of 1",
  "batch of 64",
  "wrong shape",
  "wrong type",
  "garbage",
  "parallel calls",
  "memory",
  "drain on SIGTERM",
];

describe("a template", () => {
  it.for<[TemplateName, readonly string[]]>([
    ["node", ["node", "server.mjs"]],
    ["express", ["node", "server.mjs"]],
    ["python", ["python3", "server.py"]],
  ])("passes every check: %s", async ([name, command], context) => {
    const [program = ""] = command;
    if (!hasProgram(program, "--version")) context.skip(`this machine has no ${program}`);
    const report = await checkCommand(command, await template(name));
    expect(reportText(report)).not.toMatch(/^(?:FAIL|warn|skip)/m);
    expect(report.checks.map((check) => check.name)).toEqual(NAMES);
    expect(report.isFit).toBe(true);
  });

  it("is not written over what is there", async () => {
    const folder = await tempFolder();
    await writeFile(join(folder, "mine.txt"), "");
    await expect(writeTemplate("node", folder)).rejects.toThrow(InvalidOptionsError);
  });

  it("works on a port alone, too", async () => {
    const folder = await template("node");
    const text = 'delete process.env.WINDJAMMER_SOCKET;\nawait import("./server.mjs");\n';
    await writeFile(join(folder, "on-port.mjs"), text);
    expect((await checkCommand(["node", "on-port.mjs"], folder)).isFit).toBe(true);
  });
});

describe("a program", () => {
  it("that is not there, ends at once, or never listens, fails by name and with its last words", async () => {
    const folder = await tempFolder();
    const missing = await checkCommand(["no-such-program"], folder);
    expect(missing.checks).toMatchObject([{ name: "starts", outcome: "fail" }]);
    expect(missing.checks[0]?.got).toContain("no program no-such-program");
    const ends = await checkCommand(
      ["node", "-e", "console.error('out of cheese'); process.exit(3)"],
      folder,
    );
    expect(ends.checks.at(-1)).toMatchObject({ name: "ready in time", outcome: "fail" });
    expect(ends.checks.at(-1)?.got).toMatch(/exited with code 3 before it was ready: out of cheese/);
    const mute = await checkCommand(["node", "-e", "setInterval(() => {}, 1000)"], folder, {
      readyTimeoutMs: 500,
    });
    expect(mute.checks.at(-1)?.got).toContain("was not ready within 500 ms");
    expect(mute.isFit).toBe(false);
  });

  it("that keeps what it is sent fails the memory check", async () => {
    const folder = await template("node");
    await writeFile(
      join(folder, "leaks.mjs"),
      'import { createServer } from "node:http";\nconst kept = [];\n' +
        "const emit = Object.getPrototypeOf(createServer()).emit;\n" +
        "Object.getPrototypeOf(createServer()).emit = function (name, ...rest) {\n" +
        '  if (name === "request") kept.push(Buffer.alloc(2 ** 18, 1));\n  return emit.call(this, name, ...rest);\n};\n' +
        'await import("./server.mjs");\n',
    );
    expect(outcomes(await checkCommand(["node", "leaks.mjs"], folder))).toMatchObject({
      "batch of 64": "ok",
      memory: "fail",
    });
  });

  it("that ends at SIGTERM in the middle of a call fails the drain, and one that ignores it too", async () => {
    const folder = await template("node");
    await writeFile(
      join(folder, "rude.mjs"),
      'process.on = (on => (name, ...rest) => (name === "SIGTERM" ? process : on.call(process, name, ...rest)))(process.on);\n' +
        'await import("./slow.mjs");\n',
    );
    await writeFile(join(folder, "slow.mjs"), 'await import("./server.mjs");\n');
    await writeFile(
      join(folder, "model.mjs"),
      'export const inputs = [{ name: "x", datatype: "FP32", shape: [2] }];\n' +
        'export const outputs = [{ name: "sum", datatype: "FP32", shape: [] }];\n' +
        "export const load = () => 1;\n" +
        "export const predict = async (_, { x }) => {\n" +
        "  if (x.length === 64) await new Promise((resolve) => setTimeout(resolve, 1500));\n" +
        "  return { sum: x.map(([a]) => a) };\n};\n",
    );
    expect(outcomes(await checkCommand(["node", "rude.mjs"], folder))["drain on SIGTERM"]).toBe("fail");
    const polite = await checkCommand(["node", "slow.mjs"], folder);
    expect(polite.checks.at(-1)).toMatchObject({ name: "drain on SIGTERM", outcome: "ok" });
  });
});

describe("a server elsewhere", () => {
  it("passes; what only its owner can see is skipped by name", async () => {
    const found = await checkServer({});
    expect(Object.keys(found)).toEqual(NAMES);
    expect(found).toMatchObject({
      "infer JSON": "ok",
      "infer binary": "skip",
      "batch of 64": "ok",
      memory: "skip",
      "drain on SIGTERM": "skip",
    });
  });

  it.each<[string, CheckOutcome, ServerScript]>([
    ["live", "warn", { answers: { "GET /v2/health/live": json({}, 404) } }],
    ["metadata", "warn", { answers: { "GET /v2/models/m": json({ name: "m", inputs: [], outputs: [] }) } }],
    ["infer JSON", "fail", { infer: () => json({ error: "no" }, 500) }],
    ["infer JSON", "fail", { infer: () => json({ outputs: [] }) }],
    [
      "infer binary",
      "fail",
      {
        answers: { "GET /v2": json({ extensions: ["binary_tensor_data"] }) },
        infer: ({ headerLength }) =>
          json({
            outputs: [
              { ...VECTORS.outputs[0], shape: [1, 2], data: headerLength === undefined ? [1, 2] : [3, 4] },
            ],
          }),
      },
    ],
    [
      "batch of 64",
      "fail",
      {
        infer: ({ text }) => {
          const { inputs } = JSON.parse(text) as { inputs: { shape: number[]; data: number[] }[] };
          const [{ shape, data } = { shape: [], data: [] }] = inputs;
          return json({ outputs: [{ name: "y", datatype: "FP32", shape, data: data.toReversed() }] });
        },
      },
    ],
    ["wrong shape", "warn", {}],
    ["garbage", "warn", {}],
  ])("has its fault found: %s → %s", async (name, outcome, script) => {
    expect((await checkServer(script))[name]).toBe(outcome);
  });

  it("that answers nothing is told so once, not by every check", async () => {
    const found = await checkServer({ infer: () => json({ error: "no" }, 500) });
    expect(found).toMatchObject({ "batch of 1": "fail", "batch of 64": "skip", "parallel calls": "skip" });
  });

  it("whose tensors JSON cannot hold is tried in binary", async () => {
    const half = [{ name: "x", datatype: "FP16", shape: [-1, 2] }];
    const outputs = [{ name: "y", datatype: "FP16", shape: [-1, 2] }];
    const found = await checkServer({
      answers: {
        "GET /v2": json({ extensions: ["binary_tensor_data"] }),
        "GET /v2/models/m": json({ name: "m", inputs: half, outputs }),
      },
    });
    expect(found["infer JSON"]).toBe("skip");
  });

  it("that mixes up the answers of parallel calls fails that check", async () => {
    let last: number[] = [];
    const found = await checkServer({
      infer: async ({ text }) => {
        const { inputs } = JSON.parse(text) as { inputs: { shape: number[]; data: number[] }[] };
        const [{ shape, data } = { shape: [0], data: [] }] = inputs;
        last = data;
        await new Promise((resolve) => setTimeout(resolve, 30));
        return json({ outputs: [{ name: "y", datatype: "FP32", shape, data: last }] });
      },
    });
    expect(found["batch of 64"]).toBe("ok");
    expect(found["parallel calls"]).toBe("fail");
  });
});

const cli = (...args: readonly string[]): Promise<CliResult> => runCli(["check-container", ...args]);

describe("windjammer check-container", () => {
  it("prints a line a check and ends with 0, or with 1 when it is not fit", async () => {
    const folder = await template("node");
    const good = await cli("node server.mjs", "--folder", folder, "--calls", "50");
    expect(good).toMatchObject({ code: 0, stderr: "" });
    expect(good.stdout).toMatch(/^ok {4}batch of 64 +64 answers/m);
    expect(good.stdout).toContain("node server.mjs is fit to be deployed: 14 ok");
    const bad = await cli("node -e 'process.exit(4)'");
    expect(bad.code).toBe(1);
    expect(bad.stdout).toContain("FAIL  ready in time");
  });

  it("prints JSON for programs", async () => {
    const folder = await template("node");
    const { code, stdout } = await cli("node server.mjs", "--folder", folder, "--calls", "50", "--json");
    const report = JSON.parse(stdout) as CheckReport;
    expect(code).toBe(0);
    expect(report).toMatchObject({ target: "node server.mjs", isFit: true });
    expect(report.checks.map(({ name }) => name)).toEqual(NAMES);
  });

  it("asks for a version of the server's own by --model-version", async () => {
    const path = "/v2/models/m/versions/2";
    const answers = { [`GET ${path}`]: json({ name: "m", ...VECTORS }), [`GET ${path}/ready`]: json({}) };
    const server = await foreignServer({ answers });
    const { stdout } = await cli(server.url, "--model-name", "m", "--model-version", "2", "--calls", "5");
    expect(stdout).toContain("ready in time");
    expect(server.asked).toContain(`POST ${path}/infer`);
    expect(server.asked.filter((each) => each.endsWith("/m/infer"))).toEqual([]);
  });

  it("says at once that nobody listens at a URL, and waits for it where a time is given", async () => {
    const url = `http://127.0.0.1:${await freePort()}`;
    const { code, stdout } = await cli(url);
    expect(code).toBe(1);
    expect(stdout).toMatch(
      /^FAIL {2}starts {2}nothing listens at \S+ \(ECONNREFUSED\); start the server first, or/,
    );
    const waited = await cli(url, "--ready-timeout", "50");
    expect(waited.stderr).toContain(`nothing listens at ${url} yet (ECONNREFUSED); waiting up to 50 ms`);
    expect(waited.stdout).toMatch(
      /^ok {4}starts +waited for at .*\nFAIL {2}ready in time .*was not ready within 50 ms/,
    );
  });

  it("takes a path that leads nowhere for no image", async () => {
    const engine = { DOCKER_HOST: "unix:///nowhere.sock" };
    expect((await runCli(["check-container", "nowhere"], { env: engine })).stderr).toMatch(
      /^nowhere is no file or folder here: taken for an image\nwindjammer: ENGINE_UNREACHABLE/,
    );
    const { stderr, code } = await cli("./nowhere");
    expect(stderr).toMatch(/^windjammer: .* is no file or folder here, and no name of an image/);
    expect(code).toBe(1);
  });

  it("ends with 130 on Ctrl-C, and with it what it has started", async () => {
    const folder = await tempFolder();
    const program = `require("fs").writeFileSync("pid", String(process.pid)); setInterval(() => {}, 1000)`;
    await writeFile(join(folder, "silent.cjs"), program);
    const run = startCli(["check-container", "node silent.cjs", "--folder", folder]);
    const pidOf = (): Promise<number> => readFile(join(folder, "pid"), "utf8").then(Number, () => 0);
    await expect.poll(pidOf).toBeGreaterThan(0);
    run.child.kill("SIGINT");
    expect([await run.exited, run.stdout(), run.stderr()]).toEqual([130, "", ""]);
    expect(isRunning(await pidOf())).toBe(false);
  });

  it("says what it takes when it is called in another way", async () => {
    expect(await cli("x", "--as", "pod")).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("Allowed choices are image, folder, command, url"),
    });
    expect(await cli(await tempFolder())).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("has no Dockerfile"),
    });
    expect(await cli("node x", "--calls", "many")).toMatchObject({ code: 2 });
  });
});
