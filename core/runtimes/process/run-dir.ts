// The private folder of running replicas: their sockets, records and logs, and what an earlier frontend left in it.
import { chmod, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { processIdentity, signalGroup } from "./process-info.ts";

/** Longest path a Unix socket may have everywhere: macOS takes 104 bytes with the closing zero, Linux 108. */
const MAX_SOCKET_PATH_BYTES = 103;
const SOCKET = "s";
const LOGS = "logs";
const SOCKETS_ELSEWHERE = "sockets-elsewhere";

/** Folder of one replica: working folder and place of its socket. */
export interface ReplicaFolder {
  readonly name: string;
  readonly path: string;
  readonly socketPath: string;
}

/** Who runs in a folder, for the frontend that comes after a crash. */
interface Record {
  readonly replica: string;
  readonly pid: number;
  readonly identity: string;
}

export class RunDir {
  readonly #root: string;
  readonly #sockets: string;
  #count = 0;

  private constructor(root: string, sockets: string) {
    this.#root = root;
    this.#sockets = sockets;
  }

  /** Makes the folder, kills replicas that outlived an earlier frontend, and removes all it left. */
  static async open(root: string): Promise<RunDir> {
    await mkdir(root, { recursive: true, mode: 0o700 });
    await chmod(root, 0o700);
    await empty(root);
    await mkdir(join(root, LOGS), { mode: 0o700 });
    if (isShort(root)) return new RunDir(root, root);
    const sockets = await mkdtemp(join(tmpdir(), "windjammer-"));
    if (!isShort(sockets))
      throw new Error(`no folder is short enough for sockets, not even ${sockets} (TMPDIR)`);
    await writeFile(join(root, SOCKETS_ELSEWHERE), sockets);
    return new RunDir(root, sockets);
  }

  logPath(replica: string): string {
    return join(this.#root, LOGS, `${replica}.log`);
  }

  /** A new, empty folder for one replica. */
  async claim(): Promise<ReplicaFolder> {
    this.#count += 1;
    const name = `r${this.#count}`;
    const path = join(this.#sockets, name);
    await mkdir(path, { mode: 0o700 });
    return { name, path, socketPath: join(path, SOCKET) };
  }

  async record(folder: ReplicaFolder, record: Record): Promise<void> {
    const path = join(this.#root, `${folder.name}.json`);
    await writeFile(`${path}.new`, JSON.stringify(record));
    await rename(`${path}.new`, path);
  }

  async release(folder: ReplicaFolder): Promise<void> {
    await rm(folder.path, { recursive: true, force: true });
    await rm(join(this.#root, `${folder.name}.json`), { force: true });
  }

  async remove(): Promise<void> {
    await rm(this.#sockets, { recursive: true, force: true });
    await rm(this.#root, { recursive: true, force: true });
  }
}

function isShort(folder: string): boolean {
  return Buffer.byteLength(join(folder, "r99999999", SOCKET)) <= MAX_SOCKET_PATH_BYTES;
}

async function empty(root: string): Promise<void> {
  const names = await readdir(root);
  const records = await Promise.all(
    names.filter((name) => name.endsWith(".json")).map((name) => readRecord(join(root, name))),
  );
  await Promise.all(records.filter((record) => record !== undefined).map(killOrphan));
  const elsewhere = await readFile(join(root, SOCKETS_ELSEWHERE), "utf8").catch(() => "");
  if (elsewhere.startsWith(join(tmpdir(), "windjammer-")))
    await rm(elsewhere, { recursive: true, force: true });
  await Promise.all(names.map((name) => rm(join(root, name), { recursive: true, force: true })));
}

async function readRecord(path: string): Promise<Record | undefined> {
  try {
    const record = JSON.parse(await readFile(path, "utf8")) as Partial<Record>;
    const { replica, pid, identity } = record;
    if (typeof replica !== "string" || typeof identity !== "string") return undefined;
    return typeof pid === "number" && Number.isInteger(pid) && pid > 1
      ? { replica, pid, identity }
      : undefined;
  } catch {
    return undefined;
  }
}

/** Kills what the record names, if it is still the same process, and waits until it has gone (at most 5 s). */
async function killOrphan(record: Record): Promise<void> {
  const isSame = async (): Promise<boolean> => (await processIdentity(record.pid)) === record.identity;
  if (!(await isSame())) return;
  signalGroup(record.pid, "SIGKILL");
  for (let tries = 0; tries < 250 && (await isSame()); tries++) await delay(20);
}
