// The state folder: makes it, holds it for this process, and words what is wrong with it.
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { DiskFullError, isNodeError, StateDirError, StateDirInUseError, WindjammerError } from "../errors.ts";

const HOLD_TIMEOUT_MS = 250;

const SQLITE = {
  busy: 5,
  locked: 6,
  readOnly: 8,
  corrupt: 11,
  full: 13,
  cannotOpen: 14,
  notADatabase: 26,
  /** No room for the index of the write-ahead log. */
  ioErrorSharedMemorySize: 4874,
} as const;

const GIVE_ANOTHER = "give a folder that can be written (stateDir, --state-dir)";

const NOT_WRITABLE = `it cannot be opened for writing; ${GIVE_ANOTHER}`;
const IN_PLACE_OF_FOLDER = `a file is in the place of a folder; ${GIVE_ANOTHER}`;
const DAMAGED = "it is damaged; put a backup in its place, or move it away to start with an empty registry";
const LOCKED = "another program has locked it; close that program and try again";

/** What the codes of SQLite and of the file system mean here. */
const TROUBLES: ReadonlyMap<number | string, string> = new Map<number | string, string>([
  [SQLITE.busy, LOCKED],
  [SQLITE.locked, LOCKED],
  [SQLITE.readOnly, NOT_WRITABLE],
  [SQLITE.cannotOpen, NOT_WRITABLE],
  [SQLITE.corrupt, DAMAGED],
  [SQLITE.notADatabase, DAMAGED],
  ["EEXIST", IN_PLACE_OF_FOLDER],
  ["ENOTDIR", IN_PLACE_OF_FOLDER],
  ["EACCES", NOT_WRITABLE],
  ["EPERM", NOT_WRITABLE],
  ["EROFS", NOT_WRITABLE],
]);

/** Makes a private folder with its parents. @throws StateDirError, DiskFullError */
export function makeStateDir(folder: string): void {
  try {
    makePrivate(folder);
  } catch (error) {
    throw stateError(error, folder);
  }
}

/** Not mkdir's own `recursive`: it never returns where a folder refuses children with ENOENT, as /proc does. */
function makePrivate(folder: string): void {
  const parent = dirname(folder);
  if (parent !== folder && !existsSync(parent)) makePrivate(parent);
  try {
    mkdirSync(folder, { mode: 0o700 });
  } catch (error) {
    if (!statSync(folder, { throwIfNoEntry: false })?.isDirectory()) throw error;
  }
}

/** A state folder that this process holds. */
export interface StateDirHold {
  release(): void;
}

/**
 * Takes the folder for this process, until `release` or the end of the process.
 *
 * The hold is SQLite's exclusive lock on a database of its own: the kernel drops it with the process, also after
 * SIGKILL, so no stale lock can be left, and it works against a second taker in the same process as well. The pid
 * stands in a file beside it, since nobody else can read a database that is locked.
 * @param timeoutMs how long to wait, without a pause for anything else, for another that is just trying or closing
 * @throws StateDirInUseError, StateDirError
 */
export function holdStateDir(folder: string, timeoutMs: number = HOLD_TIMEOUT_MS): StateDirHold {
  const pidFile = join(folder, "server.pid");
  let lock: DatabaseSync | undefined;
  try {
    lock = new DatabaseSync(join(folder, "lock.db"), { timeout: timeoutMs });
    lock.exec("PRAGMA journal_mode = OFF; BEGIN EXCLUSIVE");
  } catch (error) {
    lock?.close();
    if (sqliteCode(error) !== SQLITE.busy) throw stateError(error, folder);
    throw new StateDirInUseError(
      `state folder ${folder} is used by another server${otherPid(pidFile)}: connect to that server, or give ` +
        "another folder (stateDir, --state-dir)",
      { cause: error, details: { stateDir: folder } },
    );
  }
  writePid(pidFile);
  return {
    release: () => {
      if (!lock.isOpen) return;
      rmSync(pidFile, { force: true });
      lock.close();
    },
  };
}

/**
 * The process that holds the folder; undefined when none does, or there is no such folder. Looked up by trying its lock,
 * so that the pid is no other program's.
 */
export function stateDirHolder(folder: string): { readonly pid: number | undefined } | undefined {
  const file = join(folder, "lock.db");
  if (!existsSync(file)) return undefined;
  let lock: DatabaseSync | undefined;
  try {
    lock = new DatabaseSync(file, { readOnly: true, timeout: 0 });
    lock.exec("SELECT count(*) FROM sqlite_schema");
    return undefined;
  } catch (error) {
    if (sqliteCode(error) !== SQLITE.busy) throw stateError(error, folder);
    return { pid: livingPid(join(folder, "server.pid")) };
  } finally {
    lock?.close();
  }
}

/** The pid only helps people; a full disk must not make it an obstacle. */
function writePid(pidFile: string): void {
  try {
    writeFileSync(pidFile, `${process.pid}\n`);
  } catch {
    rmSync(pidFile, { force: true });
  }
}

function otherPid(pidFile: string): string {
  const pid = livingPid(pidFile);
  return pid === undefined ? "" : ` (pid ${pid})`;
}

function livingPid(pidFile: string): number | undefined {
  try {
    const pid = Number.parseInt(readFileSync(pidFile, "utf8"), 10);
    process.kill(pid, 0);
    return pid;
  } catch {
    return undefined;
  }
}

/** Turns an error of SQLite or of the file system into ours; `path` is what was being used. */
export function stateError(error: unknown, path: string): WindjammerError {
  if (error instanceof WindjammerError) return error;
  const message = error instanceof Error ? error.message : String(error);
  const options = { cause: error, details: { path } };
  if (isFull(error))
    return new DiskFullError(`no space left on the disk of ${path}; free some and try again`, options);
  return new StateDirError(
    `${path} cannot be used: ${troubleOf(error) ?? `${message}; ${GIVE_ANOTHER}`}`,
    options,
  );
}

/** For a file that can be opened, but not understood. */
export function damaged(path: string, what: string, cause?: unknown): StateDirError {
  return new StateDirError(
    `${path} is damaged: ${what}; put a backup in its place, or move it away to start with an empty registry`,
    { cause, details: { path } },
  );
}

function isFull(error: unknown): boolean {
  const code = sqliteCode(error);
  if (code !== undefined) return (code & 0xff) === SQLITE.full || code === SQLITE.ioErrorSharedMemorySize;
  return isNodeError(error) && (error.code === "ENOSPC" || error.code === "EDQUOT");
}

function troubleOf(error: unknown): string | undefined {
  const code = sqliteCode(error);
  if (code !== undefined) return TROUBLES.get(code & 0xff);
  return isNodeError(error) ? TROUBLES.get(error.code ?? "") : undefined;
}

/** Extended result code of an error of node:sqlite. */
function sqliteCode(error: unknown): number | undefined {
  if (!isNodeError(error) || error.code !== "ERR_SQLITE_ERROR") return undefined;
  return "errcode" in error && typeof error.errcode === "number" ? error.errcode : undefined;
}
