import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createLog } from "../../../core/log.ts";
import { Metrics } from "../../../core/metrics.ts";
import { ReplicaPool } from "../../../core/replicas/pool.ts";
import { ScriptedRuntime } from "../../helpers/scripted-runtime.ts";
import { testBundle, testVersion } from "../../helpers/versions.ts";

let runtime: ScriptedRuntime;
let pool: ReplicaPool;

beforeEach(() => {
  runtime = new ScriptedRuntime(({ inputs }) => ({ outputs: inputs }));
  const version = testVersion();
  let id = 0;
  const parts = {
    version,
    bundle: testBundle(version),
    image: "scripted",
    runtime,
    metrics: new Metrics().version("echo", "1"),
    log: createLog("silent"),
    nextId: () => `echo-1-r${++id}`,
  };
  pool = new ReplicaPool(parts, () => undefined);
});

afterEach(async () => {
  vi.useRealTimers();
  await pool.close(0);
  await runtime.close();
});

describe("a pool of replicas", () => {
  it("tries failed starts again with growing pauses, counts as failed after eight, and still comes back", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    runtime.startError = new Error("spawn EAGAIN");
    const start = vi.spyOn(runtime, "start");
    await expect(pool.scale(1)).rejects.toThrow("spawn EAGAIN");
    expect(pool.isRecovering).toBe(true);
    const pauses: number[] = [];
    for (let waited = 0; start.mock.calls.length < 8; waited += 100) {
      const before = start.mock.calls.length;
      await vi.advanceTimersByTimeAsync(100);
      if (start.mock.calls.length > before)
        pauses.push(waited + 100 - pauses.reduce((sum, pause) => sum + pause, 0));
    }
    expect(pauses).toEqual([200, 400, 800, 1600, 3200, 6400, 12_800]);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(start).toHaveBeenCalledTimes(10);
    expect(pool.statuses()).toMatchObject([{ state: "failed" }]);
    expect(pool.isRecovering).toBe(false);
    expect(pool.noReplica().message).toContain("spawn EAGAIN");

    runtime.startError = undefined;
    await vi.advanceTimersByTimeAsync(30_000);
    vi.useRealTimers();
    await expect.poll(() => pool.statuses()).toMatchObject([{ state: "ready" }]);
  });

  it("counts what is there, not what leaves, when it is scaled twice at once", async () => {
    await pool.scale(3);
    const down = pool.scale(1);
    await pool.scale(3);
    await down;
    expect(pool.readyCount).toBe(3);
    expect(pool.statuses()).toHaveLength(3);
  });

  it("tells whoever waits for replicas that a later scale wants fewer", async () => {
    await pool.scale(1);
    const never = { address: { socketPath: "/nonexistent/socket" } };
    vi.spyOn(runtime, "start").mockImplementation(async (spec) =>
      Object.assign(await ScriptedRuntime.prototype.start.call(runtime, spec), never),
    );
    const up = pool.scale(3);
    const refused = expect(up).rejects.toMatchObject({
      code: "DEPLOYMENT_CONFLICT",
      message: expect.stringContaining("scaled to 1 meanwhile"),
    });
    await pool.scale(1);
    await refused;
    expect(pool.statuses()).toMatchObject([{ id: "echo-1-r1", state: "ready" }]);
  });

  it("keeps the replicas that are ready when it is scaled down", async () => {
    await pool.scale(2);
    runtime.startError = new Error("spawn EAGAIN");
    runtime.started[0]?.die({ reason: "killed", message: "was killed by SIGKILL" });
    await expect.poll(() => pool.readyCount).toBe(1);
    await pool.scale(1);
    expect(pool.statuses()).toMatchObject([{ id: "echo-1-r2", state: "ready" }]);
  });

  it("takes over a replica that runs already, counts it, and replaces it when it ends", async () => {
    const version = testVersion();
    const spec = { model: "echo", version: "1", image: "scripted", bundle: testBundle(version) };
    const running = await runtime.start({ ...spec, id: "echo-1-r77", limits: { cpus: 1 } });
    const start = vi.spyOn(runtime, "start");
    await pool.adopt(running);
    expect(pool.statuses()).toMatchObject([{ id: "echo-1-r77", state: "ready", restarts: 0 }]);
    await pool.scale(2);
    expect(start).toHaveBeenCalledTimes(1);
    await running.stop(0);
    await expect.poll(() => pool.readyCount).toBe(2);
    expect(pool.statuses().map(({ id }) => id)).not.toContain("echo-1-r77");
  });

  it("replaces a replica whenever it is killed, under a new id, and forgets its trouble with the next answer", async () => {
    await pool.scale(1);
    for (const round of [1, 2, 3]) {
      runtime.started
        .at(-1)
        ?.die({ reason: "killed", signal: "SIGKILL", message: "was killed by SIGKILL" }, "last words");
      await expect.poll(() => pool.statuses()).toMatchObject([{ state: "ready", restarts: round }]);
      expect(pool.trouble).toBe(`replica echo-1-r${round} was killed by SIGKILL: last words`);
    }
    pool.noteAnswer();
    expect(pool.trouble).toBeUndefined();
  });

  it("keeps the logs of replicas that ended lately", async () => {
    await pool.scale(1);
    runtime.started[0]?.die(
      { reason: "exited", exitCode: 1, message: "exited with code 1" },
      "out of cheese",
    );
    await expect.poll(() => pool.readyCount).toBe(1);
    const lines: string[] = [];
    for await (const line of pool.logs("echo-1-r1", {})) lines.push(line.text);
    expect(lines).toEqual(["out of cheese"]);
    expect(() => pool.logs("echo-1-r99", {})).toThrow(expect.objectContaining({ code: "REPLICA_NOT_FOUND" }));
  });

  it("abandons a start when the caller gives up, and leaves nothing", async () => {
    vi.spyOn(runtime, "start").mockImplementation(async (spec) => {
      const replica = await ScriptedRuntime.prototype.start.call(runtime, spec);
      return Object.assign(replica, { address: { socketPath: "/nonexistent/socket" } });
    });
    const caller = new AbortController();
    const start = pool.startOne(caller.signal);
    await expect.poll(() => runtime.started.length).toBe(1);
    caller.abort(new Error("the deployment was cancelled"));
    await expect(start).rejects.toThrow("cancelled");
    expect(pool.statuses()).toEqual([]);
    expect((await runtime.started[0]?.exited)?.reason).toBe("stopped");
  });
});
