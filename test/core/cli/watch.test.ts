// `windjammer deploy --watch`, as people see it: a file that is saved half-written, and Ctrl-C between two deployments.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { startCli } from "../../helpers/cli.ts";
import { commandServer } from "../../helpers/command-server.ts";
import { tempFolder } from "../../helpers/temp.ts";

// Each step is a process that starts, and the machine may have others to run.
vi.setConfig({ testTimeout: 240_000, hookTimeout: 120_000 });

const server = commandServer(() => Promise.resolve());

test("a file that is saved half-written is told by its place; Ctrl-C then cancels nothing", async () => {
  const cwd = await tempFolder();
  const save = (text: string): Promise<void> => writeFile(join(cwd, "half.ts"), text);
  await save("export const predict = (rows: unknown[]) => rows.map(() => 1);\n");
  const run = startCli(["deploy", "half.ts", "--watch"], { env: server.env, cwd });
  await expect.poll(run.stdout, { timeout: 90_000 }).toContain("half version 1 serves");
  await save("export const predict = (rows: unknown[]) => rows.map(() =>");
  await expect.poll(run.stderr, { timeout: 90_000 }).toMatch(/INVALID_MODEL_FILE: half\.ts:1:\d+: \S/);
  expect(await (await server.wj.application("half")).predict({})).toBe(1);
  await save("export const predict = (rows: unknown[]) => rows.map(() => 2);\n");
  await expect.poll(run.stdout, { timeout: 90_000 }).toContain("half version 2 serves");
  run.child.kill("SIGINT");
  expect(await run.exited).toBe(130);
  expect(run.stderr()).not.toContain("cancelling");
});
