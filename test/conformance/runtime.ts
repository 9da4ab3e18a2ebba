// The suite every runtime passes, with real model containers.
import { access, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, type TestContext } from "vitest";
import { ShuttingDownError } from "../../core/errors.ts";
import type {
  PrepareOptions,
  ReplicaSpec,
  RunningReplica,
  Runtime,
  RuntimeAbilities,
} from "../../core/runtimes/runtime.ts";
import type { BundleFolder, LogLine } from "../../core/types.ts";
import { infer, ready, writeFunctionBundle } from "./replica-client.ts";

export interface RuntimeSuite {
  readonly name: string;
  makeRuntime(): Runtime;
  /** Whether what a handle names still runs. */
  isRunning(handle: string): Promise<boolean>;
  /** Kills a replica behind the runtime's back. */
  kill(handle: string): Promise<void>;
}

const SUM = `export const predict = (inputs) => inputs.map((row) => row.reduce((a, b) => a + b, 0));`;
const NEGATED = `export const predict = (inputs) => inputs.map((row) => -row.reduce((a, b) => a + b, 0));`;
const CRASHES = `
import { writeSync } from "node:fs";
export const predict = () => { writeSync(2, "the model gives up\\n"); process.exit(3); };`;
const SLOW = `
export const predict = async (inputs) => {
  console.log("began");
  await new Promise((resolve) => setTimeout(resolve, 300));
  return inputs.map(() => "done");
};`;
const HANGS = `
import { writeSync } from "node:fs";
export const predict = () => { writeSync(1, "began\\n"); for (;;); };`;
const TALKS = `
export const predict = (inputs) => { console.log("got " + inputs[0][0]); return inputs.map(() => null); };`;
const HOARDS = `
const hoard = [];
export const predict = async () => {
  for (;;) {
    hoard.push(Buffer.alloc(4 << 20, 1));
    await new Promise((resolve) => setImmediate(resolve));
  }
};`;

export function runtimeSuite(suite: RuntimeSuite): void {
  describe(`${suite.name} runtime: contract`, () => {
    let folder: string;
    let runtime: Runtime;
    let count = 0;
    const silent: PrepareOptions = { report: () => {}, signal: new AbortController().signal };

    beforeEach(async () => {
      folder = await mkdtemp(join(tmpdir(), "windjammer-runtime-"));
      runtime = suite.makeRuntime();
      await runtime.open({
        runDir: join(folder, "run"),
        cacheDir: join(folder, "cache"),
        owner: "conformance",
      });
    });

    afterEach(async () => {
      await runtime.close();
      await rm(folder, { recursive: true, force: true });
    });

    const bundleOf = (name: string, source: string): Promise<BundleFolder> =>
      writeFunctionBundle(join(folder, "bundles", name), source);

    async function start(source: string, spec: Partial<ReplicaSpec> = {}): Promise<RunningReplica> {
      count += 1;
      const bundle = await bundleOf(`b${count}`, source);
      const image = await runtime.prepare(bundle, silent);
      return runtime.start({
        id: `m-1-r${count}`,
        model: "m",
        version: "1",
        image,
        bundle,
        limits: { cpus: 1 },
        ...spec,
      });
    }

    function needs(context: TestContext, ability: RuntimeAbilities["enforces"][number]): void {
      const can = runtime.abilities.enforces.includes(ability);
      context.skip(!can, `the ${suite.name} runtime does not enforce a ${ability} limit`);
    }

    it("prepares a bundle, twice with the same result", async () => {
      const bundle = await bundleOf("sum", SUM);
      const image = await runtime.prepare(bundle, silent);
      expect(image).not.toBe("");
      expect(await runtime.prepare(bundle, silent)).toBe(image);
    });

    it("starts a replica that becomes ready and predicts", async () => {
      const replica = await start(SUM);
      expect(replica).toMatchObject({ id: `m-1-r${count}`, model: "m", version: "1" });
      expect(await suite.isRunning(replica.handle)).toBe(true);
      await ready(replica);
      expect(
        await infer(replica, [
          [1, 2, 3],
          [4, 5, 6],
        ]),
      ).toEqual([6, 15]);
      expect(await runtime.list()).toEqual([replica]);
    });

    it("runs two versions side by side", async () => {
      const [one, two] = await Promise.all([start(SUM), start(NEGATED, { version: "2" })]);
      await Promise.all([ready(one), ready(two)]);
      expect(await infer(one, [[1, 2]])).toEqual([3]);
      expect(await infer(two, [[1, 2]])).toEqual([-3]);
      expect((await runtime.list()).map((replica) => replica.version).toSorted()).toEqual(["1", "2"]);
    });

    it("says with which code a replica exited, and keeps its last words", async () => {
      const replica = await start(CRASHES);
      await ready(replica);
      await expect(infer(replica, [[1]])).rejects.toThrow();
      expect(await replica.exited).toMatchObject({
        reason: "exited",
        exitCode: 3,
        message: "exited with code 3",
      });
      expect(replica.tail(20).map((line) => line.text)).toContain("the model gives up");
      expect(await runtime.list()).toEqual([]);
    });

    it("reports a bundle that does not load as an exit, with the reason in the log", async () => {
      const replica = await start(`throw new Error("no weights here");`);
      expect(await replica.exited).toMatchObject({ reason: "exited" });
      expect(
        replica
          .tail(100)
          .map((line) => line.text)
          .join("\n"),
      ).toContain("no weights here");
    });

    it("reports a replica that was killed", async () => {
      const replica = await start(SUM);
      await ready(replica);
      await suite.kill(replica.handle);
      expect(await replica.exited).toMatchObject({
        reason: "killed",
        signal: "SIGKILL",
        message: "killed by SIGKILL",
      });
    });

    it("lets a running batch finish when it stops a replica", async () => {
      const replica = await start(SLOW);
      await ready(replica);
      const answer = infer(replica, [[1]]);
      await lineOf(replica, "began");
      await Promise.all([replica.stop(10_000), replica.stop(10_000)]);
      expect(await answer).toEqual(["done"]);
      expect((await replica.exited).reason).toBe("stopped");
      await replica.stop(0);
    });

    it("kills a replica that does not drain in time", async () => {
      const replica = await start(HANGS);
      await ready(replica);
      const answer = infer(replica, [[1]]).catch((error: unknown) => error);
      await lineOf(replica, "began");
      await replica.stop(50);
      expect((await replica.exited).reason).toBe("stopped");
      expect(await answer).toBeInstanceOf(Error);
      expect(await suite.isRunning(replica.handle)).toBe(false);
    });

    it("gives the last lines of a log, and follows it to its end", async () => {
      const replica = await start(TALKS);
      await ready(replica);
      for (const n of [1, 2, 3]) await infer(replica, [[n]]);
      await lineOf(replica, "got 3");
      const past: string[] = [];
      for await (const line of replica.logs({ tail: 2 })) past.push(line.text);
      expect(past).toEqual(["got 2", "got 3"]);
      expect(replica.tail(1)).toMatchObject([{ stream: "stdout", text: "got 3" }]);

      const followed: string[] = [];
      const following = (async () => {
        for await (const line of replica.logs({ tail: 1, follow: true })) followed.push(line.text);
      })();
      await infer(replica, [[4]]);
      await replica.stop(5_000);
      await following;
      expect(followed.slice(0, 2)).toEqual(["got 3", "got 4"]);
    });

    it("stops following a log when the signal aborts", async () => {
      const replica = await start(TALKS);
      await ready(replica);
      const controller = new AbortController();
      const following = (async () => {
        for await (const _ of replica.logs({ follow: true, signal: controller.signal }));
      })();
      controller.abort();
      await following;
      expect(await suite.isRunning(replica.handle)).toBe(true);
    });

    it("measures memory and CPU time", async () => {
      const replica = await start(SUM);
      await ready(replica);
      const stats = await replica.stats();
      expect(stats.memoryBytes).toBeGreaterThan(10 * 2 ** 20);
      expect(stats.cpuMs).toBeGreaterThan(0);
      await replica.stop(5_000);
      await expect(replica.stats()).rejects.toThrow(replica.id);
    });

    it("ends a replica that passes its memory limit, and says so", async (context) => {
      needs(context, "memory");
      const replica = await start(HOARDS, { limits: { cpus: 1, memoryMb: 256 } });
      await ready(replica);
      const answer = infer(replica, [[1]]).catch((error: unknown) => error);
      expect(await replica.exited).toMatchObject({
        reason: "out-of-memory",
        message: "out of memory (limit 256 MiB)",
      });
      expect(await answer).toBeInstanceOf(Error);
    });

    it("leaves no process, socket or folder after close, and starts nothing more", async () => {
      const replicas = await Promise.all([start(SUM), start(SUM), start(HANGS)]);
      await Promise.all(replicas.map((replica) => ready(replica)));
      await Promise.all([runtime.close(), runtime.close()]);
      for (const replica of replicas) {
        expect((await replica.exited).reason).toBe("stopped");
        expect(await suite.isRunning(replica.handle)).toBe(false);
        if ("socketPath" in replica.address) {
          await expect(access(replica.address.socketPath)).rejects.toThrow("ENOENT");
        }
      }
      await expect(access(join(folder, "run"))).rejects.toThrow("ENOENT");
      expect(await runtime.list()).toEqual([]);
      await expect(start(SUM)).rejects.toThrow(ShuttingDownError);
    });

    it("stops what is starting when it closes", async () => {
      const bundle = await bundleOf("sum", SUM);
      const image = await runtime.prepare(bundle, silent);
      const spec = { model: "m", version: "1", image, bundle, limits: { cpus: 1 } };
      const starting = Promise.allSettled(["m-1-a", "m-1-b"].map((id) => runtime.start({ ...spec, id })));
      await runtime.close();
      for (const outcome of await starting) {
        if (outcome.status === "rejected") expect(outcome.reason).toBeInstanceOf(ShuttingDownError);
        else expect((await outcome.value.exited).reason).toBe("stopped");
      }
      expect(await runtime.list()).toEqual([]);
    });
  });
}

/** Waits for a line of a replica's log. */
async function lineOf(replica: RunningReplica, text: string): Promise<LogLine> {
  const signal = AbortSignal.timeout(60_000);
  for await (const line of replica.logs({ follow: true, signal })) {
    if (line.text === text) return line;
  }
  throw new Error(`replica ${replica.id} never wrote ${text}`);
}
