// Engines that nobody names: rootless Docker, Docker Desktop and Podman have their sockets where each puts it.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { describe, expect, it, onTestFinished } from "vitest";
import { tempFolder } from "../helpers/temp.ts";
import { Line } from "./engine-line.ts";
import { BASE_IMAGE, hasEngine } from "./engine.ts";

const PROGRAM = fileURLToPath(new URL("frontend-program.ts", import.meta.url));
/** Gives the program a /run of its own: the system's engine has left its socket there, and takes no calls. */
const ALONE = `mount -t tmpfs none /run && mkdir /run/podman && : > /run/docker.sock
if [ -n "$PODMAN" ]; then ln -s "$PODMAN" /run/podman/podman.sock; fi
exec "$@"`;
const canHide = hasEngine && process.getuid?.() === 0;

/** What a model answers that a whole server deploys, which finds its engine by itself. */
async function predictOn(folder: string, variables: Readonly<Record<string, string>>): Promise<unknown> {
  const program = [
    process.execPath,
    "--conditions=windjammer-source",
    PROGRAM,
    join(folder, "s"),
    BASE_IMAGE,
  ];
  const { PATH = "" } = process.env;
  const child = spawn("unshare", ["--mount", "sh", "-c", ALONE, "sh", ...program], {
    env: { PATH, HOME: folder, ...variables },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const gone = once(child, "exit");
  onTestFinished(() => void child.kill("SIGKILL"));
  for await (const line of createInterface(child.stdout)) {
    const { queryUrl } = JSON.parse(line) as { queryUrl: string };
    const reply = await fetch(`${queryUrl}/model/predict`, { method: "POST", body: `{"input":7}` });
    const { output } = (await reply.json()) as { output?: unknown };
    child.kill("SIGTERM");
    await gone;
    return output;
  }
  throw new Error("the server ended before it was up");
}

describe.skipIf(!canHide)("a server deploys and answers on the engine it finds", () => {
  it.each([
    ["a rootless Docker", "run/docker.sock", "XDG_RUNTIME_DIR"],
    ["Docker Desktop, or a rootless one, in the home folder", ".docker/run/docker.sock", "HOME"],
    ["a rootless Podman", "run/podman/podman.sock", "XDG_RUNTIME_DIR"],
  ])("of %s", async (_name, path, variable) => {
    const folder = await tempFolder();
    const socket = join(folder, path);
    await mkdir(dirname(socket), { recursive: true });
    await using line = new Line(socket);
    await line.join();
    const value = variable === "HOME" ? folder : join(folder, "run");
    expect(await predictOn(folder, { [variable]: value })).toEqual({ by: 1, input: 7 });
  });

  it("of the system's Podman", async () => {
    const folder = await tempFolder();
    await using line = new Line(join(folder, "engine.sock"));
    await line.join();
    expect(await predictOn(folder, { PODMAN: line.path })).toEqual({ by: 1, input: 7 });
  });
});
