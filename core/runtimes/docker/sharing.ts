// Whether a container can share a Unix socket with the frontend on this engine: tried once, not guessed.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { randomBytes } from "node:crypto";
import { EngineRefusedError } from "../../errors.ts";
import type { Engine, Labels } from "../engine.ts";
import type { ContainerUser, Folders } from "./folders.ts";
import { lockedDown, SOCKET_IN_CONTAINER } from "./request.ts";

const PATIENCE_MS = 10_000;
const PROBE_MS = 20;
/** A server that says hello to whoever connects. */
const SERVER = `require("node:net").createServer((socket) => socket.end("hello")).listen("${SOCKET_IN_CONTAINER}", () => require("node:fs").chmodSync("${SOCKET_IN_CONTAINER}", 0o660))`;

export interface TrialParts {
  readonly engine: Engine;
  readonly folders: Folders;
  readonly user: ContainerUser;
  readonly labels: Labels;
}

/**
 * What an earlier trial on this engine found, else a new trial's outcome. It is kept in `cacheDir` when the trial's container
 * has run: what kept it from running may be gone the next time.
 */
export async function sharesSockets(
  parts: TrialParts,
  {
    engineId,
    cacheDir,
    image,
  }: { readonly engineId: string; readonly cacheDir: string; readonly image: string },
): Promise<boolean> {
  const folder = join(cacheDir, "engines");
  const file = join(folder, engineId.replaceAll(/[^A-Za-z0-9]+/g, "-"));
  const known = await readFile(file, "utf8").catch(() => "");
  if (known === "socket" || known === "port") return known === "socket";
  const found = await tryOut(parts, image);
  if (found !== "not run") {
    await mkdir(folder, { recursive: true });
    await writeFile(file, found);
  }
  return found === "socket";
}

type Outcome = "socket" | "port" | "not run";

async function tryOut({ engine, folders, user, labels }: TrialParts, image: string): Promise<Outcome> {
  const folder = await folders.claim({});
  const request = lockedDown(image, {
    options: {},
    transport: "socket",
    user,
    publishOn: "",
    folder,
    port: 0,
  });
  let container: string | undefined;
  try {
    container = await engine.create(`windjammer-trial-${randomBytes(4).toString("hex")}`, {
      ...request,
      Entrypoint: ["node", "-e", SERVER],
      Labels: { ...labels },
    });
    await engine.start(container);
    return await outcome(engine, container, folder.socketPath);
  } catch (error) {
    // An engine on another machine says that there is no such folder.
    if (error instanceof EngineRefusedError) return "not run";
    throw error;
  } finally {
    if (container !== undefined) await engine.remove(container).catch(() => {});
    await folders.release(folder);
  }
}

async function outcome(engine: Engine, container: string, socketPath: string): Promise<Outcome> {
  const giveUpAt = performance.now() + PATIENCE_MS;
  for (let probe = 0; performance.now() < giveUpAt; probe++) {
    if (await saysHello(socketPath)) return "socket";
    if (probe % 10 === 9 && (await engine.inspect(container))?.isRunning !== true) return "not run";
    await delay(PROBE_MS);
  }
  return "port";
}

function saysHello(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(socketPath);
    socket.once("data", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
    socket.once("end", () => resolve(false));
  });
}
