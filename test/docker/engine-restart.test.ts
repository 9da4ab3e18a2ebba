// A whole engine that is stopped and started again under a server.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { EngineUnreachableError, windjammer, type Windjammer } from "../../deployers/index.ts";
import { answering, sourceDeployer } from "../helpers/bundles.ts";
import { tempFolder } from "../helpers/temp.ts";
import { BASE_IMAGE, hasEngine, testDocker } from "./engine.ts";
import { OwnEngine } from "./own-engine.ts";

const PROGRAM = join(import.meta.dirname, "frontend-program.ts");

async function readyHandles(wj: Windjammer): Promise<readonly string[]> {
  const replicas = await wj.replicas();
  return replicas
    .filter(({ state }) => state === "ready")
    .map(({ handle }) => handle)
    .toSorted();
}

describe.skipIf(!hasEngine)("an engine of one's own", () => {
  let engine: OwnEngine;

  beforeAll(async () => {
    engine = await OwnEngine.start({ isLiveRestoring: true }, [BASE_IMAGE]);
  });

  afterAll(() => engine?.[Symbol.asyncDispose]());

  function start(): Promise<Windjammer> {
    return windjammer({
      port: 0,
      adminPort: 0,
      logLevel: "silent",
      runtime: testDocker({ host: engine.host, killGraceMs: 500 }),
    });
  }

  it("that keeps its containers alive is away: queries go on, management says so; it is back: all is as before", async () => {
    await using wj = await start();
    const deploy = (version: string): ReturnType<Windjammer["deploy"]> =>
      wj.deploy(sourceDeployer, {
        name: "kept",
        version,
        source: answering(`${version} * input`),
        replicas: 2,
      });
    const app = await deploy("1");
    const handles = await readyHandles(wj);
    expect(handles).toHaveLength(2);

    await engine.end();
    const outputs = await Promise.all(Array.from({ length: 20 }, (_, index) => app.predict(index)));
    expect(outputs).toEqual(Array.from({ length: 20 }, (_, index) => index));
    for (const call of [
      () => deploy("2"),
      async () => wj.stats((await wj.replicas())[0]?.id ?? ""),
      () => wj.scale("kept", 3),
    ]) {
      const failure = call();
      await expect(failure).rejects.toThrow(EngineUnreachableError);
      await expect(failure).rejects.toThrow(/engine\.sock.* does not answer \(E\w+\): start it/);
    }
    expect(await readyHandles(wj)).toEqual(handles);
    // The one that could not be started is not asked for any more.
    await engine.begin({ isLiveRestoring: true });
    await wj.scale("kept", 2);
    expect(await app.predict(21)).toBe(21);
    expect(await readyHandles(wj)).toEqual(expect.arrayContaining([...handles]));
    await deploy("2");
    expect(await app.predict(21)).toBe(42);
  });

  it("that takes its containers with it when it is restarted has new ones, and they serve", async () => {
    await engine.end();
    await engine.begin({ isLiveRestoring: false });
    await using wj = await start();
    const app = await wj.deploy(sourceDeployer, { name: "lost", version: "1", source: answering("input") });
    const [former] = await readyHandles(wj);
    await engine.end();
    await engine.begin({ isLiveRestoring: false });
    const served = async (): Promise<unknown> => {
      const [handle] = await readyHandles(wj);
      return handle !== undefined && handle !== former && (await app.predict(7));
    };
    await expect.poll(served, { interval: 100 }).toBe(7);
  });

  it("that is gone for good does not keep a server from ending", async () => {
    const stateDir = join(await tempFolder(), "state");
    const args = ["--conditions=windjammer-source", PROGRAM, stateDir, BASE_IMAGE, engine.host];
    const child = spawn("node", args, { stdio: ["ignore", "pipe", "inherit"] });
    for await (const _ of createInterface(child.stdout)) break;
    await engine.end();
    const gone = once(child, "exit");
    child.kill("SIGTERM");
    expect(await gone).toEqual([0, null]);
    await engine.begin({ isLiveRestoring: true });
  });
});
