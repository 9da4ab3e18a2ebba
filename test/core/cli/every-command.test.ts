// Every command, by one table: with --json it prints JSON alone, done or failed, with a stable code and an exit code to
// go by; and nothing of it is coloured or moves where no terminal is.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CommanderError } from "commander";
import { beforeAll, describe, expect, test, vi } from "vitest";
import { deployFunction } from "windjammer";
import { writeTemplate } from "../../../core/cli/init.ts";
import { createProgram } from "../../../core/cli/program.ts";
import { ERROR_CLASSES } from "../../../core/errors.ts";
import { cli, startCli } from "../../helpers/cli.ts";
import { commandServer } from "../../helpers/command-server.ts";

const NOWHERE = ["--url", "http://127.0.0.1:1"];

interface CommandCase {
  /** With these it does its work, in the order of the table. Undefined: tried elsewhere. */
  readonly good?: readonly string[];
  /** Prints lines of JSON, not one document. */
  readonly isLines?: true;
  readonly bad: readonly string[];
  /** What `bad` fails with. Undefined: its report says so, and it is a document as well. */
  readonly error: string | undefined;
  readonly code: 1 | 2;
}

const TABLE: Readonly<Record<string, CommandCase>> = {
  // It goes on, and logs JSON by --log-format: start.test.ts.
  start: {
    bad: ["--port", "70000"],
    error: "INVALID_OPTIONS",
    code: 2,
  },
  status: { good: [], bad: NOWHERE, error: "SERVER_UNREACHABLE", code: 1 },
  deploy: { good: ["one.ts"], bad: ["on.ts"], error: "MODEL_FILE_NOT_FOUND", code: 1 },
  // It needs an engine: test/docker/readme.test.ts.
  build: {
    bad: ["one.ts", "--version", "1", "--engine", "unix:///nowhere.sock"],
    error: "ENGINE_UNREACHABLE",
    code: 1,
  },
  apply: {
    good: ["--plan", "--config", "models.json"],
    bad: ["--config", "model.json"],
    error: "MODEL_FILE_NOT_FOUND",
    code: 1,
  },
  export: { good: ["openapi"], bad: ["client", "nobody"], error: "APPLICATION_NOT_FOUND", code: 1 },
  predict: {
    good: ["length", "--input", "[1, 2]"],
    bad: ["length", "--input", '["1"]'],
    error: "INVALID_INPUT",
    code: 1,
  },
  bench: {
    good: ["length", "--seconds", "1", "--callers", "1"],
    bad: ["nobody"],
    error: "APPLICATION_NOT_FOUND",
    code: 1,
  },
  apps: { good: [], bad: NOWHERE, error: "SERVER_UNREACHABLE", code: 1 },
  models: { good: [], bad: NOWHERE, error: "SERVER_UNREACHABLE", code: 1 },
  versions: { good: ["length"], bad: ["nobody"], error: "MODEL_NOT_FOUND", code: 1 },
  describe: { good: ["length"], bad: ["length", "7"], error: "VERSION_NOT_FOUND", code: 1 },
  rollback: { good: ["length"], bad: ["spare"], error: "VERSION_NOT_FOUND", code: 1 },
  scale: { good: ["length", "1"], bad: ["length", "5000"], error: "INVALID_REQUEST", code: 1 },
  link: { good: ["length", "spare"], bad: ["nobody", "spare"], error: "APPLICATION_NOT_FOUND", code: 1 },
  unlink: { good: ["length"], bad: ["length", "nobody"], error: "MODEL_NOT_FOUND", code: 1 },
  delete: {
    good: ["version", "length", "2"],
    bad: ["version", "length", "1"],
    error: "IN_USE",
    code: 1,
  },
  top: { good: ["--once"], isLines: true, bad: NOWHERE, error: "SERVER_UNREACHABLE", code: 1 },
  logs: { good: ["length"], isLines: true, bad: ["nobody"], error: "MODEL_NOT_FOUND", code: 1 },
  events: { good: [], isLines: true, bad: ["nobody"], error: "MODEL_NOT_FOUND", code: 1 },
  init: { good: ["container", "new"], bad: ["container", "."], error: "INVALID_OPTIONS", code: 2 },
  "check-container": {
    good: ["node server.mjs", "--folder", "mine", "--calls", "20"],
    bad: ["node no-server.mjs"],
    error: undefined,
    code: 1,
  },
  "clipper-labels": {
    good: ["--metric-config", "metrics.yml"],
    bad: ["--metric-config", "nowhere/metrics.yml"],
    error: "INVALID_OPTIONS",
    code: 2,
  },
  doctor: {
    good: ["--port", "0", "--admin-port", "0", "--state-dir", "state", "--cache-dir", "cache"],
    bad: ["--port", "0", "--admin-port", "0", "--state-dir", "/proc/nowhere", "--cache-dir", "cache"],
    error: undefined,
    code: 1,
  },
  completion: { good: ["bash"], bad: ["tcsh"], error: "INVALID_OPTIONS", code: 2 },
  stop: {
    good: ["--state-dir", "server"],
    bad: ["--state-dir", "nowhere"],
    error: "SERVER_UNREACHABLE",
    code: 1,
  },
};

// Colours are asked for: JSON has none all the same.
const FORCED = { FORCE_COLOR: "1" };
// oxlint-disable-next-line no-control-regex
const ESCAPE = /\u001B|\r/;

let cwd: string;

const lengths = (rows: readonly number[][]): number[] => rows.map(({ length }) => length);

const server = commandServer(async (wj) => {
  for (const [name, version] of [
    ["length", "1"],
    ["length", "2"],
    ["spare", "1"],
  ] as const)
    await deployFunction(wj, { name, version, inputType: "doubles", fn: lengths });
});

beforeAll(async () => {
  cwd = await mkdtemp(join(tmpdir(), "wj-every-"));
  await writeFile(join(cwd, "one.ts"), "export const predict = (rows: unknown[]) => rows.map(() => 1);\n");
  await writeFile(join(cwd, "models.json"), '{ "models": { "one": { "source": "one.ts" } } }');
  await writeTemplate("node", join(cwd, "mine"));
  return () => rm(cwd, { recursive: true, force: true });
});

test("the table has every command", async () => {
  const names = (await createProgram(false)).commands.map((command) => command.name());
  expect(Object.keys(TABLE).toSorted()).toEqual(names.toSorted());
});

describe.each(Object.entries(TABLE))("windjammer %s", (command, { good, isLines, bad, error, code }) => {
  test.runIf(good !== undefined)("prints JSON alone with --json", async () => {
    if (command === "stop") await startServer();
    const run = await cli([command, ...(good ?? []), "--json"], { cwd, env: { ...server.env, ...FORCED } });
    expect(run).toMatchObject({ code: 0, stderr: "" });
    const documents = isLines === true ? run.stdout.trimEnd().split("\n") : [run.stdout];
    for (const document of documents) expect(JSON.parse(document)).toBeInstanceOf(Object);
    expect(run.stdout).not.toMatch(ESCAPE);
  });

  test("says in JSON what it failed with, and in its exit code", async () => {
    const isJsonLess = command === "start";
    const args = [command, ...bad, ...(isJsonLess ? [] : ["--json"])];
    const run = await cli(args, { cwd, env: { ...server.env, ...FORCED } });
    expect(run.code).toBe(code);
    if (error === undefined) {
      expect([JSON.parse(run.stdout), run.stderr]).toEqual([expect.any(Object), ""]);
      return;
    }
    expect(run.stdout).toBe("");
    if (isJsonLess) expect(run.stderr).toContain(`argument '70000' is invalid`);
    else
      expect(JSON.parse(run.stderr)).toEqual({
        error,
        message: expect.any(String),
        details: expect.any(Object),
      });
    expect(ERROR_CLASSES.map(({ kind }) => kind.code)).toContain(error);
    expect(run.stderr).not.toMatch(ESCAPE);
  });

  test("refuses an option that there is not, in JSON, and names it", async () => {
    const write = vi.spyOn(process.stderr, "write").mockReturnValue(true);
    const wrong = (await createProgram(true)).parseAsync([command, "--no-such-option"], { from: "user" });
    await expect(wrong).rejects.toThrow(CommanderError);
    const [text] = write.mock.calls.map(([chunk]) => String(chunk));
    write.mockRestore();
    expect(JSON.parse(text ?? "")).toMatchObject({
      error: "INVALID_OPTIONS",
      message: expect.stringContaining("--no-such-option"),
    });
  });
});

test.each([
  [["deploy", "mine", "--as", "command", ...NOWHERE], /--as command: which program serves mine/],
  [["deploy", "mine", "--as", "dockerfile", "--command", "node server.mjs", ...NOWHERE], /contradict/],
  [["build", "mine", "--as", "command", "--version", "1"], /--as command: .* no image is made of it/],
])("a kind that does not fit is refused before anything is asked or built: %j", async (args, message) => {
  expect(await cli(args, { cwd })).toMatchObject({
    code: 2,
    stdout: "",
    stderr: expect.stringMatching(message),
  });
});

test("commands with progress or colours have neither where no terminal is", async () => {
  for (const args of [
    ["deploy", "one.ts"],
    ["apply", "--plan", "--config", "models.json"],
    ["describe", "spare"],
  ]) {
    const { code, stdout, stderr } = await cli(args, { cwd, env: server.env });
    expect([code, stdout + stderr]).toEqual([0, expect.not.stringMatching(ESCAPE)]);
  }
});

/** One that `stop` ends. */
async function startServer(): Promise<void> {
  const run = startCli(["start", "--port", "0", "--admin-port", "0", "--state-dir", "server"], { cwd });
  await expect.poll(() => run.stdout() + run.stderr()).toContain("server started");
}
