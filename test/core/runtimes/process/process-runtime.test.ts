// What the process runtime promises beyond the contract: nothing survives it, nothing leaks into it, nothing floods it.
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { access, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, it, vi } from "vitest";
import { ENV } from "../../../../containers/protocol.ts";
import {
  InvalidBundleError,
  InvalidOptionsError,
  ReplicaStartError,
  StateDirError,
  WindjammerError,
} from "../../../../core/errors.ts";
import { processIdentity } from "../../../../core/runtimes/process/process-info.ts";
import { ProcessRuntime } from "../../../../core/runtimes/process/process-runtime.ts";
import type { RunningReplica } from "../../../../core/runtimes/runtime.ts";
import { bench, emptyBundle, gone, lineMatching, WAITS } from "./scripts.ts";

const FRONTEND = fileURLToPath(new URL("./frontend.ts", import.meta.url));

const GRANDPARENT = `
import { spawn } from "node:child_process";
const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], { stdio: ["ignore", "inherit", "inherit"] });
console.log("child " + child.pid);
process.stdin.resume();`;

afterEach(() => {
  vi.unstubAllEnvs();
});

/** Starts frontend.ts, and kills it when its two replicas are up. */
async function killedFrontend(folder: string, script?: string): Promise<number[]> {
  const isCommand = script === "--command";
  const entry = script === undefined ? [] : [isCommand ? script : join(folder, "entry.mjs")];
  for (const path of isCommand ? [] : entry) await writeFile(path, script ?? "");
  const frontend = spawn(process.execPath, [FRONTEND, folder, ...entry], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [line] = (await once(createInterface(frontend.stdout), "line")) as [string];
  frontend.kill("SIGKILL");
  await once(frontend, "exit");
  return JSON.parse(line) as number[];
}

describe("the death of the frontend", () => {
  it("ends its model containers, though it was killed", async () => {
    const folder = await mkdtemp(join(tmpdir(), "windjammer-killed-"));
    const pids = await killedFrontend(folder);
    expect(pids).toHaveLength(2);
    await Promise.all(pids.map(gone));
    await rm(folder, { recursive: true });
  });

  it("ends programs that look at neither standard input nor SIGTERM, with what they started", async () => {
    const folder = await mkdtemp(join(tmpdir(), "windjammer-deaf-"));
    const pids = await killedFrontend(folder, "--command");
    expect(pids).toHaveLength(4);
    await Promise.all(pids.map(gone));
    await rm(folder, { recursive: true });
  });

  it("leaves replicas that do not listen to the next open, which kills them and clears the folder", async () => {
    const folder = await mkdtemp(join(tmpdir(), "windjammer-orphans-"));
    const pids = await killedFrontend(folder, `console.log("up"); setInterval(() => {}, 1000);`);
    for (const pid of pids) expect(await processIdentity(pid)).toBeDefined();

    const runtime = new ProcessRuntime({ packagesFrom: [], nodeArgs: [], killGraceMs: 200, entry: "none" });
    const runDir = join(folder, "run");
    await runtime.open({ runDir, cacheDir: join(folder, "cache"), owner: "test" });
    for (const pid of pids) expect(await processIdentity(pid)).toBeUndefined();
    expect(await readdir(runDir)).toEqual(["logs"]);
    expect(await readdir(join(runDir, "logs"))).toEqual([]);
    await runtime.close();
    await rm(folder, { recursive: true });
  });

  it("never costs a process its life that only has the number of a dead replica", async () => {
    const folder = await mkdtemp(join(tmpdir(), "windjammer-reuse-"));
    const runDir = join(folder, "run");
    const innocent = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], { detached: true });
    await mkdir(runDir);
    const record = { replica: "m-1-r1", pid: innocent.pid, identity: "another boot/12345" };
    await writeFile(join(runDir, "r1.json"), JSON.stringify(record));
    await writeFile(join(runDir, "r2.json"), JSON.stringify({ replica: "x", pid: -1, identity: "" }));
    await writeFile(join(runDir, "r3.json"), "{ cut off");

    const runtime = new ProcessRuntime({ packagesFrom: [], nodeArgs: [], killGraceMs: 200, entry: "none" });
    await runtime.open({ runDir, cacheDir: join(folder, "cache"), owner: "test" });
    expect(await processIdentity(innocent.pid ?? 0)).toBeDefined();
    await runtime.close();
    innocent.kill("SIGKILL");
    await rm(folder, { recursive: true });
  });
});

describe("one runtime", () => {
  it("is refused to a second server, and goes on for the first", async () => {
    await using bed = await bench();
    const context = { runDir: join(bed.folder, "run2"), cacheDir: join(bed.folder, "cache"), owner: "other" };
    await expect(bed.runtime.open(context)).rejects.toThrow(InvalidOptionsError);
    await expect(bed.runtime.open(context)).rejects.toThrow(/used by another server; make a new one/);
    const replica = await bed.start(WAITS);
    await lineMatching(replica, /^up$/);
  });
});

describe("packages that were linked and have gone", () => {
  it("are taken from where they are by then, or named when they are nowhere", async () => {
    const folder = await mkdtemp(join(tmpdir(), "windjammer-lost-"));
    const install = async (where: string): Promise<void> => {
      const path = join(folder, where, "node_modules", "a");
      await mkdir(path, { recursive: true });
      await writeFile(join(path, "package.json"), JSON.stringify({ name: "a", version: "1.0.0" }));
      await writeFile(join(path, "index.js"), `console.log("a of ${where}"); process.stdin.resume();`);
    };
    const empty = emptyBundle(join(folder, "bundle"));
    const bundle = { ...empty, manifest: { ...empty.manifest, packages: { a: "1.0.0" } } };
    await mkdir(bundle.files, { recursive: true });
    const entry = join(bundle.files, "entry.cjs");
    await writeFile(entry, `require("a"); process.stdin.on("end", () => process.exit(0));`);
    const packagesFrom = [join(folder, "one"), join(folder, "two")];
    const runtime = new ProcessRuntime({ packagesFrom, nodeArgs: [], killGraceMs: 200, entry });
    await runtime.open({ runDir: join(folder, "run"), cacheDir: join(folder, "cache"), owner: "test" });
    const start = (id: string): Promise<RunningReplica> =>
      runtime.start({ id, model: "m", version: "1", image: "process:a", bundle, limits: { cpus: 1 } });

    await install("one");
    await runtime.prepare(bundle, { report: () => undefined, signal: new AbortController().signal });
    await lineMatching(await start("r1"), /^a of one$/);
    await rm(join(folder, "one"), { recursive: true });
    await install("two");
    await lineMatching(await start("r2"), /^a of two$/);
    await rm(join(folder, "two"), { recursive: true });
    await writeFile(
      join(folder, "npm-cli.js"),
      `console.error("npm error code ENOTFOUND"); process.exit(1);`,
    );
    vi.stubEnv("npm_execpath", join(folder, "npm-cli.js"));
    await expect(start("r3")).rejects.toThrow(ReplicaStartError);
    await expect(start("r3")).rejects.toThrow(/package a is not where it was linked from any more/);
    await runtime.close();
    await rm(folder, { recursive: true });
  });
});

describe("stopping", () => {
  it("kills a replica that ignores SIGTERM, and what it spawned", async () => {
    await using bed = await bench();
    const replica = await bed.start(`process.on("SIGTERM", () => {});${GRANDPARENT}`);
    const grandchild = Number((await lineMatching(replica, /^child (\d+)$/))[1]);
    await replica.stop(50);
    expect(await replica.exited).toMatchObject({ reason: "stopped", signal: "SIGKILL" });
    await gone(grandchild);
  });

  it("kills what a crashed replica spawned", async () => {
    await using bed = await bench();
    const replica = await bed.start(`${GRANDPARENT} setTimeout(() => process.exit(4), 50);`);
    const grandchild = Number((await lineMatching(replica, /^child (\d+)$/))[1]);
    expect(await replica.exited).toMatchObject({ reason: "exited", exitCode: 4 });
    await gone(grandchild);
  });

  it("does not wait for the output of a grandchild that escaped", async () => {
    await using bed = await bench();
    const replica = await bed.start(
      `${GRANDPARENT.replace("stdio:", "detached: true, stdio:")} setTimeout(() => process.exit(5), 50);`,
    );
    const grandchild = Number((await lineMatching(replica, /^child (\d+)$/))[1]);
    expect(await replica.exited).toMatchObject({ reason: "exited", exitCode: 5 });
    process.kill(grandchild, "SIGKILL");
    await gone(grandchild);
  });

  it("takes the shorter grace of two stops", async () => {
    await using bed = await bench();
    const replica = await bed.start(`process.on("SIGTERM", () => {});${WAITS}`);
    await lineMatching(replica, /^up$/);
    const patient = replica.stop(60_000);
    await replica.stop(0);
    await patient;
    expect((await replica.exited).signal).toBe("SIGKILL");
  });

  it("removes the replica's folder and record when it has gone", async () => {
    await using bed = await bench();
    const replica = await bed.start(WAITS);
    await lineMatching(replica, /^up$/);
    const runDir = join(bed.folder, "run");
    expect((await readdir(runDir)).toSorted()).toEqual(["logs", "r1", "r1.json"]);
    expect((await stat(runDir)).mode & 0o777).toBe(0o700);
    expect((await stat(join(runDir, "r1"))).mode & 0o777).toBe(0o700);
    expect(JSON.parse(await readFile(join(runDir, "r1.json"), "utf8"))).toMatchObject({
      replica: "m-1-r1",
      pid: Number(replica.handle),
    });
    await replica.stop(0);
    expect(await readdir(runDir)).toEqual(["logs"]);
  });
});

describe("what a replica gets", () => {
  it("is a chosen environment, not the frontend's secrets", async () => {
    vi.stubEnv("DATABASE_PASSWORD", "hunter2");
    vi.stubEnv("NODE_OPTIONS", "--max-http-header-size=9999");
    await using bed = await bench();
    const replica = await bed.start(`console.log("env " + JSON.stringify(process.env));`, {
      limits: { cpus: 2.5, memoryMb: 512 },
    });
    const environment = JSON.parse((await lineMatching(replica, /^env (.*)$/))[1] ?? "") as NodeJS.ProcessEnv;
    expect(environment).toMatchObject({
      PATH: process.env["PATH"],
      FROM_MANIFEST: "yes",
      [ENV.modelName]: "m",
      [ENV.modelVersion]: "1",
      [ENV.modelDir]: join(bed.folder, "files"),
      [ENV.threads]: "3",
      [ENV.memoryLimitMb]: "512",
      [ENV.exitWithParent]: "1",
    });
    expect(environment).not.toHaveProperty("DATABASE_PASSWORD");
    expect(environment).not.toHaveProperty("NODE_OPTIONS");
    expect(environment).not.toHaveProperty("VITEST");
  });

  it("cannot be another socket or model by its manifest", async () => {
    await using bed = await bench();
    const script = join(bed.folder, "own.mjs");
    await writeFile(script, `console.log("socket " + process.env.${ENV.socket});`);
    const replica = await bed.start("", {
      bundle: emptyBundle(bed.folder, { SCRIPT: script, [ENV.socket]: "/tmp/elsewhere" }),
    });
    expect((await lineMatching(replica, /^socket (.*)$/))[1]).toBe(
      (replica.address as { socketPath: string }).socketPath,
    );
  });

  it("is a short socket path, also when the folder's is long", async () => {
    const long = `windjammer-${"long".repeat(25)}-`;
    let socketFolder = "";
    {
      await using bed = await bench(long);
      const replica = await bed.start(
        `import { createServer } from "node:net"; createServer().listen(process.env.${ENV.socket}, () => console.log("up"));`,
      );
      await lineMatching(replica, /^up$/);
      const { socketPath } = replica.address as { socketPath: string };
      expect(Buffer.byteLength(socketPath)).toBeLessThan(104);
      socketFolder = dirname(dirname(socketPath));
      expect((await stat(socketFolder)).mode & 0o777).toBe(0o700);
    }
    await expect(access(socketFolder)).rejects.toThrow("ENOENT");
  });

  it("is a heap of three quarters of its memory limit, and the exit of a full heap is out of memory", async () => {
    await using bed = await bench();
    const replica = await bed.start(
      `const hoard = []; for (;;) hoard.push(Array.from({ length: 1000 }, (_, i) => ({ i })));`,
      { limits: { cpus: 1, memoryMb: 64 } },
    );
    expect(await replica.exited).toMatchObject({
      reason: "out-of-memory",
      signal: "SIGABRT",
      message: "out of memory (limit 64 MiB)",
    });
  });
});

/** What is in use after a full collection: garbage that a busy machine has not collected yet does not count. */
function keptBytes(): number {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

describe("output", () => {
  it("of 100 MB costs little memory and leaves the last lines", async () => {
    await using bed = await bench();
    const replica = await bed.start(`
      import { writeSync } from "node:fs";
      const line = "x".repeat(99) + "\\n";
      const block = line.repeat(10_000);
      for (let i = 0; i < 100; i++) writeSync(1, block);
      writeSync(2, "last words\\n");
      writeSync(1, "no newline at the end");`);
    const before = keptBytes();
    expect(await replica.exited).toMatchObject({ reason: "exited", exitCode: 0 });
    expect(keptBytes() - before).toBeLessThan(20 * 2 ** 20);
    const logs = join(bed.folder, "run", "logs");
    let bytes = 0;
    for (const name of await readdir(logs)) bytes += (await stat(join(logs, name))).size;
    expect(bytes).toBeLessThan(2.5 * 2 ** 20);
    const kept: string[] = [];
    for await (const line of replica.logs({ tail: 1_000_000 })) kept.push(line.text);
    expect(kept.length).toBeGreaterThan(5_000);
    expect(kept).toContain("last words");
    expect(kept).toContain("no newline at the end");
  });

  it("can be read after the replica has gone", async () => {
    await using bed = await bench();
    const replica = await bed.start(`for (let i = 1; i <= 3000; i++) console.log("line " + i);`);
    await replica.exited;
    const texts: string[] = [];
    for await (const line of replica.logs({ tail: 2_990, follow: true })) texts.push(line.text);
    expect(texts).toEqual(Array.from({ length: 2_990 }, (_, i) => `line ${i + 11}`));
  });

  it("keeps files of the last 50 replicas that have gone", async () => {
    await using bed = await bench();
    for (let i = 0; i < 52; i += 4) {
      const some = await Promise.all([0, 1, 2, 3].map(() => bed.start(`console.log("x");`)));
      await Promise.all(some.map((replica) => replica.exited));
    }
    expect(await readdir(join(bed.folder, "run", "logs"))).toHaveLength(50);
  });
});

describe("what cannot work", () => {
  it("is refused before open, and twice open", async () => {
    const runtime = new ProcessRuntime({ packagesFrom: [], nodeArgs: [], killGraceMs: 200, entry: "none" });
    const spec = { id: "a", model: "m", version: "1", image: "x", limits: { cpus: 1 } };
    await expect(runtime.start({ ...spec, bundle: emptyBundle("/tmp") })).rejects.toThrow(
      "call open() first",
    );
    await runtime.close();
    await using bed = await bench();
    await expect(
      bed.runtime.open({ runDir: bed.folder, cacheDir: bed.folder, owner: "test" }),
    ).rejects.toThrow(WindjammerError);
  });

  it("is a run folder that is a file", async () => {
    const folder = await mkdtemp(join(tmpdir(), "windjammer-file-"));
    await writeFile(join(folder, "run"), "");
    const runtime = new ProcessRuntime({ packagesFrom: [], nodeArgs: [], killGraceMs: 200, entry: "none" });
    await expect(
      runtime.open({ runDir: join(folder, "run"), cacheDir: join(folder, "cache"), owner: "test" }),
    ).rejects.toThrow(StateDirError);
    await rm(folder, { recursive: true });
  });

  it("is a variable the operating system does not take", async () => {
    await using bed = await bench();
    const bundle = emptyBundle(bed.folder, { HUGE: "x".repeat(2 ** 22) });
    await expect(bed.start("", { bundle })).rejects.toThrow(ReplicaStartError);
    expect(await readdir(join(bed.folder, "run"))).toEqual(["logs"]);
  });

  it("is a package name or version that is not plain", async () => {
    await using bed = await bench();
    const options = { report: () => {}, signal: new AbortController().signal };
    const bundle = emptyBundle(bed.folder);
    for (const packages of [
      { "../evil": "1.0.0" },
      { "--flag": "1.0.0" },
      { zod: "latest" },
      { zod: "file:.." },
    ]) {
      await expect(
        bed.runtime.prepare({ ...bundle, manifest: { ...bundle.manifest, packages } }, options),
      ).rejects.toThrow(InvalidBundleError);
    }
  });
});
