// Replicas that hold several batches at once: whose turn it is, and what becomes of their batches when something breaks.
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, describe, expect, it, vi } from "vitest";
import type { ContainerSource } from "../../../containers/protocol.ts";
import { createLog } from "../../../core/log.ts";
import { Metrics } from "../../../core/metrics.ts";
import { ServedVersion } from "../../../core/query/served-version.ts";
import { maxInFlight } from "../../../core/replicas/in-flight.ts";
import type { OtherSenders } from "../../../core/replicas/slot.ts";
import type { VersionSettings } from "../../../core/types.ts";
import { type Script, type ScriptedCall, ScriptedRuntime } from "../../helpers/scripted-runtime.ts";
import { resultOf, testBundle, testQuery, testVersion } from "../../helpers/versions.ts";

const echo = ({ inputs }: ScriptedCall): { outputs: readonly unknown[] } => ({ outputs: inputs });
const PROGRAM: ContainerSource = { kind: "command", command: ["serve"] };
const opened: (() => Promise<void>)[] = [];

afterEach(async () => {
  vi.useRealTimers();
  await Promise.all(opened.splice(0).map((close) => close()));
});

interface Setup {
  readonly replicas?: number;
  readonly settings?: Partial<VersionSettings>;
  readonly container?: ContainerSource | undefined;
  readonly others?: OtherSenders;
}

/** Each query is a batch, unless the settings say otherwise. */
async function serve(
  script: Script,
  setup: Setup = {},
): Promise<{ served: ServedVersion; runtime: ScriptedRuntime }> {
  const { replicas = 1, settings, others } = setup;
  const base = testVersion({ batching: { policy: "none" }, maxInFlight: 4, ...settings });
  const container = "container" in setup ? setup.container : PROGRAM;
  const version = {
    ...base,
    manifest: { ...base.manifest, ...(container === undefined ? {} : { container }) },
  };
  const runtime = new ScriptedRuntime(script);
  let id = 0;
  const served = new ServedVersion({
    version,
    bundle: testBundle(version),
    image: "scripted",
    runtime,
    metrics: new Metrics().version("echo", "1"),
    log: createLog("silent"),
    maxQueueLength: 1000,
    nextId: () => `echo-1-r${++id}`,
    ...(others === undefined ? {} : { others }),
  });
  opened.push(async () => {
    await served.drain(0);
    await runtime.close();
  });
  await served.scale(replicas);
  return { served, runtime };
}

function ask(served: ServedVersion, value: number | string, timeoutMs = Infinity): Promise<unknown> {
  const { query, settled } = testQuery(value, performance.now() + timeoutMs);
  served.enqueue(query);
  return settled.then(resultOf);
}

/** From now on the queue's time passes only as the test lets it; connections take their own. */
function virtualTime(): void {
  vi.useFakeTimers({ toFake: ["performance", "setTimeout", "clearTimeout"] });
}

/** Lets as much virtual time pass as the pause before the start of the next replica takes. */
async function whenStarted({ started }: ScriptedRuntime, count: number): Promise<void> {
  for (; started.length < count; await sleep(5)) await vi.advanceTimersByTimeAsync(10);
  expect(started).toHaveLength(count);
}

const range = (count: number): number[] => Array.from({ length: count }, (_, index) => index);

/** Holds calls back until they are let go, and counts those at each replica. */
class Gate {
  readonly held: { readonly call: ScriptedCall; readonly go: () => void }[] = [];
  readonly #now = new Map<string, number>();
  readonly most = new Map<string, number>();

  async pass(call: ScriptedCall): Promise<void> {
    const { replica } = call;
    const count = (this.#now.get(replica) ?? 0) + 1;
    this.#now.set(replica, count);
    this.most.set(replica, Math.max(count, this.most.get(replica) ?? 0));
    const { promise, resolve } = Promise.withResolvers<void>();
    this.held.push({ call, go: resolve });
    await promise;
    this.#now.set(replica, (this.#now.get(replica) ?? 0) - 1);
  }

  /** Lets all go that are held now, the last first. */
  letGo(): void {
    for (const { go } of this.held.splice(0).toReversed()) go();
  }

  async whenHeld(count: number): Promise<void> {
    // Not polled: that would let virtual time pass.
    while (this.held.length !== count) await sleep(5);
  }
}

describe("a replica that may hold several batches", () => {
  it("gets as many and no more, the one with the fewest first, and answers go to their queries in any order", async () => {
    const gate = new Gate();
    const { served } = await serve((call) => gate.pass(call).then(() => echo(call)), { replicas: 2 });
    const answers = Promise.all(range(20).map((value) => ask(served, value)));
    await gate.whenHeld(8);
    expect(gate.held.slice(0, 4).map(({ call }) => call.replica)).toEqual(
      expect.arrayContaining(["echo-1-r1", "echo-1-r2"]),
    );
    expect([served.describe().inFlight, served.describe().queueLength]).toEqual([8, 12]);
    for (let left = 20; left > 0; left -= 8) {
      await gate.whenHeld(Math.min(8, left));
      gate.letGo();
    }
    expect(await answers).toEqual(range(20));
    expect([...gate.most.values()]).toEqual([4, 4]);
    expect(served.describe().inFlight).toBe(0);
  });

  it("is none where the container is ours or Clipper's; a server elsewhere holds two unless it is told otherwise", async () => {
    const gate = new Gate();
    const { served } = await serve((call) => gate.pass(call).then(() => echo(call)), {
      container: undefined,
    });
    const answers = Promise.all(range(3).map((value) => ask(served, value)));
    for (let left = 3; left > 0; left -= 1) {
      await gate.whenHeld(1);
      gate.letGo();
    }
    expect(await answers).toEqual(range(3));
    const { manifest, settings } = testVersion();
    const of = (container: ContainerSource, more: Partial<VersionSettings> = {}): number =>
      maxInFlight({ manifest: { ...manifest, container }, settings: { ...settings, ...more } });
    expect([
      of({ kind: "url", urls: ["http://a"] }),
      of({ kind: "url", urls: ["http://a"] }, { maxInFlight: 1 }),
      of(PROGRAM),
      of({ kind: "image", image: "a" }, { maxInFlight: 8 }),
      of({ kind: "python" }, { maxInFlight: 8 }),
      of({ kind: "clipper-rpc" }, { maxInFlight: 8 }),
    ]).toEqual([2, 1, 1, 8, 1, 1]);
  });

  it("gets from each worker an equal part, and one at least", async () => {
    const gate = new Gate();
    const others = { count: 3, hearOut: async (): Promise<void> => undefined };
    const { served } = await serve((call) => gate.pass(call).then(() => echo(call)), {
      others,
      settings: { maxInFlight: 5 },
    });
    const answers = Promise.all(range(3).map((value) => ask(served, value)));
    await gate.whenHeld(2);
    expect(served.describe().queueLength).toBe(1);
    // Two from each of four: what all of them may send.
    expect(served.maxInFlight).toBe(8);
    gate.letGo();
    await gate.whenHeld(1);
    gate.letGo();
    expect(await answers).toEqual(range(3));
  });

  it("learns what batches take beside each other, and counts on as many at once", async () => {
    const gate = new Gate();
    const { served } = await serve((call) => gate.pass(call).then(() => echo(call)), {
      settings: { batching: { policy: "slo", maxBatchSize: 1 } },
    });
    const answers = Promise.all(range(4).map((value) => ask(served, value)));
    await gate.whenHeld(4);
    gate.letGo();
    expect(await answers).toEqual(range(4));
    const fifth = ask(served, 5);
    await gate.whenHeld(1);
    gate.letGo();
    expect(await fifth).toBe(5);
    expect(served.describe().policy.curve?.fixedMs).toBeGreaterThan(0);
  });
});

describe("several batches in flight", () => {
  it("of a replica that dies go to another one: none is lost, doubled or swapped", async () => {
    const gate = new Gate();
    let isDoomed = true;
    const { served, runtime } = await serve(
      async (call) => {
        if (!isDoomed || call.replica !== "echo-1-r1") return echo(call);
        await gate.pass(call);
        isDoomed = false;
        return "die";
      },
      { replicas: 2 },
    );
    const answers = Promise.all(range(40).map((value) => ask(served, value)));
    await gate.whenHeld(4);
    gate.letGo();
    expect(await answers).toEqual(range(40));
    await expect.poll(() => served.readyCount).toBe(2);
    expect(runtime.started).toHaveLength(3);
  });

  it("of the only replica that dies wait for the one in its place", async () => {
    const gate = new Gate();
    let isDoomed = true;
    const { served, runtime } = await serve(async (call) => {
      if (!isDoomed) return echo(call);
      await gate.pass(call);
      isDoomed = false;
      return "die";
    });
    const answers = Promise.all(range(10).map((value) => ask(served, value)));
    await gate.whenHeld(4);
    gate.letGo();
    expect(await answers).toEqual(range(10));
    expect(runtime.started).toHaveLength(2);
  });

  it("beside one that kills its replica, again and again, are answered: only that input gets REPLICA_LOST", async () => {
    for (const batching of [{ policy: "none" }, { policy: "slo", maxBatchSize: 8 }] as const) {
      const { served, runtime } = await serve(
        async (call) => {
          if (call.inputs.includes("poison")) return "die";
          // Others lie beside it while it dies.
          await new Promise((resolve) => {
            setTimeout(resolve, 5);
          });
          return echo(call);
        },
        { replicas: 2, settings: { batching } },
      );
      const before = range(20).map((value) => ask(served, value));
      const poisoned = ask(served, "poison");
      const after = range(20).map((value) => ask(served, value));
      expect(await Promise.all([...before, ...after])).toEqual([...range(20), ...range(20)]);
      expect(await poisoned).toBe("REPLICA_LOST");
      expect(runtime.started.filter(({ hasEnded }) => hasEnded).length).toBeLessThanOrEqual(3);
    }
  });

  it("whose connections break at once are one loss: the replica is asked once, stays, and answers them", async () => {
    const gate = new Gate();
    let isBroken = true;
    const { served, runtime } = await serve(async (call) => {
      if (!isBroken) return echo(call);
      await gate.pass(call);
      return "disconnect";
    });
    const answers = Promise.all(range(10).map((value) => ask(served, value)));
    await gate.whenHeld(4);
    isBroken = false;
    gate.letGo();
    expect(await answers).toEqual(range(10));
    expect(runtime.started).toHaveLength(1);
  });

  it("are not computed again where that must not happen: those of a lost replica get REPLICA_LOST, the others their answers", async () => {
    const gate = new Gate();
    let isDoomed = true;
    const computed: unknown[] = [];
    const { served } = await serve(
      async (call) => {
        computed.push(...call.inputs);
        if (!isDoomed) return echo(call);
        await gate.pass(call);
        isDoomed = false;
        return "die";
      },
      { settings: { isRetryable: false } },
    );
    const answers = Promise.all(range(10).map((value) => ask(served, value)));
    await gate.whenHeld(4);
    gate.letGo();
    const lost = Array.from({ length: 4 }, () => "REPLICA_LOST");
    expect(await answers).toEqual([...lost, ...range(10).slice(4)]);
    expect(new Set(computed)).toEqual(new Set(range(10)));
    expect(computed).toHaveLength(10);
  });

  it("that fail together, once, do not eject their replica; those that go on failing do", async () => {
    const gate = new Gate();
    let isTogether = true;
    const { served } = await serve(
      async (call) => {
        if (call.replica !== "echo-1-r1") return echo(call);
        if (isTogether) await gate.pass(call);
        return { status: 500, error: "CUDA error" };
      },
      { replicas: 2 },
    );
    const first = Promise.all(range(8).map((value) => ask(served, value)));
    await gate.whenHeld(4);
    isTogether = false;
    gate.letGo();
    expect(await first).toEqual(range(8));
    expect(served.describe().ejected.size).toBe(0);
    for (let round = 0; round < 3; round++)
      expect(await Promise.all(range(8).map((value) => ask(served, value)))).toEqual(range(8));
    expect([...served.describe().ejected.keys()]).toEqual(["echo-1-r1"]);
  });
});

describe("a batch that hangs among others", () => {
  it("costs its replica when that had time for all it may hold, and nobody else an answer", async () => {
    virtualTime();
    const gate = new Gate();
    const { served, runtime } = await serve(
      async (call) => {
        if (call.inputs.includes("slow")) await gate.pass(call);
        return echo(call);
      },
      { settings: { batchTimeoutMs: 1000 } },
    );
    const hung = ask(served, "slow");
    await gate.whenHeld(1);
    // The time of four batches, but for a moment; within each another one is answered.
    for (const round of range(5)) {
      expect(await ask(served, round)).toBe(round);
      await vi.advanceTimersByTimeAsync(799);
    }
    expect(runtime.started).toHaveLength(1);
    const others = range(10).map((value) => ask(served, value));
    await vi.advanceTimersByTimeAsync(5);
    // At the next replica it lies alone, which has the time of one batch for it.
    await whenStarted(runtime, 2);
    await gate.whenHeld(2);
    await vi.advanceTimersByTimeAsync(1001);
    expect(await hung).toBe("REPLICA_HUNG");
    await whenStarted(runtime, 3);
    expect(await Promise.all(others)).toEqual(range(10));
    expect(runtime.started).toHaveLength(3);
  });

  it("is told to stop before its replica counts as hung: behind others once they had their time, too", async () => {
    const gate = new Gate();
    const { served } = await serve((call) => gate.pass(call).then(() => echo(call)), {
      settings: { batchTimeoutMs: 30_000 },
    });
    const answers = Promise.all(range(2).map((value) => ask(served, value)));
    await gate.whenHeld(2);
    const told = gate.held.map(({ call }) => call.deadlineMs);
    expect(told.toSorted((one, other) => one - other)).toEqual([27_000, 4 * 27_000]);
    gate.letGo();
    expect(await answers).toEqual(range(2));
  });

  it("costs its replica in the time of one batch where none is answered: all its batches go to the next one", async () => {
    virtualTime();
    const gate = new Gate();
    const { served, runtime } = await serve(
      async (call) => {
        if (call.replica === "echo-1-r1") await gate.pass(call);
        return echo(call);
      },
      { settings: { batchTimeoutMs: 1000 } },
    );
    const answers = Promise.all(range(10).map((value) => ask(served, value)));
    await gate.whenHeld(4);
    await vi.advanceTimersByTimeAsync(999);
    expect(runtime.started[0]?.hasEnded).toBe(false);
    await vi.advanceTimersByTimeAsync(2);
    await whenStarted(runtime, 2);
    expect(await answers).toEqual(range(10));
    expect(runtime.started).toHaveLength(2);
  });

  it("is no hung one at a replica that computes one after the other, each within its time", async () => {
    virtualTime();
    const gate = new Gate();
    const { served, runtime } = await serve((call) => gate.pass(call).then(() => echo(call)), {
      settings: { batchTimeoutMs: 1000 },
    });
    const answers = range(4).map((value) => ask(served, value));
    await gate.whenHeld(4);
    // Batches come over connections of their own, in any order.
    for (const { call, go } of gate.held) {
      await vi.advanceTimersByTimeAsync(999);
      go();
      const value = Number(call.inputs[0]);
      expect(await answers[value]).toBe(value);
    }
    expect(runtime.started).toHaveLength(1);
  });
});

describe("a version with several batches in flight that ends", () => {
  it("waits for all of them", async () => {
    const gate = new Gate();
    const { served, runtime } = await serve((call) => gate.pass(call).then(() => echo(call)), {
      replicas: 2,
    });
    const answers = Promise.all(range(10).map((value) => ask(served, value)));
    await gate.whenHeld(8);
    const drained = served.drain(60_000);
    expect(await ask(served, 1)).toBe("SHUTTING_DOWN");
    gate.letGo();
    await gate.whenHeld(2);
    gate.letGo();
    expect(await answers).toEqual(range(10));
    await drained;
    expect(runtime.started.every(({ hasEnded }) => hasEnded)).toBe(true);
  });

  it("waits for those of a replica that is scaled away, which gets no more", async () => {
    const gate = new Gate();
    const { served, runtime } = await serve((call) => gate.pass(call).then(() => echo(call)), {
      replicas: 2,
      settings: { isRetryable: false },
    });
    const answers = Promise.all(range(12).map((value) => ask(served, value)));
    await gate.whenHeld(8);
    const scaled = served.scale(1);
    expect(runtime.started.map(({ hasEnded }) => hasEnded)).toEqual([false, false]);
    gate.letGo();
    await scaled;
    expect(runtime.started.map(({ hasEnded }) => hasEnded)).toEqual([false, true]);
    await gate.whenHeld(4);
    gate.letGo();
    expect(await answers).toEqual(range(12));
    expect(gate.most.get("echo-1-r1")).toBe(4);
  });
});
