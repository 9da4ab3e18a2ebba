// Deployments end to end: a real server, real model containers, the real client.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DeployedApplication, DeployOptions, Windjammer } from "../../core/client/interface.ts";
import {
  DeploymentConflictError,
  DeploymentInterruptedError,
  GateFailedError,
  InvalidOptionsError,
  PortInUseError,
  ReplicaStartError,
  StateDirInUseError,
  VersionExistsError,
  type WindjammerError,
} from "../../core/errors.ts";
import type { DeploymentEvent } from "../../core/types.ts";
import { startServer, windjammer } from "../../core/windjammer.ts";
import { answering, sourceDeployer } from "../helpers/bundles.ts";
import { containersOf } from "../helpers/processes.ts";

let folder: string;
let wj: Windjammer;

function deploy(
  source: string,
  options: DeployOptions & { readonly inputType?: "doubles" },
): Promise<DeployedApplication> {
  return wj.deploy(sourceDeployer, { source, ...options });
}

/** The failure of a deployment. */
async function failureOf(deployment: Promise<unknown>): Promise<WindjammerError> {
  const outcome = await deployment.then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(outcome).toBeInstanceOf(Error);
  return outcome as WindjammerError;
}

/** Options of another server. */
function place(name: string): { port: number; adminPort: number; stateDir: string; cacheDir: string } {
  return { port: 0, adminPort: 0, stateDir: join(folder, name), cacheDir: join(folder, "cache") };
}

function byVersion(version: number): string {
  return answering(`({ by: ${version}, input })`);
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "wj-rollout-"));
  wj = await windjammer({
    port: 0,
    adminPort: 0,
    stateDir: join(folder, "state"),
    cacheDir: join(folder, "cache"),
  });
});

afterAll(async () => {
  await wj.close();
  expect(await containersOf(join(folder, "state"))).toEqual(process.platform === "linux" ? [] : undefined);
  await rm(folder, { recursive: true, force: true });
});

describe("versions of one model, one after the other", () => {
  const name = "steps";

  it("the first one serves as soon as its deployment has ended", async () => {
    const events: DeploymentEvent[] = [];
    const app = await deploy(answering("({ by: 1, input })"), {
      name,
      version: "1",
      replicas: 2,
      latencyObjectiveMs: 5_000,
      examples: [{ input: "x", output: { by: 1, input: "x" } }],
      onEvent: (event) => events.push(event),
    });
    expect(app.deployment).toMatchObject({ state: "succeeded", result: "deployed" });
    expect(await app.predict("hello")).toEqual({ by: 1, input: "hello" });
    expect(events.at(-1)?.step).toBe("done");
  });

  it("the second one takes over, with as many replicas", async () => {
    const app = await deploy(answering("({ by: 2, input })"), { name, version: "2" });
    expect(await app.predict("hello")).toEqual({ by: 2, input: "hello" });
    const replicas = (await wj.replicas()).filter((replica) => replica.model === name);
    expect(replicas.map(({ version, state }) => ({ version, state }))).toEqual([
      { version: "2", state: "ready" },
      { version: "2", state: "ready" },
    ]);
  });

  it("the same content again is a no-op that says so; other content is refused", async () => {
    const again = await deploy(answering("({ by: 2, input })"), { name, version: "2" });
    expect(again.deployment).toMatchObject({ state: "succeeded", result: "unchanged" });
    const refused = await failureOf(deploy(answering("({ by: 'other' })"), { name, version: "2" }));
    expect(refused).toBeInstanceOf(VersionExistsError);
    expect(refused.message).toContain("another version");
  });

  it.each([
    {
      fault: "throws when it is loaded",
      source: `console.log("about to load"); throw new Error("weights are missing");`,
      more: {},
      error: ReplicaStartError,
      step: "start",
      says: /weights are missing/,
      log: /about to load/,
    },
    {
      fault: "exits",
      source: `console.error("cannot go on"); process.exit(3);`,
      more: {},
      error: ReplicaStartError,
      step: "start",
      says: /exited with code 3|cannot go on/,
      log: /cannot go on/,
    },
    {
      fault: "is never ready",
      source: `console.log("loading for ever"); await new Promise((resolve) => setTimeout(resolve, 1e9));`,
      // Time in which it surely says its line.
      more: { readyTimeoutMs: 8_000 },
      error: ReplicaStartError,
      step: "start",
      says: /not ready within 8000 ms/,
      log: /loading for ever/,
    },
    {
      fault: "answers an example wrongly",
      source: `console.log("loaded"); ${answering("({ score: 0.7 })")}`,
      more: {
        examples: [
          { input: 1, output: { score: 0.7 } },
          { input: 2, output: { score: 0.5 } },
        ],
      },
      error: GateFailedError,
      step: "gate",
      says: /example 2 .*output\.score is 0\.7, expected 0\.5/,
      log: /loaded/,
    },
    {
      fault: "throws on an example",
      source: answering("input.a.b"),
      more: { examples: [{ input: { a: { b: 1 } }, output: 1 }, { input: {} }] },
      error: GateFailedError,
      step: "gate",
      says: /example 2 .*TypeError/,
      log: /TypeError/,
    },
    {
      fault: "dies of an example",
      source: `console.log("loaded"); export function predict() { process.exit(9); }`,
      more: {},
      error: GateFailedError,
      step: "gate",
      says: /made-up input.*exited with code 9/,
      log: /loaded/,
    },
    {
      fault: "hangs on an example",
      source: `console.log("loaded"); export function predict() { for (;;); }`,
      more: { batchTimeoutMs: 300 },
      error: GateFailedError,
      step: "gate",
      says: /made-up input.*within 300 ms/,
      log: /.*/,
    },
    {
      fault: "gives one output for a list",
      source: `export function predict(inputs) { return [inputs[0]]; }`,
      more: {},
      error: GateFailedError,
      step: "gate",
      says: /made-up input.*1 output for \d inputs/,
      log: /.*/,
    },
  ])("one that $fault fails, and the second one goes on serving", async (fault) => {
    const error = await failureOf(deploy(fault.source, { name, version: "3", ...fault.more }));
    expect(error).toBeInstanceOf(fault.error);
    expect(error.message).toMatch(fault.says);
    expect(error.details["step"]).toBe(fault.step);
    expect((error.details["logTail"] as string[]).join("\n")).toMatch(fault.log);
    const [deployment] = await wj.deployments();
    expect(deployment).toMatchObject({ state: "failed", version: "3", error: { step: fault.step } });
    const app = await wj.application(name);
    expect(await app.predict("still")).toEqual({ by: 2, input: "still" });
    expect((await wj.versions(name)).map(({ version }) => version).toSorted()).toEqual(["1", "2"]);
    expect((await wj.replicas()).filter((replica) => replica.version === "3")).toEqual([]);
  });

  it("a model that refuses the made-up input is deployed with a warning", async () => {
    const events: DeploymentEvent[] = [];
    const app = await deploy(answering("input.pixels.length"), {
      name: "picky",
      version: "1",
      onEvent: (event) => events.push(event),
    });
    expect(events.find(({ level }) => level === "warning")?.message).toMatch(/refused a made-up input/);
    expect(await app.predict({ pixels: [1, 2] })).toBe(2);
    const silent = await deploy(answering("input.label"), { name: "silent", version: "1" });
    expect(await silent.predict({ label: "cat" })).toBe("cat");
  });

  it("a rollback is one call, through the gate", async () => {
    const events: DeploymentEvent[] = [];
    const ended = await wj.setVersion(name, "1", { onEvent: (event) => events.push(event) });
    expect(ended).toMatchObject({ state: "succeeded", result: "deployed", version: "1" });
    const app = await wj.application(name);
    expect(await app.predict("back")).toEqual({ by: 1, input: "back" });
    expect(events.some(({ step, message }) => step === "gate" && message.includes("1 example"))).toBe(true);
    expect((await wj.replicas()).filter((replica) => replica.model === name)).toHaveLength(2);
  });
});

describe("deployments at the same time", () => {
  it("of one model: one runs, the other is told of it", async () => {
    const name = "contended";
    const outcomes = await Promise.allSettled(
      ["1", "2"].map((version) => deploy(answering(version), { name, version })),
    );
    const refused = outcomes.filter((outcome) => outcome.status === "rejected");
    expect(refused.map(({ reason }) => reason as unknown)).toEqual([expect.any(DeploymentConflictError)]);
    const model = (await wj.models()).find((each) => each.name === name);
    const app = await wj.application(name);
    expect(await app.predict(null)).toBe(Number(model?.currentVersion));
  });
});

describe("a version that is ready beside the one that serves", () => {
  it("answers those who name it, in every dialect and in the metrics, and nobody else", async () => {
    const name = "canary";
    const app = await deploy(byVersion(1), { name, version: "1" });
    const canary = await deploy(byVersion(2), { name, version: "2", switch: false });
    expect(canary.deployment).toMatchObject({ state: "succeeded", result: "ready", application: name });
    expect(await canary.predict("x")).toEqual({ by: 2, input: "x" });
    expect(await canary.predictBatch([1, 2])).toEqual([
      { by: 2, input: 1 },
      { by: 2, input: 2 },
    ]);
    expect(await canary.predict("x", { version: "1" })).toEqual({ by: 1, input: "x" });
    expect(await app.predict("x")).toEqual({ by: 1, input: "x" });
    const reply = await fetch(`${wj.url}/v2/models/${name}/versions/2/infer`, {
      method: "POST",
      body: JSON.stringify({ inputs: [{ name: "input", datatype: "BYTES", shape: [1], data: ['"x"'] }] }),
    });
    expect(await reply.json()).toMatchObject({
      model_version: "2",
      outputs: [{ data: ['{"by":2,"input":"x"}'] }],
    });
    const counts = (await wj.metrics())
      .split("\n")
      .filter((line) => line.includes('model="canary"'))
      .join("\n");
    expect(counts).toMatch(/windjammer_queries_total\{[^}]*version="2"[^}]*\} [1-9]/);

    await wj.setVersion(name, "2");
    expect(await app.predict("x")).toEqual({ by: 2, input: "x" });
    await expect(canary.predict("x", { version: "1" })).rejects.toMatchObject({ code: "NO_REPLICA" });
  });
});

describe("queries during rollouts", () => {
  it("are all answered, each with its own result, by one version or the other", async () => {
    const name = "busy";
    const app = await deploy(byVersion(1), { name, version: "1" });
    const stopped = new AbortController();
    let count = 0;
    const by = new Set<number>();
    const callers = Array.from({ length: 8 }, async () => {
      while (!stopped.signal.aborted) {
        const input = ++count;
        const output = (await app.predict(input)) as { readonly by: number; readonly input: number };
        expect(output.input).toBe(input);
        by.add(output.by);
      }
    });
    for (const version of [2, 3, 4]) await deploy(byVersion(version), { name, version: String(version) });
    await wj.setVersion(name, "2");
    stopped.abort();
    await Promise.all(callers);
    expect([...by].toSorted((a, b) => a - b)).toEqual([1, 2, 3, 4]);
    expect(await app.predict(0)).toEqual({ by: 2, input: 0 });
    console.log(`${count} queries during 4 rollouts, all answered`);
  });
});

describe("a server that cannot start", () => {
  it("on a state folder in use says who has it", async () => {
    await expect(startServer(place("state"))).rejects.toThrow(StateDirInUseError);
  });

  it("on a port in use leaves nothing behind: the same folder starts on another port", async () => {
    for (const [key, url] of [
      ["port", wj.url],
      ["adminPort", wj.adminUrl],
    ] as const) {
      const taken = Number(new URL(url).port);
      const refused = startServer({ ...place("second"), [key]: taken });
      await expect(refused).rejects.toThrow(PortInUseError);
      await expect(refused).rejects.toThrow(String(taken));
    }
    const server = await startServer(place("second"));
    await server.close();
    await server.close();
    const withToken = await startServer({ ...place("second"), token: "0123456789abcdef" });
    await withToken.close();
  });

  it("with wrong options names the option", async () => {
    await expect(startServer({ ...place("third"), host: "0.0.0.0" })).rejects.toThrow(/token/);
    await expect(startServer({ ...place("third"), port: 70_000 })).rejects.toThrow(/port/);
    await expect(startServer({ prot: 1 } as object)).rejects.toThrow(/did you mean 'port'/);
    await expect(windjammer({ url: wj.adminUrl, port: 1 })).rejects.toThrow(InvalidOptionsError);
  });
});

describe("an embedded server", () => {
  it("without a state folder starts empty, and removes its folder on close", async () => {
    const server = await startServer({ port: 0, adminPort: 0, cacheDir: join(folder, "cache") });
    expect(await readdir(server.stateDir)).toContain("registry.db");
    await server.close();
    await expect(readdir(server.stateDir)).rejects.toThrow("ENOENT");
  });

  it("that closes in the middle of a deployment fails it, and tells its caller why", async () => {
    const started = Promise.withResolvers<void>();
    const other = await windjammer({
      ...place("closing"),
      onEvent: (_, { step }) => (step === "start" ? started.resolve() : undefined),
    });
    const deployment = failureOf(
      other.deploy(sourceDeployer, {
        name: "slow",
        version: "1",
        source: `await new Promise((resolve) => setTimeout(resolve, 1e9)); ${answering("1")}`,
      }),
    );
    await started.promise;
    await other.close();
    expect(await deployment).toBeInstanceOf(DeploymentInterruptedError);
    await using again = await windjammer(place("closing"));
    expect(await again.models()).toEqual([]);
    expect(await again.deployments()).toMatchObject([{ state: "failed", error: { step: "start" } }]);
  });
});

describe("a restart", () => {
  it("serves again what served, with as many replicas, and keeps the history", async () => {
    const kept = place("kept");
    const first = await windjammer(kept);
    await first.deploy(sourceDeployer, { name: "kept", version: "1", source: answering("1"), replicas: 2 });
    await first.deploy(sourceDeployer, { name: "kept", version: "2", source: answering("2") });
    await first.close();
    await first.close();
    await using second = await windjammer(kept);
    const app = await second.application("kept");
    await expect.poll(() => app.predict(null).catch(String)).toBe(2);
    await expect
      .poll(async () => (await second.replicas()).filter(({ state }) => state === "ready").length)
      .toBe(2);
    expect((await second.deployments()).map(({ version, state }) => ({ version, state }))).toEqual([
      { version: "2", state: "succeeded" },
      { version: "1", state: "succeeded" },
    ]);
    await second.setVersion("kept", "1");
    expect(await app.predict(null)).toBe(1);
  });
});
