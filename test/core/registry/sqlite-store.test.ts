// The SQLite store: the suite of stores, the hold on its folder, damage, a full disk, and SIGKILL.
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, open, readdir, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { DiskFullError, StateDirError, StateDirInUseError } from "../../../core/errors.ts";
import { SqliteStore } from "../../../core/registry/sqlite-store.ts";
import { testStore } from "../../conformance/store.ts";
import { mountSmallDisk, whyNoMount } from "../small-disk.ts";
import { anApplication, anEvent } from "./records.ts";

const HOLD_PROGRAM = join(import.meta.dirname, "hold-program.ts");
const COMMIT_PROGRAM = join(import.meta.dirname, "commit-program.ts");

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "windjammer-store-"));
});

afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

testStore(
  async () => {
    const place = await mkdtemp(join(tmpdir(), "windjammer-store-"));
    return {
      store: () => new SqliteStore(place),
      dispose: () => rm(place, { recursive: true, force: true }),
    };
  },
  { isDurable: true },
);

function child(program: string, stateDir: string): ChildProcess {
  const started = spawn(process.execPath, [program, stateDir], { stdio: ["pipe", "pipe", "inherit"] });
  onTestFinished(() => void started.kill("SIGKILL"));
  return started;
}

async function* linesOf(started: ChildProcess): AsyncGenerator<string> {
  if (started.stdout !== null) yield* createInterface({ input: started.stdout });
}

async function firstLine(started: ChildProcess): Promise<string> {
  const { value } = await linesOf(started).next();
  return String(value);
}

async function killed(started: ChildProcess): Promise<void> {
  const exited = once(started, "exit");
  started.kill("SIGKILL");
  await exited;
}

function put(name: string, defaultOutput: string): Parameters<SqliteStore["commit"]>[0] {
  return [{ put: "applications", record: anApplication(name, { defaultOutput }) }];
}

describe("the hold on the folder", () => {
  test("makes the folder with its parents, for its owner alone", async () => {
    const store = new SqliteStore(join(folder, "a", "b"));
    await store.open();
    expect((await stat(join(folder, "a", "b"))).mode & 0o777).toBe(0o700);
    await store.close();
    expect(await readdir(join(folder, "a", "b"))).toEqual(["lock.db", "registry.db"]);
  });

  test("refuses a second store of the same process, also through a symbolic link", async () => {
    const first = new SqliteStore(folder);
    await first.open();
    onTestFinished(() => first.close());
    const alias = `${folder}-alias`;
    await symlink(folder, alias);
    onTestFinished(() => rm(alias));

    for (const path of [folder, alias]) {
      const error = await new SqliteStore(path).open().catch((refusal: unknown) => refusal);
      expect(error).toBeInstanceOf(StateDirInUseError);
      expect(String(error)).toContain(`state folder ${path} is used by another server (pid ${process.pid})`);
      expect(String(error)).toMatch(/connect to that server, or give another folder/u);
    }
    await first.commit(put("still", "mine"));
  });

  test("refuses a server in another process, and names its pid", async () => {
    const other = child(HOLD_PROGRAM, folder);
    expect(await firstLine(other)).toBe("open");
    await expect(new SqliteStore(folder).open()).rejects.toThrow(`(pid ${other.pid})`);
  });

  test("is free at once after the holder was killed, again and again", async () => {
    for (let round = 0; round < 3; round++) {
      const other = child(HOLD_PROGRAM, folder);
      expect(await firstLine(other)).toBe("open");
      await killed(other);
    }
    const store = new SqliteStore(folder);
    await store.open();
    await store.close();
  });

  test("is free after close, and after an opening that failed", async () => {
    const store = new SqliteStore(folder);
    await store.open();
    await store.close();
    await writeFile(join(folder, "registry.db"), "x".repeat(10_000));
    await expect(store.open()).rejects.toThrow(StateDirError);
    await rm(join(folder, "registry.db"));
    await store.open();
    await store.close();
  });

  test("goes to exactly one of several that start at the same time", async () => {
    const started = Array.from({ length: 4 }, () => child(HOLD_PROGRAM, join(folder, "new", "state")));
    const outcomes = await Promise.all(started.map(firstLine));
    expect(outcomes.toSorted()).toEqual(["STATE_DIR_IN_USE", "STATE_DIR_IN_USE", "STATE_DIR_IN_USE", "open"]);
  });
});

describe("a folder or file that cannot be used", () => {
  test("says that a file is in the place of the folder, or of its parent", async () => {
    const file = join(folder, "file");
    await writeFile(file, "");
    for (const path of [file, join(file, "below")]) {
      const error = await new SqliteStore(path).open().catch((refusal: unknown) => refusal);
      expect(error).toBeInstanceOf(StateDirError);
      expect(String(error)).toMatch(/a file is in the place of a folder; give a folder that can be written/u);
    }
  });

  test.skipIf(process.platform !== "linux")("names a folder that cannot be made", async () => {
    const error = await new SqliteStore("/proc/windjammer").open().catch((refusal: unknown) => refusal);
    expect(error).toBeInstanceOf(StateDirError);
    expect(String(error)).toMatch(/\/proc\/windjammer cannot be used: .*give a folder/u);
  });

  test("says so when a folder is in the place of the database", async () => {
    await mkdir(join(folder, "registry.db"));
    await expect(new SqliteStore(folder).open()).rejects.toThrow(
      /cannot be opened for writing; give a folder/u,
    );
  });

  test("refuses a file that is no database, and leaves it as it is", async () => {
    await writeFile(join(folder, "registry.db"), "not a database ".repeat(1000));
    const opening = new SqliteStore(folder).open();
    await expect(opening).rejects.toThrow(
      /registry\.db cannot be used: it is damaged; put a backup in its place/u,
    );
    await expect(opening).rejects.toThrow(StateDirError);
    expect((await stat(join(folder, "registry.db"))).size).toBe(15_000);
  });

  test("finds a damaged page", async () => {
    const store = new SqliteStore(folder);
    await store.open();
    for (let i = 0; i < 50; i++) await store.commit(put(`app-${i}`, "x".repeat(2000)));
    await store.close();
    const file = await open(join(folder, "registry.db"), "r+");
    await file.write(Buffer.alloc(4096, 0xff), 0, 4096, 4096);
    await file.close();
    await expect(new SqliteStore(folder).open()).rejects.toThrow(/registry\.db .*damaged/u);
  });

  test("names a record that is not JSON", async () => {
    const store = new SqliteStore(folder);
    await store.open();
    await store.commit(put("digits", "1"));
    await store.close();
    const db = new DatabaseSync(join(folder, "registry.db"));
    db.exec("UPDATE records SET json = '{\"name\":'");
    db.close();
    const opening = store.open();
    await expect(opening).rejects.toThrow(/record "digits" of applications is not JSON/u);
    await expect(opening).rejects.toThrow(StateDirError);
  });

  test("refuses the registry of a newer Windjammer", async () => {
    const store = new SqliteStore(folder);
    await store.open();
    await store.close();
    const db = new DatabaseSync(join(folder, "registry.db"));
    db.exec("PRAGMA user_version = 99");
    db.close();
    await expect(store.open()).rejects.toThrow(
      /written by a newer Windjammer \(schema 99, this one knows 1\)/u,
    );
  });
});

describe("a disk without room", () => {
  test.skipIf(whyNoMount !== undefined)(
    `is said, loses nothing, and heals (${whyNoMount ?? "tmpfs"})`,
    async () => {
      const disk = await mountSmallDisk({ size: "256k" });
      onTestFinished(() => disk.unmount());
      const ballast = join(disk.path, "ballast");
      await writeFile(ballast, Buffer.alloc(64 * 1024));
      const store = new SqliteStore(disk.path);
      await store.open();
      let committed = 0;
      let refusal: unknown;
      while (refusal === undefined && committed < 1000) {
        try {
          await store.commit(put(`app-${committed}`, "x".repeat(5000)));
          committed++;
        } catch (error) {
          refusal = error;
        }
      }
      expect(refusal).toBeInstanceOf(DiskFullError);
      expect(String(refusal)).toMatch(
        /no space left on the disk of .*registry\.db; free some and try again/u,
      );
      expect(committed).toBeGreaterThan(5);

      await rm(ballast);
      await store.commit([{ delete: "applications", key: "app-0" }]);
      await store.close();
      const { applications } = await store.open();
      expect([...applications.keys()]).toEqual(
        Array.from({ length: committed - 1 }, (_, index) => `app-${index + 1}`),
      );
      await store.close();
    },
  );

  test.skipIf(whyNoMount !== undefined)(`that is read-only is said (${whyNoMount ?? "tmpfs"})`, async () => {
    const disk = await mountSmallDisk({ size: "256k" });
    onTestFinished(() => disk.unmount());
    const store = new SqliteStore(disk.path);
    await store.open();
    await store.close();
    spawnSync("mount", ["-o", "remount,ro", disk.path]);
    for (const path of [disk.path, join(disk.path, "new")]) {
      const opening = new SqliteStore(path).open();
      await expect(opening).rejects.toThrow(StateDirError);
      await expect(opening).rejects.toThrow(
        /cannot be opened for writing; give a folder that can be written/u,
      );
    }
  });
});

test("keeps every acknowledged commit whole over 20 kills", async () => {
  let acknowledged = 0;
  for (let round = 0; round < 20; round++) {
    const writer = child(COMMIT_PROGRAM, folder);
    const killAfter = 1 + Math.floor(Math.random() * 40);
    let lines = 0;
    for await (const line of linesOf(writer)) {
      acknowledged = Number(line);
      lines++;
      if (lines === killAfter) writer.kill("SIGKILL");
    }

    const store = new SqliteStore(folder);
    const { applications } = await store.open();
    const left = Number(applications.get("left")?.defaultOutput);
    expect(left).toBe(applications.get("right")?.defaultOutput);
    expect([acknowledged, acknowledged + 1]).toContain(left);
    const events = await store.events("deployment");
    expect(events.length).toBeGreaterThanOrEqual(acknowledged - 1 - round);
    expect(events.at(-1)).toEqual(anEvent(events.at(-1)?.sequence ?? 0));
    await store.close();
  }
});
