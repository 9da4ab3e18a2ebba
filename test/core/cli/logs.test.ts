// `windjammer logs` against real replicas: what is kept, what comes, how it ends.
import { describe, expect, test } from "vitest";
import { deployFunction, windjammer, type ApplicationHandle } from "windjammer";
import { cli, startCli } from "../../helpers/cli.ts";
import { commandServer } from "../../helpers/command-server.ts";

let echo: ApplicationHandle<string, number>;

const server = commandServer(async (wj) => {
  echo = await deployFunction(wj, {
    name: "echo",
    version: "1",
    inputType: "strings",
    application: "talk",
    replicas: 2,
    batching: { policy: "none" },
    fn: (inputs) =>
      inputs.map((text) => {
        console.log(`got ${text}`);
        return text.length;
      }),
  });
});

describe("windjammer logs", () => {
  test("prints what is kept, of all replicas of a model, an application or a version, or of one", async () => {
    await echo.predict("first");
    for (const target of [["echo"], ["talk"], ["echo", "1"]]) {
      const { code, stdout } = await cli(["logs", ...target], server);
      expect(code).toBe(0);
      expect(stdout).toMatch(/^echo-1-r[12] got first$/m);
    }
    const outputs = await Promise.all(
      ["echo-1-r1", "echo-1-r2"].map((id) => cli(["logs", id, "--timestamps"], server)),
    );
    const stdout = outputs.map((each) => each.stdout).join("");
    expect(stdout).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z got first$/m);
  });

  test("gives a line of JSON for each with --json", async () => {
    await echo.predict("second");
    const { stdout } = await cli(["logs", "echo", "--json"], server);
    const lines = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as unknown);
    expect(lines).toContainEqual({
      replica: expect.stringMatching(/^echo-1-r[12]$/),
      at: expect.any(String),
      stream: "stdout",
      text: "got second",
    });
  });

  test("-f goes on with what comes, also of replicas that are new, until Ctrl-C", async () => {
    const run = startCli(["logs", "echo", "-f", "--tail", "0"], server);
    const says = async (text: string): Promise<void> => {
      await expect
        .poll(
          async () => {
            await echo.predict(text);
            return run.stdout();
          },
          { interval: 200 },
        )
        .toMatch(new RegExp(`got ${text}$`, "m"));
    };
    await says("third");
    await server.wj.scale("echo", 1);
    await server.wj.scale("echo", 2);
    await expect
      .poll(
        async () => {
          await Promise.all(["a", "b", "c", "d"].map((text) => echo.predict(text)));
          return run.stdout();
        },
        { interval: 200 },
      )
      .toMatch(/^echo-1-r3 got/m);
    run.child.kill("SIGINT");
    expect([await run.exited, run.stderr()]).toEqual([130, ""]);
  });

  test("-f ends with 143 on SIGTERM, and in peace when its reader has gone", async () => {
    const terminated = startCli(["logs", "echo", "-f"], server);
    await expect.poll(terminated.stdout).toContain("got");
    terminated.child.kill("SIGTERM");
    expect(await terminated.exited).toBe(143);

    const unread = startCli(["logs", "echo", "-f"], server);
    await expect.poll(unread.stdout).toContain("got");
    unread.child.stdout?.destroy();
    let isOver = false;
    void unread.exited.then(() => (isOver = true));
    await expect
      .poll(
        async () => {
          await echo.predict("nobody reads this");
          return isOver;
        },
        { interval: 200 },
      )
      .toBe(true);
    expect([await unread.exited, unread.stderr()]).toEqual([0, ""]);
  });

  test("-f of a server that goes away ends with what happened", async () => {
    const other = await windjammer({ port: 0, adminPort: 0 });
    try {
      await deployFunction(other, {
        name: "short",
        version: "1",
        inputType: "strings",
        fn: (inputs) => inputs,
      });
      const run = startCli(["logs", "short", "-f"], { env: { WINDJAMMER_URL: other.adminUrl } });
      await expect.poll(run.stdout).toContain("is ready");
      await other.close();
      expect(await run.exited).toBe(1);
      expect(run.stderr()).toMatch(/^windjammer: (SERVER_UNREACHABLE|SHUTTING_DOWN): .*\n$/);
    } finally {
      await other.close();
    }
  });

  test("says which name was meant, and which version there is", async () => {
    const name = await cli(["logs", "ehco"], server);
    expect([name.code, name.stderr]).toEqual([
      1,
      'windjammer: MODEL_NOT_FOUND: no model, application or replica is named "ehco"; did you mean "echo"?\n',
    ]);
    const version = await cli(["logs", "echo", "7"], server);
    expect(version.stderr).toContain('VERSION_NOT_FOUND: model "echo" has no version "7"');
    const since = await cli(["logs", "echo", "--since", "yesterday"], server);
    expect(since.stderr).toContain("expected a time such as 2026-01-31T12:00:00Z");
  });
});
