// State folders of embedded servers go with their process, or with the next one that starts.
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, realpath, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { holdStateDir } from "../../../core/registry/state-dir.ts";
import { makeTemporaryStateDir } from "../../../core/registry/temporary-state-dir.ts";

const SOURCE = fileURLToPath(new URL("../../../core/registry/temporary-state-dir.ts", import.meta.url));

let parent: string;

beforeEach(async () => {
  parent = await realpath(await mkdtemp(join(tmpdir(), "wj-temporary-")));
  vi.stubEnv("TMPDIR", parent);
});

afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(parent, { recursive: true });
});

/** Makes one in a process of its own, which then runs `end`; gives its path. */
function madeElsewhere(end: string): Promise<string> {
  const script = `
    const { makeTemporaryStateDir } = await import(${JSON.stringify(SOURCE)});
    process.stdout.write(makeTemporaryStateDir().folder, () => { ${end} });
    setInterval(() => {}, 1000);`;
  return new Promise((resolve) => {
    execFile(process.execPath, ["--input-type=module", "-e", script], (_, stdout) => resolve(stdout));
  });
}

async function makeOld(folder: string): Promise<void> {
  const hourAgo = new Date(Date.now() - 3_600_000);
  await utimes(folder, hourAgo, hourAgo);
}

it("goes when it is removed, and when its process exits without that", async () => {
  const listeners = process.listenerCount("exit");
  const temporary = makeTemporaryStateDir();
  const { folder } = temporary;
  expect(existsSync(folder)).toBe(true);
  temporary.remove();
  expect(existsSync(folder)).toBe(false);
  expect(process.listenerCount("exit")).toBe(listeners);

  const exited = await madeElsewhere("process.exit(3)");
  expect(exited).toContain(parent);
  expect(existsSync(exited)).toBe(false);
});

it("goes with the next start when its process was killed; young ones and those in use stay", async () => {
  const killed = await madeElsewhere('process.kill(process.pid, "SIGINT")');
  expect(existsSync(killed)).toBe(true);
  const used = join(parent, "windjammer-state-used");
  await mkdir(used);
  const hold = holdStateDir(used);
  const foreign = join(parent, "windjammer-of-somebody-else");
  await mkdir(foreign);
  await writeFile(join(parent, "windjammer-state-file"), "");

  makeTemporaryStateDir().remove();
  expect(existsSync(killed)).toBe(true);
  for (const folder of [killed, used, foreign]) await makeOld(folder);
  makeTemporaryStateDir().remove();
  expect([killed, used, foreign].map((folder) => existsSync(folder))).toEqual([false, true, true]);
  hold.release();
});
