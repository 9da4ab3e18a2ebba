// Faults under a whole server: what replaces a replica, when a version is given up, and what is left in the end.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { appendFile, chmod, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { describe, expect, it, onTestFinished } from "vitest";
import {
  deployContainer,
  NoReplicaError,
  startServer,
  windjammer,
  type Windjammer,
} from "../../deployers/index.ts";
import { Engine } from "../../core/runtimes/engine.ts";
import { connect } from "../../core/windjammer.ts";
import { answering, sourceDeployer } from "../helpers/bundles.ts";
import { tempFolder } from "../helpers/temp.ts";
import { forceImageAway, volumesAndNetworks } from "./engine-api.ts";
import { EngineProxy } from "./engine-proxy.ts";
import { BASE_IMAGE, hasEngine, kill, testDocker } from "./engine.ts";
import { template } from "./foreign-template.ts";

const PROGRAM = fileURLToPath(new URL("frontend-program.ts", import.meta.url));
const QUIET = { port: 0, adminPort: 0, logLevel: "silent" } as const;

/** Handle of the one replica; undefined while it is not ready. */
async function readyHandle(wj: Windjammer): Promise<string | undefined> {
  return (await wj.replicas()).find(({ state }) => state === "ready")?.handle;
}

/** Of a replica that has taken the place of another one. */
async function replacement(wj: Windjammer, former: string | undefined): Promise<void> {
  const isReplaced = async (): Promise<boolean> => {
    const handle = await readyHandle(wj);
    return handle !== undefined && handle !== former;
  };
  await expect.poll(isReplaced, { interval: 50 }).toBe(true);
}

describe.skipIf(!hasEngine)("a server on an engine", () => {
  it("replaces a replica that the engine judges unhealthy, says why, and serves on", async () => {
    const healthCheck = { intervalMs: 500, timeoutMs: 3_000, retries: 3, startPeriodMs: 500 };
    await using wj = await windjammer({ ...QUIET, runtime: testDocker({ healthCheck }) });
    // The answer never comes, also where the process runs on for a moment behind the signal.
    const source = `export function predict(inputs) {
      if (!inputs.includes("freeze")) return inputs;
      process.kill(process.pid, "SIGSTOP");
      return new Promise(() => {});
    }`;
    // Asked again, the next one would freeze as well.
    const app = await wj.deploy(sourceDeployer, { name: "frozen", version: "1", source, isRetryable: false });
    const former = await readyHandle(wj);
    await expect(app.predict("freeze")).rejects.toThrow();
    await replacement(wj, former);
    const [replica] = await wj.replicas();
    expect(replica).toMatchObject({
      restarts: 1,
      lastExit: { reason: "killed", message: expect.stringMatching(/^failed its health checks/) },
    });
    expect(await app.predict("well")).toBe("well");
  });

  it("says at once that somebody removed an image by force, builds it anew, and starts replicas from it", async () => {
    const stateDir = join(await tempFolder(), "state");
    const args = ["--conditions=windjammer-source", PROGRAM, stateDir, BASE_IMAGE, "", "unseated"];
    const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] });
    onTestFinished(() => void child.kill("SIGKILL"));
    let log = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => (log += text));
    const [first] = (await once(createInterface(child.stdout), "line")) as [string];
    const { adminUrl } = JSON.parse(first) as { adminUrl: string };
    await using wj = await connect(adminUrl);
    const engine = await Engine.connect(undefined);
    const [state] = await engine.images({ "windjammer.model": "unseated" });
    const image = state?.tags[0] ?? "";

    await forceImageAway(image);
    await expect
      .poll(() => log)
      .toContain(
        `image ${image} of model unseated version 1 was removed from the engine by somebody else; building it anew`,
      );
    const isThere = async (): Promise<boolean> => (await engine.findImage(image)) !== undefined;
    await expect.poll(isThere).toBe(true);
    const former = (await wj.replicas()).map(({ handle }) => handle);
    await kill(former[0] ?? "");
    const isReplaced = async (): Promise<boolean> =>
      (await wj.replicas()).some(({ state: at, handle }) => at === "ready" && !former.includes(handle));
    await expect.poll(isReplaced).toBe(true);
    expect(log).not.toContain("could not be built anew");

    const gone = once(child, "exit");
    child.kill("SIGTERM");
    await gone;
  });

  it("builds an image anew for a replica that starts before the engine has said that it was removed", async () => {
    await using deaf = await EngineProxy.start(({ url }) =>
      url.pathname.endsWith("/events") ? { status: 500, message: "no events" } : undefined,
    );
    await using wj = await windjammer({ ...QUIET, runtime: testDocker({ host: deaf.host }) });
    const messages: string[] = [];
    const app = await wj.deploy(sourceDeployer, {
      name: "unsaid",
      version: "1",
      source: answering("input + 1"),
      onEvent: ({ message }) => messages.push(message),
    });
    const image = /windjammer\/unsaid:\S+/.exec(messages.join("\n"))?.[0] ?? "";
    const former = await readyHandle(wj);
    await forceImageAway(image);
    expect(await app.predict(1)).toBe(2);
    await kill(former ?? "");
    await replacement(wj, former);
    expect(await app.predict(2)).toBe(3);
    const [replica] = await wj.replicas();
    const lines: string[] = [];
    for await (const { text } of wj.logs(replica?.id ?? "")) lines.push(text);
    expect(lines.join("\n")).toContain(`image ${image} was not on the engine any more; built anew in`);
  });

  it("gives a version up that keeps failing to start, and says why with its last words", async () => {
    const folder = await tempFolder();
    // The container's user has to see into it.
    await chmod(folder, 0o755);
    const runtime = testDocker({ models: { doomed: { mounts: { "/switch": folder } } } });
    await using wj = await windjammer({ ...QUIET, runtime });
    const source = `import { existsSync } from "node:fs";
if (existsSync("/switch/broken")) throw new Error("the tables are gone");
${answering("input")}`;
    const app = await wj.deploy(sourceDeployer, { name: "doomed", version: "1", source });
    expect(await app.predict(1)).toBe(1);
    await writeFile(join(folder, "broken"), "");
    await kill((await readyHandle(wj)) ?? "");
    const state = async (): Promise<unknown> => (await wj.replicas())[0]?.state;
    await expect.poll(state, { timeout: 200_000, interval: 200 }).toBe("failed");
    expect((await wj.replicas())[0]?.lastExit).toMatchObject({ reason: "exited" });
    const failure = app.predict(1);
    await expect(failure).rejects.toThrow(NoReplicaError);
    await expect(failure).rejects.toThrow(/doomed version 1 is ready: .*the tables are gone/s);
  });

  it("leaves no container, volume, network or socket when it closes, also of an image that wants volumes", async () => {
    const before = await volumesAndNetworks();
    const folder = await template();
    await appendFile(join(folder, "Dockerfile"), "VOLUME /data /more\n");
    const stateDir = join(await tempFolder(), "state");
    const runtime = testDocker({ models: { wired: { network: true, secrets: { token: "hush" } } } });
    const server = await startServer({ ...QUIET, stateDir, runtime });
    await using wj = await connect(server.adminUrl);
    const app = await deployContainer(wj, {
      name: "voluminous",
      version: "1",
      dockerfile: folder,
      replicas: 2,
    });
    expect(await app.predict([1, 2])).toBe(3);
    const wired = await wj.deploy(sourceDeployer, {
      name: "wired",
      version: "1",
      source: answering("input"),
    });
    expect(await wired.predict(1)).toBe(1);
    expect((await volumesAndNetworks()).length).toBeGreaterThan(before.length);

    await server.close();
    const engine = await Engine.connect(undefined);
    for (const model of ["voluminous", "wired"])
      expect(await engine.containers({ "windjammer.model": model })).toEqual([]);
    expect(await volumesAndNetworks()).toEqual(before);
    await expect(readdir(join(stateDir, "run"))).rejects.toThrow("ENOENT");
  });
});
