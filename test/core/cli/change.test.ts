// Commands that change what is deployed, and `events`, which shows what came of it.
import { describe, expect, test } from "vitest";
import { deployFunction } from "windjammer";
import { cli, cliJson, startCli } from "../../helpers/cli.ts";
import { commandServer } from "../../helpers/command-server.ts";

const server = commandServer(async () => {
  for (const version of ["1", "2", "3"]) await deploy("steps", version);
});

async function deploy(
  name: string,
  version: string,
  options: { readonly switch?: false } = {},
): Promise<void> {
  await deployFunction(server.wj, {
    name,
    version,
    ...options,
    inputType: "doubles",
    defaultOutput: "none",
    fn: (inputs) => inputs.map(() => version),
  });
}

const answer = async (name: string): Promise<unknown> => (await server.wj.application(name)).predict([1]);

describe("windjammer rollback", () => {
  test("serves the version before again, then the named one", async () => {
    const back = await cli(["rollback", "steps"], server);
    expect(back).toMatchObject({ code: 0, stdout: "steps serves version 2, in place of 3\n", stderr: "" });
    expect(await answer("steps")).toBe("2");
    expect(await cliJson(["rollback", "steps", "1"], server)).toMatchObject({
      model: "steps",
      version: "1",
      state: "succeeded",
      former: "2",
    });
    expect(await answer("steps")).toBe("1");
    expect((await cli(["rollback", "steps", "1"], server)).stdout).toBe("steps serves version 1 already\n");
  });

  test("takes no version that was left ready and never served", async () => {
    await deploy("aside", "1");
    await deploy("aside", "2", { switch: false });
    await deploy("aside", "3");
    await server.wj.deleteVersion("aside", "1");
    const { code, stderr } = await cli(["rollback", "aside"], server);
    expect([code, stderr]).toEqual([
      1,
      expect.stringContaining('no version of model "aside" served before 3; name one: 2'),
    ]);
  });

  test("says what there is when there is nothing to go back to", async () => {
    await deploy("lonely", "1");
    const only = await cli(["rollback", "lonely"], server);
    expect([only.code, only.stderr]).toEqual([
      1,
      expect.stringContaining("has no version but 1; deploy another first"),
    ]);
    const wrong = await cli(["rollback", "lonely", "7"], server);
    expect([wrong.code, wrong.stderr]).toEqual([1, expect.stringContaining('has no version "7"')]);
    expect((await cli(["rollback", "lonly"], server)).stderr).toContain('did you mean "lonely"?');
  });
});

describe("windjammer scale, link, unlink and delete", () => {
  test("scale returns when the replicas are ready", async () => {
    const { code, stdout } = await cli(["scale", "steps", "2"], server);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^steps \d runs 2 replicas \(.*\)\n$/);
    expect(
      (await server.wj.replicas()).filter(({ model, state }) => model === "steps" && state === "ready")
        .length,
    ).toBe(2);
    expect(await cliJson(["scale", "steps", "1"], server)).toMatchObject({ model: "steps", replicas: 1 });
    expect((await cli(["scale", "steps", "many"], server)).code).toBe(2);
    expect((await cli(["scale", "stpes", "1"], server)).stderr).toContain('did you mean "steps"?');
  });

  test("link and unlink move an application from model to model", async () => {
    await deploy("moved", "1");
    await deploy("other", "o");
    expect((await cli(["link", "moved", "other"], server)).stdout).toBe("moved is answered by other\n");
    expect(await answer("moved")).toBe("o");
    expect(await cliJson(["unlink", "moved"], server)).toEqual({ application: "moved", model: "other" });
    expect(await answer("moved")).toBe("none");
    expect((await cli(["unlink", "moved"], server)).stdout).toBe("moved is linked to no model\n");
    expect((await cli(["link", "moved", "othre"], server)).stderr).toContain('did you mean "other"?');
    expect((await cli(["unlink", "mvoed"], server)).stderr).toContain('did you mean "moved"?');
  });

  test("delete removes what is not in use", async () => {
    await deploy("old", "1");
    await deploy("old", "2");
    const inUse = await cli(["delete", "model", "old"], server);
    expect([inUse.code, inUse.stderr]).toEqual([1, expect.stringContaining("IN_USE")]);
    expect((await cli(["delete", "version", "old", "1"], server)).stdout).toBe("removed version old 1\n");
    expect((await cli(["delete", "app", "old"], server)).stdout).toBe("removed application old\n");
    expect(await cliJson(["delete", "model", "old"], server)).toEqual({ kind: "model", name: "old" });
    expect((await server.wj.models()).map(({ name }) => name)).not.toContain("old");
  });

  test.each([
    [["version", "steps"], "windjammer versions steps lists them"],
    [["model", "steps", "1"], "windjammer delete version steps 1"],
    [["replica", "steps"], "Allowed choices are app, model, version"],
  ])("delete refuses %j as wrong usage", async (args, message) => {
    const { code, stderr } = await cli(["delete", ...args], server);
    expect([code, stderr]).toEqual([2, expect.stringContaining(message)]);
  });
});

describe("windjammer events", () => {
  test("prints the steps of the last deployments, of a model or of one deployment", async () => {
    await deploy("noted", "1");
    const { stdout } = await cli(["events", "noted"], server);
    expect(stdout).toMatch(/^\S+Z {2}noted 1 {2}start +\S/m);
    expect(stdout).toMatch(/noted 1 {2}done/);
    const [latest] = await server.wj.deployments();
    const lines = (await cli(["events", latest?.id ?? "", "--json"], server)).stdout.trim().split("\n");
    const events = lines.map((line) => JSON.parse(line) as { step: string });
    expect(events[0]).toMatchObject({ deployment: latest?.id, model: "noted", version: "1", sequence: 1 });
    expect(events.at(-1)?.step).toBe("done");
    expect((await cli(["events", "notde"], server)).stderr).toContain('did you mean "noted"?');
  });

  test("-f goes on with deployments that begin later, until Ctrl-C", async () => {
    const run = startCli(["events", "-f", "--last", "1"], server);
    await expect.poll(run.stdout).toContain("done");
    await deploy("later", "1");
    await expect.poll(run.stdout).toMatch(/later 1 {2}done/);
    run.child.kill("SIGINT");
    expect([await run.exited, run.stderr()]).toEqual([130, ""]);
  });
});
