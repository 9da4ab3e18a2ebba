// An engine that goes away and comes back, behind a socket that the test can cut.
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { EngineUnreachableError } from "../../core/errors.ts";
import { Engine } from "../../core/runtimes/engine.ts";
import { tempFolder } from "../helpers/temp.ts";
import { infer } from "../conformance/replica-client.ts";
import { dockerBench } from "./bench.ts";
import { Line } from "./engine-line.ts";
import { hasEngine } from "./engine.ts";

describe.skipIf(!hasEngine)("an engine that is lost", () => {
  it("costs no prediction of a replica that runs, is named in errors, and is found again", async () => {
    await using line = new Line(join(await tempFolder(), "engine.sock"));
    await line.join();
    await using bench = await dockerBench({ host: `unix://${line.path}` });
    const replica = await bench.start(`export const predict = (inputs) => inputs.map(() => "here");`);
    const other = await bench.start(`export const predict = (inputs) => inputs.map(() => "other");`);

    await line.cut();
    expect(await infer(replica, [[1]])).toEqual(["here"]);
    const failure = bench.prepare(await bench.bundle(`export const predict = () => [];`));
    await expect(failure).rejects.toThrow(EngineUnreachableError);
    await expect(failure).rejects.toThrow(line.path);
    // Ends while nobody hears of it.
    await (await Engine.connect(undefined)).kill(other.handle, "SIGKILL");
    expect((await bench.runtime.list()).length).toBe(2);

    await line.join();
    expect(await other.exited).toMatchObject({ reason: "killed", signal: "SIGKILL" });
    expect(await infer(replica, [[1]])).toEqual(["here"]);
    await replica.stop(1_000);
    expect(await bench.runtime.list()).toEqual([]);
  });

  it("that judged a replica unhealthy while nobody listened is heard of it later", async () => {
    await using line = new Line(join(await tempFolder(), "engine.sock"));
    await line.join();
    const healthCheck = { intervalMs: 500, timeoutMs: 3_000, retries: 3, startPeriodMs: 500 };
    await using bench = await dockerBench({ host: `unix://${line.path}`, healthCheck });
    const replica = await bench.start(
      `export const predict = () => { process.kill(process.pid, "SIGSTOP"); return []; };`,
    );
    await line.cut();
    const answer = infer(replica, [[1]]).catch((error: unknown) => error);
    const engine = await Engine.connect(undefined);
    const isUnhealthy = async (): Promise<unknown> => (await engine.inspect(replica.handle))?.isUnhealthy;
    await expect.poll(isUnhealthy).toBe(true);
    await line.join();
    expect((await replica.exited).message).toMatch(/^failed its health checks/);
    expect(await answer).toBeInstanceOf(Error);
  });

  it("that takes calls and never answers them counts as lost", async () => {
    await using silent = new Line(join(await tempFolder(), "silent.sock"));
    await silent.join({ isSilent: true });
    const address = { kind: "socket", path: silent.path, shown: `unix://${silent.path}` } as const;
    await expect(Engine.at(address, 100)).rejects.toThrow(EngineUnreachableError);
  });

  it("is named with what to do when a runtime opens", async () => {
    const host = `unix://${join(await tempFolder(), "nothing.sock")}`;
    await expect(dockerBench({ host })).rejects.toThrow(
      /nothing\.sock.*does not answer \(ENOENT\): start it/,
    );
  });
});
