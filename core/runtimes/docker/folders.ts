// Folders of the host that replicas share with the frontend: one each, for its socket and its secrets.
import { randomBytes } from "node:crypto";
import { chmod, chown, lstat, mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { StateDirError } from "../../errors.ts";

/** Longest path a Unix socket may have everywhere: macOS takes 104 bytes with the closing zero, Linux 108. */
const MAX_SOCKET_PATH_BYTES = 103;
const SOCKETS = "run";
const SECRETS = "secrets";
const LOGS = "logs";
/** Name of the socket in its folder. */
export const SOCKET = "s";

/** Who runs in a container, such that the frontend may use the socket it makes. */
export interface ContainerUser {
  readonly uid: number;
  readonly gid: number;
  /** The frontend has to give its folders away to that user. */
  readonly needsChown: boolean;
}

/**
 * Never root: the frontend's own user, or 1000 where the frontend is root. A rootless engine runs its containers'
 * users under other ids, but its group 0 is the frontend's own.
 */
export function containerUser(isRootless: boolean): ContainerUser {
  if (isRootless) return { uid: 1000, gid: 0, needsChown: false };
  const uid = process.getuid?.() ?? 0;
  if (uid === 0) return { uid: 1000, gid: 1000, needsChown: true };
  return { uid, gid: process.getgid?.() ?? uid, needsChown: false };
}

/** Folder of one replica. */
export interface ReplicaFolder {
  readonly path: string;
  /** Mounted into the container. */
  readonly sockets: string;
  /** Mounted too, read-only, when there are secrets. */
  readonly secrets: string;
  readonly socketPath: string;
}

export function replicaFolder(path: string): ReplicaFolder {
  const sockets = join(path, SOCKETS);
  return { path, sockets, secrets: join(path, SECRETS), socketPath: join(sockets, SOCKET) };
}

export class Folders {
  readonly #runDir: string;
  readonly #root: string;
  readonly #user: ContainerUser;

  private constructor(runDir: string, root: string, user: ContainerUser) {
    this.#runDir = runDir;
    this.#root = root;
    this.#user = user;
  }

  /** Makes the folders, and removes from them what is not `inUse`. @throws StateDirError */
  static async open(
    { runDir, owner }: { readonly runDir: string; readonly owner: string },
    user: ContainerUser,
    inUse: ReadonlySet<string>,
  ): Promise<Folders> {
    // The same one after a restart, since replicas may still have their sockets there.
    const root = isShortEnough(runDir) ? runDir : join(tmpdir(), `windjammer-${owner}`);
    for (const folder of new Set([runDir, root])) {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      if ((await lstat(folder)).uid !== (process.getuid?.() ?? 0))
        throw new StateDirError(
          `folder ${folder} belongs to another user; remove it, or choose another stateDir`,
        );
      await chmod(folder, 0o700);
      const names = (await readdir(folder)).filter((name) => !inUse.has(join(folder, name)));
      await Promise.all(names.map((name) => rm(join(folder, name), { recursive: true, force: true })));
    }
    await mkdir(join(runDir, LOGS), { mode: 0o700 });
    return new Folders(runDir, root, user);
  }

  logPath(replica: string): string {
    return join(this.#runDir, LOGS, `${replica}.log`);
  }

  /** A new folder with these secrets in it, whose contents only the container's user and the frontend can use. */
  async claim(secrets: Readonly<Record<string, string>>): Promise<ReplicaFolder> {
    const folder = replicaFolder(join(this.#root, randomBytes(4).toString("hex")));
    await mkdir(folder.path, { mode: 0o700 });
    for (const path of [folder.sockets, folder.secrets]) {
      await mkdir(path);
      await this.#share(path, 0o770);
    }
    for (const [name, secret] of Object.entries(secrets)) {
      const path = join(folder.secrets, name);
      await writeFile(path, secret, { mode: 0o600 });
      await this.#share(path, 0o440);
    }
    return folder;
  }

  async release(folder: Pick<ReplicaFolder, "path">): Promise<void> {
    await rm(folder.path, { recursive: true, force: true });
  }

  async remove(): Promise<void> {
    for (const folder of [this.#root, this.#runDir]) await rm(folder, { recursive: true, force: true });
  }

  async #share(path: string, mode: number): Promise<void> {
    if (this.#user.needsChown) await chown(path, this.#user.uid, this.#user.gid);
    await chmod(path, mode);
  }
}

/** Whether sockets can lie in a run folder of this path; else they lie in the temporary folder. */
export function isShortEnough(folder: string): boolean {
  return Buffer.byteLength(replicaFolder(join(folder, "01234567")).socketPath) <= MAX_SOCKET_PATH_BYTES;
}
