import { afterEach, describe, expect, it, vi } from "vitest";
import { createLog } from "../../../core/log.ts";
import { Metrics } from "../../../core/metrics.ts";
import { PredictionCache } from "../../../core/query/cache.ts";
import { ServedVersion } from "../../../core/query/served-version.ts";
import type { OtherSenders } from "../../../core/replicas/slot.ts";
import type { VersionSettings } from "../../../core/types.ts";
import {
  type Script,
  type ScriptedAnswer,
  type ScriptedCall,
  ScriptedRuntime,
} from "../../helpers/scripted-runtime.ts";
import { resultOf, testBundle, testQuery, testVersion } from "../../helpers/versions.ts";

const echo = ({ inputs }: ScriptedCall): { outputs: readonly unknown[] } => ({ outputs: inputs });
const opened: (() => Promise<void>)[] = [];

afterEach(async () => {
  vi.useRealTimers();
  await Promise.all(opened.splice(0).map((close) => close()));
});

/** From now on the queue's time passes only as the test lets it; connections take their own. */
function virtualTime(): void {
  vi.useFakeTimers({ toFake: ["performance", "setTimeout", "clearTimeout"] });
}

// oxlint-disable-next-line max-params -- most tests need the first one or two
async function serve(
  script: Script,
  replicas = 1,
  settings: Partial<VersionSettings> = {},
  others?: OtherSenders,
): Promise<{ served: ServedVersion; runtime: ScriptedRuntime; metrics: Metrics }> {
  const runtime = new ScriptedRuntime(script);
  const metrics = new Metrics();
  const version = testVersion(settings);
  let id = 0;
  const served = new ServedVersion({
    version,
    bundle: testBundle(version),
    image: "scripted",
    runtime,
    metrics: metrics.version("echo", "1"),
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
  return { served, runtime, metrics };
}

function ask(served: ServedVersion, value: number | string, timeoutMs = Infinity): Promise<unknown> {
  const { query, settled } = testQuery(value, performance.now() + timeoutMs);
  served.enqueue(query);
  return settled.then(resultOf);
}

/** Fails the batches that `isBad` says, as a foreign server does. */
function failing(isBad: (call: ScriptedCall) => boolean, calls: string[] = []): Script {
  return (call) => {
    calls.push(call.replica);
    return isBad(call) ? { status: 500, error: "CUDA error" } : echo(call);
  };
}

/** Its first replica fails every row, as our own containers do. */
const broken: Script = (call) => {
  if (call.replica !== "echo-1-r1") return echo(call);
  const error = { code: "MODEL_ERROR", message: "CUDA error" };
  return { outputs: call.inputs, errors: call.inputs.map(() => error) };
};

const range = (count: number): number[] => Array.from({ length: count }, (_, index) => index);

describe("a version that runs", () => {
  it("batches what waits and gives each query its own result", async () => {
    const sizes: number[] = [];
    const { served } = await serve((call) => {
      sizes.push(call.inputs.length);
      return echo(call);
    });
    const answers = await Promise.all(range(200).map((value) => ask(served, value)));
    expect(answers).toEqual(range(200));
    expect(Math.max(...sizes)).toBeGreaterThan(1);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(64);
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(200);
  });

  it("gives a slow replica only what it can take: the others pull the rest", async () => {
    const taken = new Map<string, number>();
    const slow = Promise.withResolvers<void>();
    const held = Promise.withResolvers<string>();
    const { served } = await serve(async (call) => {
      if (call.inputs.includes("hold")) {
        held.resolve(call.replica);
        await slow.promise;
      }
      taken.set(call.replica, (taken.get(call.replica) ?? 0) + call.inputs.length);
      return echo(call);
    }, 2);
    const first = ask(served, "hold");
    const holding = await held.promise;
    for (const value of range(100)) expect(await ask(served, value)).toBe(value);
    expect(taken.get(holding)).toBeUndefined();
    expect([...taken.values()]).toEqual([100]);
    slow.resolve();
    expect(await first).toBe("hold");
  });

  it("counts how far each batch was off its prediction, and shows what it learned", async () => {
    const { served, metrics } = await serve(echo);
    for (const value of range(5)) await ask(served, value);
    // Of the first batch nothing was predicted.
    expect(await metrics.text()).toContain(
      'windjammer_batch_prediction_ratio_count{model="echo",version="1"} 4',
    );
    expect(served.describe().policy).toMatchObject({
      policy: "slo",
      curve: {
        fixedMs: expect.any(Number),
        perRowMs: expect.any(Number),
        upperFactor: expect.any(Number),
        batches: 5,
      },
      arrivalRate: expect.any(Number),
    });
  });

  it("does not count the queries of a deployment among those that arrive", async () => {
    const { served } = await serve(echo);
    for (const value of range(5)) {
      const { query, settled } = testQuery(value, Infinity);
      served.enqueue(Object.assign(query, { isTrial: true }));
      expect(resultOf(await settled)).toBe(value);
    }
    expect(served.describe().policy.curve).toMatchObject({ batches: 5 });
    expect(served.describe().policy.arrivalRate).toBeUndefined();
  });

  it("keeps one batch in flight per replica and uses every replica", async () => {
    const busy = new Set<string>();
    const seen = new Set<string>();
    const { served } = await serve(async (call) => {
      expect(busy.has(call.replica)).toBe(false);
      busy.add(call.replica);
      seen.add(call.replica);
      await new Promise((resolve) => setTimeout(resolve, 2));
      busy.delete(call.replica);
      return echo(call);
    }, 3);
    await Promise.all(range(100).map((value) => ask(served, value)));
    expect(seen.size).toBe(3);
  });

  it("fails one row alone when the container marks it", async () => {
    const { served } = await serve(({ inputs }) => ({
      outputs: inputs,
      errors: inputs.map((input) =>
        input === 3 ? { code: "MODEL_ERROR", message: "three is bad" } : undefined,
      ),
    }));
    const answers = await Promise.all(range(6).map((value) => ask(served, value)));
    expect(answers).toEqual([0, 1, 2, "MODEL_ERROR", 4, 5]);
  });

  it("tries the queries of a batch one by one when the container fails it as a whole", async () => {
    const { served } = await serve((call) =>
      call.inputs.includes(3) ? { status: 500, error: "no threes" } : echo(call),
    );
    const answers = await Promise.all(range(6).map((value) => ask(served, value)));
    expect(answers).toEqual([0, 1, 2, "MODEL_ERROR", 4, 5]);
  });

  it("answers INVALID_MODEL_OUTPUT when the container returns another number of rows", async () => {
    const { served } = await serve(() => ({ outputs: [1, 2, 3] }));
    expect(await ask(served, 1)).toBe("INVALID_MODEL_OUTPUT");
  });
});

describe("a replica that goes", () => {
  it("with a batch in flight: another replica answers it", async () => {
    let hasDied = false;
    const { served } = await serve((call) => {
      if (hasDied) return echo(call);
      hasDied = true;
      return "die";
    }, 2);
    expect(await Promise.all(range(50).map((value) => ask(served, value)))).toEqual(range(50));
  });

  it("is replaced, and what waited meanwhile is answered by the new one", async () => {
    let hasDied = false;
    const { served, runtime } = await serve((call) => {
      if (hasDied) return echo(call);
      hasDied = true;
      return "die";
    });
    expect(await Promise.all(range(10).map((value) => ask(served, value)))).toEqual(range(10));
    expect(runtime.started).toHaveLength(2);
    expect(served.replicas()).toMatchObject([{ state: "ready", restarts: 1, lastExit: { exitCode: 3 } }]);
  });

  it("because of one input: that input alone gets REPLICA_LOST with the last log line, the others their answers", async () => {
    const { served } = await serve((call) => (call.inputs.includes("poison") ? "die" : echo(call)), 2);
    const { query, settled } = testQuery("poison");
    served.enqueue(query);
    const others = Promise.all(range(20).map((value) => ask(served, value)));
    expect(await others).toEqual(range(20));
    const settlement = await settled;
    expect(resultOf(settlement)).toBe("REPLICA_LOST");
    expect(settlement).toMatchObject({
      error: { message: expect.stringMatching(/^replica echo-1-r\d+ exited with code 3: Segmentation/) },
    });
  });

  it("is not given the batch again when the version is not retryable", async () => {
    const { served } = await serve(() => "die", 2, { isRetryable: false });
    expect(await ask(served, 1)).toBe("REPLICA_LOST");
  });

  it("is not given to the next version either, when the version is closed before the answer", async () => {
    const results: unknown[] = [];
    for (const isRetryable of [true, false]) {
      const begun = Promise.withResolvers<void>();
      const script: Script = () => {
        begun.resolve();
        return "hang";
      };
      const { served } = await serve(script, 1, { isRetryable });
      const answer = ask(served, 1);
      await begun.promise;
      await served.drain(0);
      results.push(await answer);
    }
    // Who is told that it shuts down goes to the version that took over.
    expect(results).toEqual(["SHUTTING_DOWN", "REPLICA_LOST"]);
  });

  it("only drops the connection: it stays, and the query is sent again", async () => {
    let isFirst = true;
    const { served, runtime } = await serve((call) => {
      if (!isFirst) return echo(call);
      isFirst = false;
      return "disconnect";
    });
    expect(await ask(served, 7)).toBe(7);
    expect(runtime.started).toHaveLength(1);
  });

  it("hangs: it is replaced, and the input that hangs it again gets REPLICA_HUNG", async () => {
    const { served, runtime } = await serve(
      (call) => (call.inputs.includes("slow") ? "hang" : echo(call)),
      1,
      {
        batchTimeoutMs: 1000,
      },
    );
    const hung = ask(served, "slow");
    const others = Promise.all(range(5).map((value) => ask(served, value)));
    expect(await hung).toBe("REPLICA_HUNG");
    expect(served.lastTrouble() ?? "did not answer").toContain("did not answer");
    expect(await others).toEqual(range(5));
    expect(runtime.started.length).toBeGreaterThan(1);
  });

  it("is at the batches of others: it is no hung one", async () => {
    virtualTime();
    const isAsked = Promise.withResolvers<void>();
    const isHeard = Promise.withResolvers<void>();
    const hearOut = async (): Promise<void> => {
      served.noteAnswered(["echo-1-r1"]);
      isHeard.resolve();
    };
    const script: Script = async (call) => {
      isAsked.resolve();
      await isHeard.promise;
      return echo(call);
    };
    const { served, runtime } = await serve(script, 1, { batchTimeoutMs: 1000 }, { count: 2, hearOut });
    const answer = ask(served, 7);
    await isAsked.promise;
    await vi.advanceTimersByTimeAsync(1001);
    expect(await answer).toBe(7);
    expect(runtime.started).toHaveLength(1);
  });

  it("answers others for ever, and not this batch: it is replaced when it had time for all", async () => {
    const others = {
      count: 2,
      hearOut: async (): Promise<void> => served.noteAnswered(runtime.started.map(({ id }) => id)),
    };
    const { served, runtime } = await serve(
      (call) => (call.inputs.includes("slow") ? "hang" : echo(call)),
      1,
      { batchTimeoutMs: 500 },
      others,
    );
    expect(await ask(served, "slow")).toBe("REPLICA_HUNG");
    expect(await ask(served, 7)).toBe(7);
    expect(runtime.started.length).toBeGreaterThan(1);
  });

  it("when none is left and none can start: queries get NO_REPLICA with the cause", async () => {
    const { served, runtime } = await serve(echo);
    runtime.startError = new Error("no more processes");
    await served.scale(0);
    const { query, settled } = testQuery(1);
    served.enqueue(query);
    expect(await settled).toMatchObject({
      error: { code: "NO_REPLICA", message: expect.stringContaining("model echo version 1") },
    });
  });
});

describe("the first replica", () => {
  it("is waited for while it starts", async () => {
    const { served } = await serve(echo, 0);
    const scaled = served.scale(1);
    expect(served.startingCount).toBe(1);
    expect(await ask(served, 5)).toBe(5);
    await scaled;
  });
});

describe("several replicas", () => {
  it("share what waits when they are idle", async () => {
    const sizes: number[] = [];
    const { served } = await serve((call) => {
      sizes.push(call.inputs.length);
      return echo(call);
    }, 2);
    await Promise.all(range(40).map((value) => ask(served, value)));
    expect(sizes.slice(0, 2)).toEqual([20, 20]);
  });

  it("do not split the batches of the fixed policy", async () => {
    const sizes: number[] = [];
    const batching = { policy: "fixed", maxBatchSize: 8, maxDelayMs: 60_000 } as const;
    const script: Script = (call) => {
      sizes.push(call.inputs.length);
      return echo(call);
    };
    const { served } = await serve(script, 2, { batching });
    expect(await Promise.all(range(16).map((value) => ask(served, value)))).toEqual(range(16));
    expect(sizes).toEqual([8, 8]);
  });

  it("take over from one that answers 503, since that one is ending", async () => {
    const { served } = await serve(
      (call) => (call.replica === "echo-1-r2" ? { status: 503, error: "shutting down" } : echo(call)),
      2,
    );
    expect(await Promise.all(range(8).map((value) => ask(served, value)))).toEqual(range(8));
  });
});

describe("a replica that fails every batch", () => {
  it("is left out after the third, which its callers do not see, and comes back when it answers again", async () => {
    let isBroken = true;
    const calls: string[] = [];
    const script = failing(({ replica }) => isBroken && replica === "echo-1-r1", calls);
    const { served, metrics } = await serve(script, 2);
    const callsOfBad = (): number => calls.filter((id) => id === "echo-1-r1").length;
    for (const value of range(3)) expect(await ask(served, value)).toBe(value);
    expect(callsOfBad()).toBe(3);
    expect(served.replicas()).toMatchObject([
      { id: "echo-1-r1", state: "ready", ejectedFor: "replica echo-1-r2 answered what it failed" },
      { id: "echo-1-r2", state: "ready" },
    ]);
    expect(served.replicas()[1]?.ejectedFor).toBeUndefined();
    expect(await metrics.text()).toContain('windjammer_replica_ejections_total{model="echo",version="1"} 1');
    expect(await Promise.all(range(100).map((value) => ask(served, value)))).toEqual(range(100));
    isBroken = false;
    await expect
      .poll(async () => [await ask(served, 7), served.replicas()[0]?.ejectedFor])
      .toEqual([7, undefined]);
  });

  it("is tried with what another one has answered: no caller waits for it, or hears of it", async () => {
    let isBroken = true;
    let now = 0;
    const begun = Promise.withResolvers<void>();
    const goOn = Promise.withResolvers<void>();
    const script: Script = async (call) => {
      if (call.replica !== "echo-1-r1") return echo(call);
      if (isBroken) return { status: 500, error: "CUDA error" };
      begun.resolve();
      await goOn.promise;
      return echo(call);
    };
    const { served } = await serve(script, 2);
    const asked = range(3);
    for (const value of asked) expect(await ask(served, value)).toBe(value);
    expect(served.replicas()[0]?.ejectedFor).toBeDefined();
    isBroken = false;
    const isTried = begun.promise.then(() => true);
    while (!(await Promise.race([isTried, new Promise((resolve) => setTimeout(resolve, 20))])))
      expect(await ask(served, ++now)).toBe(now);
    // While it is at the try, callers get their answers from the other one.
    expect(await ask(served, 7)).toBe(7);
    goOn.resolve();
    await expect.poll(() => served.replicas()[0]?.ejectedFor).toBeUndefined();
    expect(served.queueLength).toBe(0);
  });

  it("is not tried with each query that comes when a try ends without an answer or a failure of its own", async () => {
    vi.useFakeTimers({ toFake: ["performance"] });
    for (const end of [
      { status: 504, error: "no time" },
      { status: 503, error: "ending" },
      "disconnect",
    ] as const) {
      let answer: ScriptedAnswer = { status: 500, error: "CUDA error" };
      let calls = 0;
      const { served } = await serve((call) => {
        if (call.replica !== "echo-1-r1") return echo(call);
        calls += 1;
        return answer;
      }, 2);
      for (const value of range(3)) expect(await ask(served, value)).toBe(value);
      answer = end;
      for (const pauseMs of [1000, 2000]) {
        const before = calls;
        vi.advanceTimersByTime(pauseMs);
        expect(await ask(served, 7)).toBe(7);
        await expect.poll(() => [calls, served.describe().inFlight]).toEqual([before + 1, 0]);
        for (const value of range(5)) expect(await ask(served, value)).toBe(value);
        await expect.poll(() => served.describe().inFlight).toBe(0);
        expect(calls).toBe(before + 1);
      }
    }
  });

  it("is left out, too, when it answers nothing but errors of single rows", async () => {
    const { served } = await serve(broken, 2);
    const answers: unknown[] = [];
    for (const value of range(10)) answers.push(await ask(served, value));
    // A row's error is that of its input, as long as the next ones are answered.
    expect(answers).toEqual(["MODEL_ERROR", "MODEL_ERROR", ...range(10).slice(2)]);
    expect(served.replicas()[0]?.ejectedFor).toBeDefined();
  });

  it("is no failing one when others fail the same queries: bad queries eject nothing", async () => {
    const bad = { code: "MODEL_ERROR", message: "bad input" };
    const scripts: readonly Script[] = [
      failing(() => true),
      ({ inputs }) => ({ outputs: inputs, errors: inputs.map(() => bad) }),
    ];
    for (const script of scripts) {
      const { served } = await serve(script, 2);
      for (const value of range(12)) expect(await ask(served, value)).toBe("MODEL_ERROR");
      expect(served.replicas().filter(({ ejectedFor }) => ejectedFor !== undefined)).toEqual([]);
    }
  });

  it("of a version that is not retryable, is left out without a second try", async () => {
    const calls: string[] = [];
    const script = failing(({ replica }) => replica === "echo-1-r1", calls);
    const { served } = await serve(script, 2, { isRetryable: false });
    const answers: unknown[] = [];
    for (const value of range(6)) answers.push(await ask(served, value));
    expect(answers).toEqual(["MODEL_ERROR", "MODEL_ERROR", "MODEL_ERROR", 3, 4, 5]);
    expect(calls).toHaveLength(6);
  });

  it("of a version that is not retryable, is back once the last replica fails, too: it was the queries", async () => {
    let isBad = true;
    const { served } = await serve(
      failing(() => isBad),
      3,
      { isRetryable: false },
    );
    const ejected = (): number =>
      served.replicas().filter(({ ejectedFor }) => ejectedFor !== undefined).length;
    for (const value of range(8)) expect(await ask(served, value)).toBe("MODEL_ERROR");
    expect(ejected()).toBe(2);
    expect(await ask(served, 8)).toBe("MODEL_ERROR");
    expect(ejected()).toBe(0);
    isBad = false;
    expect(await ask(served, 9)).toBe(9);
  });
});

describe("a batch that fails as a whole", () => {
  const batching = { policy: "fixed", maxBatchSize: 64, maxDelayMs: 60_000 } as const;

  it("is not computed again when the version is not retryable", async () => {
    const seen: unknown[] = [];
    const script: Script = (call) => {
      seen.push(...call.inputs);
      return { status: 500, error: "no threes" };
    };
    const { served } = await serve(script, 2, { isRetryable: false });
    const answers = await Promise.all(range(6).map((value) => ask(served, value)));
    expect(new Set(answers)).toEqual(new Set(["MODEL_ERROR"]));
    expect(seen).toHaveLength(6);
  });

  it("with its replica, is tried again in a few parts", async () => {
    const sizes: number[] = [];
    const script: Script = (call) => (sizes.push(call.inputs.length) === 1 ? "die" : echo(call));
    const { served } = await serve(script, 2, { batching });
    expect(await Promise.all(range(64).map((value) => ask(served, value)))).toEqual(range(64));
    expect(sizes).toEqual([64, ...Array.from({ length: 8 }, () => 8)]);
  });

  it("because of one query that ends replicas, ends three at most: whole, in part, alone", async () => {
    const { served, runtime } = await serve(
      (call) => (call.inputs.includes("poison") ? "die" : echo(call)),
      2,
      { batching },
    );
    const poison = ask(served, "poison");
    expect(await Promise.all(range(63).map((value) => ask(served, value)))).toEqual(range(63));
    expect(await poison).toBe("REPLICA_LOST");
    expect(runtime.started.filter(({ hasEnded }) => hasEnded)).toHaveLength(3);
  });

  it("goes on in deadline order with what else waits", async () => {
    const order: unknown[] = [];
    const begun = Promise.withResolvers<void>();
    const go = Promise.withResolvers<void>();
    const script: Script = async (call) => {
      order.push(call.inputs);
      if (order.length > 1) return echo(call);
      begun.resolve();
      await go.promise;
      return { status: 500, error: "not now" };
    };
    const { served } = await serve(script, 1, { batching: { ...batching, maxBatchSize: 2 } });
    const patient = [1, 2].map((value) => ask(served, value, 90_000));
    await begun.promise;
    const urgent = [3, 4].map((value) => ask(served, value, 60_000));
    go.resolve();
    expect(await Promise.all([...patient, ...urgent])).toEqual([1, 2, 3, 4]);
    expect(order).toEqual([[1, 2], [3, 4], [1], [2]]);
  });
});

describe("a queue", () => {
  it("goes on after a reply that makes no sense", async () => {
    let isFirst = true;
    const { served } = await serve((call) => {
      if (!isFirst) return echo(call);
      isFirst = false;
      return { outputs: call.inputs, errors: [JSON.parse("null")] };
    });
    expect(await ask(served, 1)).toBe("INVALID_MODEL_OUTPUT");
    expect(await ask(served, 2)).toBe(2);
  });

  it("forgets callers that have gone when it is full, and refuses only then", async () => {
    const { served } = await serve(() => "hang");
    const gone = range(1064).map((value) => testQuery(value));
    for (const { query } of gone.slice(0, 1000)) served.enqueue(query);
    await expect.poll(() => served.queueLength).toBeLessThan(1000);
    for (const { query } of gone.slice(1000)) served.enqueue(query);
    expect(await ask(served, "too many")).toBe("OVERLOADED");
    for (const { query } of gone) query.isAbandoned = true;
    await new Promise((resolve) => setTimeout(resolve, 60));
    for (const value of ["fits", "fits too"]) served.enqueue(testQuery(value).query);
    expect(served.queueLength).toBe(2);
  });

  it("says when it is full how long those take that wait", async () => {
    let calls = 0;
    const script = async (call: ScriptedCall): Promise<ScriptedAnswer> => {
      if (calls++ >= 3) return "hang";
      await new Promise((resolve) => setTimeout(resolve, 20));
      return echo(call);
    };
    const { served } = await serve(script, 1, { batching: { policy: "slo", maxBatchSize: 1 } });
    for (const value of range(3)) await ask(served, value);
    served.enqueue(testQuery("in flight").query);
    await expect.poll(() => served.queueLength).toBe(0);
    for (const value of range(1000)) served.enqueue(testQuery(value).query);
    const { query, settled } = testQuery("too many");
    served.enqueue(query);
    const settlement = await settled;
    // A thousand of 20 ms each, one by one.
    expect(settlement.kind === "error" && (settlement.error.retryAfterS ?? 0) > 15).toBe(true);
  });

  it("serves thousands of shapes, each its own batch", async () => {
    const { served } = await serve(echo, 2);
    const answers = range(3000).map((value) => {
      const { query, settled } = testQuery(value);
      served.enqueue({ ...query, row: { ...query.row, key: `${value}` } });
      return settled.then(resultOf);
    });
    const results = await Promise.all(answers);
    expect(results.filter((result, index) => result === index).length).toBe(1000);
    expect(results.filter((result) => result === "OVERLOADED").length).toBe(2000);
  });

  it("drained twice, ends with the shorter grace, and takes nothing more", async () => {
    const { served, runtime } = await serve(() => "hang");
    const answer = ask(served, 1);
    await expect.poll(() => served.queueLength).toBe(0);
    const long = served.drain(60_000);
    await served.drain(10);
    await long;
    expect(await answer).toBe("SHUTTING_DOWN");
    expect((await runtime.started[0]?.exited)?.reason).toBe("stopped");
  });
});

describe("deadlines", () => {
  it("settle a query that is in flight, and its late answer changes nothing", async () => {
    const late = Promise.withResolvers<void>();
    const { served } = await serve(async (call) => {
      if (call.inputs.includes("slow")) await late.promise;
      return echo(call);
    });
    expect(await ask(served, "slow", 20)).toBe("DEADLINE_EXCEEDED");
    late.resolve();
    expect(await ask(served, "next")).toBe("next");
  });

  it("settle queries that wait behind a hanging batch", async () => {
    const { served } = await serve((call) => (call.inputs.includes("slow") ? "hang" : echo(call)));
    const hung = ask(served, "slow", 60);
    await new Promise((resolve) => setImmediate(resolve));
    await new Promise((resolve) => setImmediate(resolve));
    expect(await ask(served, 1, 20)).toBe("DEADLINE_EXCEEDED");
    expect(await hung).toBe("DEADLINE_EXCEEDED");
  });

  it("skip a query whose caller has gone", async () => {
    const seen: unknown[] = [];
    const { served } = await serve((call) => {
      seen.push(...call.inputs);
      return echo(call);
    });
    const gone = testQuery("gone");
    gone.query.isAbandoned = true;
    served.enqueue(gone.query);
    expect(await ask(served, "here")).toBe("here");
    expect(seen).toEqual(["here"]);
    expect(resultOf(await gone.settled)).toBe("CALLER_GONE");
  });
});

describe("replicas", () => {
  it("fail to start with the step, the cause and the log, and leave nothing", async () => {
    const { served, runtime } = await serve(echo);
    runtime.startError = new Error("spawn EAGAIN");
    await expect(served.startReplica(new AbortController().signal)).rejects.toThrow("spawn EAGAIN");
    expect(served.replicas()).toHaveLength(1);
  });

  it("scale up and down while queries run, losing none", async () => {
    const { served, runtime } = await serve(async (call) => {
      await new Promise((resolve) => setTimeout(resolve, 1));
      return echo(call);
    });
    const answers: Promise<unknown>[] = [];
    for (const replicas of [4, 1, 3, 2]) {
      answers.push(...range(50).map((value) => ask(served, value)));
      await served.scale(replicas);
      expect(served.readyCount).toBe(replicas);
    }
    expect(await Promise.all(answers)).toEqual([...range(50), ...range(50), ...range(50), ...range(50)]);
    expect(runtime.started).toHaveLength(6);
  });

  it("drain: running queries are answered, later ones are turned away, all replicas stop", async () => {
    const { served, runtime } = await serve(async (call) => {
      await new Promise((resolve) => setTimeout(resolve, 10));
      return echo(call);
    }, 2);
    const answers = range(30).map((value) => ask(served, value));
    const drained = served.drain(60_000);
    expect(await ask(served, 99)).toBe("SHUTTING_DOWN");
    await drained;
    expect(await Promise.all(answers)).toEqual(range(30));
    for (const replica of runtime.started) expect((await replica.exited).reason).toBe("stopped");
  });

  it("declare another contract than the bundle: refused by name", async () => {
    const { served, runtime } = await serve(echo, 0);
    const start = runtime.start.bind(runtime);
    runtime.start = (spec) => {
      const { manifest } = spec.bundle;
      const contract = { ...manifest.contract, outputs: [] };
      return start({ ...spec, bundle: { ...spec.bundle, manifest: { ...manifest, contract } } });
    };
    await expect(served.startReplica(new AbortController().signal)).rejects.toMatchObject({
      code: "CONTRACT_MISMATCH",
      message: expect.stringContaining("expected output BYTES [-1]; got none"),
    });
  });
});

describe("a model slower than the deadline, behind a cache", () => {
  it("computes a query once: its late prediction is kept for the next", async () => {
    virtualTime();
    const begun = Promise.withResolvers<void>();
    const open = Promise.withResolvers<void>();
    let rows = 0;
    const { served } = await serve(async (call) => {
      rows += call.inputs.length;
      begun.resolve();
      await open.promise;
      return echo(call);
    });
    const cache = new PredictionCache({ maxBytes: 1e6, ttlMs: 1e6 });
    const first = testQuery(7, performance.now() + 500);
    cache.submit(first.query, served);
    await begun.promise;
    await vi.advanceTimersByTimeAsync(501);
    expect(resultOf(await first.settled)).toBe("DEADLINE_EXCEEDED");
    open.resolve();
    await expect.poll(() => cache.size).toBe(1);
    const second = testQuery(7, performance.now() + 60_000);
    expect(cache.submit(second.query, served)).toBe("hit");
    expect([resultOf(await second.settled), rows]).toEqual([7, 1]);
  });

  it("answers equal queries whose time is not over when it comes, and counts none of them as dropped", async () => {
    virtualTime();
    const begun = Promise.withResolvers<void>();
    const open = Promise.withResolvers<void>();
    let rows = 0;
    const { served, metrics } = await serve(async (call) => {
      rows += call.inputs.length;
      begun.resolve();
      await open.promise;
      return echo(call);
    });
    const cache = new PredictionCache({ maxBytes: 1e6, ttlMs: 1e6 });
    const now = performance.now();
    const first = testQuery(7, now + 500);
    const others = range(20).map((index) => testQuery(7, now + 60_000 + index));
    for (const { query } of [first, ...others]) cache.submit(query, served);
    await begun.promise;
    await vi.advanceTimersByTimeAsync(501);
    expect(resultOf(await first.settled)).toBe("DEADLINE_EXCEEDED");
    open.resolve();
    const results = await Promise.all(others.map(async ({ settled }) => resultOf(await settled)));
    vi.useRealTimers();
    await served.drain(60_000);
    expect([new Set(results), rows]).toEqual([new Set([7]), 1]);
    const dropped = (await metrics.text())
      .split("\n")
      .filter((line) => line.startsWith("windjammer_dropped"));
    expect(dropped).toEqual(['windjammer_dropped_total{model="echo",version="1",reason="deadline"} 1']);
  });
});
