// The doctor's look at this machine: Node, npm, folders, disk space and ports.
import { execFile } from "node:child_process";
import { constants } from "node:fs";
import { access, statfs } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { dirname, resolve } from "node:path";
import { promisify } from "node:util";
import { isNodeError } from "../../errors.ts";
import { bytesText } from "../units.ts";
import type { Finding } from "./finding.ts";

const TOOL_TIMEOUT_MS = 20_000;
const ANSWER_TIMEOUT_MS = 2_000;
/** Less makes a deployment fail halfway; a Python framework alone takes gigabytes. */
const LEAST_DISK_BYTES = 256 * 2 ** 20;
const AMPLE_DISK_BYTES = 4 * 2 ** 30;
const LOOPBACK = "127.0.0.1";

export async function checkNode(): Promise<Finding> {
  const { node } = process.versions;
  const name = "Node";
  return Number(node.split(".")[0]) >= 24
    ? { name, outcome: "ok", found: `${node}, ${process.platform} ${process.arch}` }
    : { name, outcome: "missing", found: `${node}, and it takes 24 or newer`, fix: "nvm install 24" };
}

export async function checkNpm(): Promise<Finding> {
  const name = "npm";
  try {
    const { stdout } = await promisify(execFile)("npm", ["--version"], { timeout: TOOL_TIMEOUT_MS });
    return { name, outcome: "ok", found: stdout.trim() };
  } catch (error) {
    return {
      name,
      outcome: "missing",
      found: `cannot be started, and it installs the packages of models (${(error as Error).message.split("\n")[0]})`,
      fix: "nvm install 24",
    };
  }
}

/** Whether a folder, or the one that it will be made in, can be written, and how much room there is. */
export async function checkFolder(name: string, folder: string, option: string): Promise<Finding> {
  const at = await existing(resolve(folder));
  const other = `windjammer start ${option} FOLDER`;
  try {
    await access(at, constants.W_OK | constants.X_OK);
  } catch {
    return { name, outcome: "missing", found: `${folder} cannot be written`, fix: other };
  }
  const { bavail, bsize } = await statfs(at);
  const free = bavail * bsize;
  const found = `${folder}, ${bytesText(free)} free`;
  if (free >= AMPLE_DISK_BYTES) return { name, outcome: "ok", found };
  const outcome = free < LEAST_DISK_BYTES ? "missing" : "warn";
  return { name, outcome, found: `${found}; packages of models take up to gigabytes`, fix: other };
}

async function existing(folder: string): Promise<string> {
  try {
    await access(folder);
    return folder;
  } catch {
    const parent = dirname(folder);
    return parent === folder ? folder : existing(parent);
  }
}

/** Whether a server can listen on a port, or one of ours does already. */
export async function checkPort(name: string, port: number, option: string): Promise<Finding> {
  const problem = await listen(port);
  if (problem === undefined) return { name, outcome: "ok", found: `port ${port} is free` };
  if (problem === "EADDRINUSE" && (await isWindjammer(port)))
    return { name, outcome: "ok", found: `port ${port}: a Windjammer answers there already` };
  const why = problem === "EADDRINUSE" ? "is used by another program" : `cannot be listened on (${problem})`;
  return {
    name,
    outcome: "missing",
    found: `port ${port} ${why}`,
    fix: `windjammer start ${option} ${await freePort()}`,
  };
}

/** Undefined: it can be listened on; else the error's code. */
function listen(port: number): Promise<string | undefined> {
  return new Promise((done) => {
    const server = createServer();
    server.once("error", (error) => done((isNodeError(error) ? error.code : undefined) ?? error.message));
    server.listen(port, LOOPBACK, () => server.close(() => done(undefined)));
  });
}

function freePort(): Promise<number> {
  return new Promise((done) => {
    const server = createServer();
    server.listen(0, LOOPBACK, () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => done(port));
    });
  });
}

async function isWindjammer(port: number): Promise<boolean> {
  try {
    const signal = AbortSignal.timeout(ANSWER_TIMEOUT_MS);
    const reply = await fetch(`http://${LOOPBACK}:${port}/health/live`, { signal });
    return ((await reply.json()) as { readonly status?: unknown }).status === "live";
  } catch {
    return false;
  }
}
