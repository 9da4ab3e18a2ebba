// The durable store: one SQLite file in the state folder, held by one process at a time.
import { join, resolve } from "node:path";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { ShuttingDownError, StateDirError } from "../errors.ts";
import type { DeploymentEvent } from "../types.ts";
import { damaged, holdStateDir, makeStateDir, stateError, type StateDirHold } from "./state-dir.ts";
import {
  COLLECTION_NAMES,
  emptyState,
  encodeChanges,
  type Change,
  type EncodedChange,
  type State,
  type Store,
} from "./store.ts";

const SCHEMA_VERSION = 1;

/** Another program, such as a backup, may lock the file this long. */
const BUSY_TIMEOUT_MS = 1_000;

const SCHEMA = `
  BEGIN;
  CREATE TABLE records (
    collection TEXT NOT NULL, key TEXT NOT NULL, json TEXT NOT NULL, PRIMARY KEY (collection, key)
  );
  CREATE TABLE events (id INTEGER PRIMARY KEY, deployment TEXT NOT NULL, json TEXT NOT NULL);
  CREATE INDEX events_of_deployment ON events (deployment, id);
  PRAGMA user_version = ${SCHEMA_VERSION};
  COMMIT;
`;

interface OpenDatabase {
  readonly hold: StateDirHold;
  readonly db: DatabaseSync;
  readonly put: StatementSync;
  readonly remove: StatementSync;
  readonly removeEvents: StatementSync;
  readonly append: StatementSync;
  readonly events: StatementSync;
}

/** Store in `<stateDir>/registry.db` (write-ahead log, synced on every commit). */
export class SqliteStore implements Store {
  readonly name: string = "sqlite";
  readonly #folder: string;
  readonly #file: string;
  #open: OpenDatabase | undefined;

  constructor(stateDir: string) {
    this.#folder = resolve(stateDir);
    this.#file = join(this.#folder, "registry.db");
  }

  async open(): Promise<State> {
    makeStateDir(this.#folder);
    const hold = holdStateDir(this.#folder);
    let db: DatabaseSync | undefined;
    try {
      db = new DatabaseSync(this.#file, { timeout: BUSY_TIMEOUT_MS });
      prepareSchema(db, this.#file);
      const state = readState(db, this.#file);
      this.#open = prepareStatements(db, hold);
      return state;
    } catch (error) {
      db?.close();
      hold.release();
      throw stateError(error, this.#file);
    }
  }

  async commit(changes: readonly Change[]): Promise<void> {
    const encoded = encodeChanges(changes);
    const open = this.#opened();
    try {
      writeAll(open, encoded);
    } catch (error) {
      throw stateError(error, this.#file);
    }
  }

  async appendEvent(deployment: string, event: DeploymentEvent): Promise<void> {
    const { append } = this.#opened();
    try {
      append.run(deployment, JSON.stringify(event));
    } catch (error) {
      throw stateError(error, this.#file);
    }
  }

  async events(deployment: string): Promise<readonly DeploymentEvent[]> {
    const { events } = this.#opened();
    try {
      return events.all(deployment).map((row) => parseRow(row, this.#file) as DeploymentEvent);
    } catch (error) {
      throw stateError(error, this.#file);
    }
  }

  async close(): Promise<void> {
    const open = this.#open;
    this.#open = undefined;
    open?.db.close();
    open?.hold.release();
  }

  #opened(): OpenDatabase {
    if (this.#open === undefined)
      throw new ShuttingDownError(`the registry in ${this.#folder} is closed; open it first`);
    return this.#open;
  }
}

function prepareSchema(db: DatabaseSync, file: string): void {
  db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");
  const version = Number(db.prepare("PRAGMA user_version").get()?.["user_version"]);
  if (version > SCHEMA_VERSION) {
    throw new StateDirError(
      `${file} was written by a newer Windjammer (schema ${version}, this one knows ${SCHEMA_VERSION}); ` +
        "update Windjammer, or give another folder (stateDir, --state-dir)",
      { details: { path: file } },
    );
  }
  if (version === 0) db.exec(SCHEMA);
  const check = String(db.prepare("PRAGMA quick_check(1)").get()?.["quick_check"]);
  if (check !== "ok") throw damaged(file, check);
}

function prepareStatements(db: DatabaseSync, hold: StateDirHold): OpenDatabase {
  return {
    hold,
    db,
    // An update keeps the rowid, and with it the order in which records were first put.
    put: db.prepare(
      "INSERT INTO records (collection, key, json) VALUES (?, ?, ?) " +
        "ON CONFLICT (collection, key) DO UPDATE SET json = excluded.json",
    ),
    remove: db.prepare("DELETE FROM records WHERE collection = ? AND key = ?"),
    removeEvents: db.prepare("DELETE FROM events WHERE deployment = ?"),
    append: db.prepare("INSERT INTO events (deployment, json) VALUES (?, ?)"),
    events: db.prepare(
      "SELECT 'events' AS collection, deployment AS key, json FROM events WHERE deployment = ? ORDER BY id",
    ),
  };
}

/** One transaction; it runs without a pause, so that no other commit can fall into it. */
function writeAll(open: OpenDatabase, changes: readonly EncodedChange[]): void {
  open.db.exec("BEGIN IMMEDIATE");
  try {
    for (const { collection, key, json } of changes) {
      if (json !== undefined) open.put.run(collection, key, json);
      else open.remove.run(collection, key);
      if (json === undefined && collection === "deployments") open.removeEvents.run(key);
    }
    open.db.exec("COMMIT");
  } catch (error) {
    // A full disk can make SQLite roll back by itself.
    if (open.db.isTransaction) open.db.exec("ROLLBACK");
    throw error;
  }
}

function readState(db: DatabaseSync, file: string): State {
  const state = emptyState();
  for (const row of db.prepare("SELECT collection, key, json FROM records ORDER BY rowid").iterate()) {
    const collection = COLLECTION_NAMES.find((name) => name === row["collection"]);
    if (collection === undefined) throw damaged(file, `unknown collection "${String(row["collection"])}"`);
    state[collection].set(String(row["key"]), parseRow(row, file) as never);
  }
  return state;
}

/** Records are trusted once they are JSON objects: they were checked before they were written. */
function parseRow(row: { readonly [column: string]: unknown }, file: string): object {
  const name = `record "${String(row["key"])}" of ${String(row["collection"])}`;
  let value: unknown;
  try {
    value = JSON.parse(String(row["json"]));
  } catch (error) {
    throw damaged(file, `${name} is not JSON`, error);
  }
  if (typeof value !== "object" || value === null) throw damaged(file, `${name} is not an object`);
  return value;
}
