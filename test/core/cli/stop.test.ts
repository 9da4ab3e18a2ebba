// `windjammer stop`: servers that `windjammer start` runs end when they are told to, others do not.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { connect, deployFunction, windjammer } from "windjammer";
import { cli, cliJson, type CliRun, startCli } from "../../helpers/cli.ts";
import { tempFolder } from "../../helpers/temp.ts";

const START = ["start", "--port", "0", "--admin-port", "0", "--log-level", "silent"];

async function started(
  stateDir: string,
  env = {},
): Promise<{ readonly run: CliRun; readonly admin: string }> {
  const run = startCli([...START, "--state-dir", stateDir], { env });
  await expect.poll(() => run.stdout() + run.stderr()).toContain("/health/ready");
  return { run, admin: /management API +(http:\S+)/.exec(run.stdout())?.[1] ?? "" };
}

describe("windjammer stop", () => {
  test("ends the server at a URL and returns when its state folder is free", async () => {
    const stateDir = join(await tempFolder(), "state");
    const { run, admin } = await started(stateDir);
    await using wj = await connect(admin);
    await deployFunction(wj, {
      name: "one",
      version: "1",
      inputType: "doubles",
      fn: (xs) => xs.map(() => 1),
    });
    const stopped = await cliJson(["stop", "--url", admin]);
    expect(stopped).toEqual({ server: admin, stateDir, pid: run.child.pid, tookMs: expect.any(Number) });
    expect(existsSync(join(stateDir, "server.pid"))).toBe(false);
    const again = await started(stateDir);
    expect(await run.exited).toBe(0);
    expect(run.stdout()).toMatch(/closed\n$/);
    expect(await cli(["stop", "--url", again.admin])).toMatchObject({ code: 0, stderr: "" });
    expect(await again.run.exited).toBe(0);
  });

  test("ends the server that uses a state folder, also without its token", async () => {
    const home = await tempFolder();
    const env = { XDG_STATE_HOME: home, WINDJAMMER_TOKEN: "a-token-nobody-knows" };
    const stateDir = join(home, "windjammer");
    const { run } = await started(stateDir, env);
    const { code, stdout } = await cli(["stop", "--state-dir"], { env: { XDG_STATE_HOME: home } });
    expect(code).toBe(0);
    expect(stdout).toMatch(new RegExp(`^stopped ${stateDir} in .*s\n$`));
    expect(await run.exited).toBe(0);
    const nobody = await cli(["stop", "--state-dir", stateDir]);
    expect([nobody.code, nobody.stderr]).toEqual([1, expect.stringContaining("no server uses it")]);
    const nowhere = await cli(["stop", "--state-dir", join(home, "nowhere")]);
    expect([nowhere.code, nowhere.stderr]).toEqual([1, expect.stringContaining("no server uses it")]);
  });

  test("needs the token, as every call that changes something", async () => {
    const env = { WINDJAMMER_TOKEN: "the-token-of-this-server" };
    const { run, admin } = await started(join(await tempFolder(), "state"), env);
    const refused = await cli(["stop", "--url", admin, "--token", "another-token-altogether"]);
    expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining("UNAUTHORIZED")]);
    expect((await fetch(`${admin}/health/live`)).status).toBe(200);
    expect(await cli(["stop", "--url", admin], { env })).toMatchObject({ code: 0 });
    expect(await run.exited).toBe(0);
  });

  test("leaves a server alone that is part of another program", async () => {
    await using wj = await windjammer({ port: 0, adminPort: 0 });
    const { code, stderr } = await cli(["stop", "--url", wj.adminUrl]);
    expect(code).toBe(1);
    expect(stderr).toContain("this server is part of a program, not of `windjammer start`");
    expect((await wj.info()).runtime).toBe("process");
  });

  test("says which process is left when it takes too long, and leaves it closing", async () => {
    const stateDir = join(await tempFolder(), "state");
    const { run, admin } = await started(stateDir);
    await using wj = await connect(admin);
    const slow = await deployFunction(wj, {
      name: "slow",
      version: "1",
      inputType: "doubles",
      fn: async (inputs) => {
        await new Promise((resolve) => setTimeout(resolve, 2_000));
        return inputs.map(() => 1);
      },
    });
    const answer = slow.predict([1]);
    await expect
      .poll(async () => /windjammer_queue_wait_seconds_count\S* 1/.test(await wj.metrics()))
      .toBe(true);
    const { code, stderr } = await cli(["stop", "--url", admin, "--timeout-ms", "1"]);
    expect(code).toBe(1);
    expect(stderr).toMatch(
      new RegExp(`STATE_DIR_IN_USE: .*pid ${run.child.pid}.* kill -9 ${run.child.pid}\n$`),
    );
    expect(await answer).toBe(1);
    expect(await run.exited).toBe(0);
  });
});
