// What the command line says of versions that have no replicas: they are stopped, and neither ready nor serving.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { cli, cliJson } from "../../helpers/cli.ts";
import { commandServer } from "../../helpers/command-server.ts";
import { tempFolder } from "../../helpers/temp.ts";

// Each step is a process that starts, and the machine may have others to run.
vi.setConfig({ testTimeout: 240_000, hookTimeout: 120_000 });

const server = commandServer(() => Promise.resolve());

test("one that stands beside the one that serves is stopped, and says how it is started", async () => {
  const cwd = await tempFolder();
  const at = { env: server.env, cwd };
  const write = (value: number): Promise<void> =>
    writeFile(
      join(cwd, "beside.ts"),
      `export const predict = (rows: unknown[]) => rows.map(() => ${value});\n`,
    );
  await write(1);
  expect((await cli(["deploy", "beside.ts"], at)).code).toBe(0);
  await write(2);
  const args = ["deploy", "beside.ts", "--no-switch", "--replicas", "0"];
  const { code, stdout, stderr } = await cli(args, at);
  expect(code).toBe(0);
  expect(stdout).toBe(
    [
      "beside version 2 is deployed and stopped: it has 0 replicas; version 1 goes on serving",
      "start it      windjammer scale beside 1 --version 2",
      "switch to it  windjammer rollback beside 2\n",
    ].join("\n"),
  );
  expect(stderr).not.toMatch(/version 2 .*is ready;/);
  expect((await server.wj.deployments())[0]).toMatchObject({ version: "2", result: "ready" });
  expect(await cliJson(args, at)).toMatchObject({ result: "unchanged", replicas: 0, current: "1" });
  expect((await cli(["versions", "beside"], at)).stdout).toMatch(/\n2 +stopped +0\/0 .*\n1 +current +1\/1 /);
  // The lines that it gave.
  expect((await cli(["scale", "beside", "1", "--version", "2"], at)).code).toBe(0);
  expect((await cli(["versions", "beside"], at)).stdout).toMatch(/\n2 +ready +1\/1 /);
  expect((await cli(["rollback", "beside", "2"], at)).stdout).toContain("beside serves version 2");
});

test("one that is deployed with none answers nothing, and is called so", async () => {
  const cwd = await tempFolder();
  const at = { env: server.env, cwd };
  await writeFile(join(cwd, "none.ts"), "export const predict = (rows: unknown[]) => rows.map(() => 1);\n");
  const { code, stdout, stderr } = await cli(["deploy", "none.ts", "--replicas", "0"], at);
  expect([code, stdout]).toEqual([
    0,
    [
      "none version 1 is deployed and answers nothing: it has 0 replicas",
      `URL       ${server.wj.url}/none/predict`,
      "start it  windjammer scale none 1\n",
    ].join("\n"),
  ]);
  expect(stderr).toContain("! model none is scaled to 0 replicas");
  expect((await cli(["versions", "none"], at)).stdout).toMatch(/\n1 +current, stopped +0\/0 /);
  expect((await cli(["describe", "none"], at)).stdout).toContain("no replicas run");
  expect((await cli(["scale", "none", "1"], at)).code).toBe(0);
  expect(await (await server.wj.application("none")).predict({})).toBe(1);
});
