import { describe, expect, it, vi } from "vitest";
import {
  BundleNotFoundError,
  DeploymentConflictError,
  InUseError,
  InvalidInputError,
  InvalidOptionsError,
  InvalidRequestError,
  ModelNotFoundError,
  ShuttingDownError,
  VersionExistsError,
  VersionNotFoundError,
} from "../../../core/errors.ts";
import { packManifest } from "../../../core/deploy/bundle.ts";
import { manifest } from "../../../core/deploy/deployer.ts";
import { MemoryStore } from "../../../core/registry/memory-store.ts";
import type { RunningReplica } from "../../../core/runtimes/runtime.ts";
import type { Deployment, DeploymentEvent } from "../../../core/types.ts";
import { echo, openLab, type Lab } from "../../helpers/deployment-lab.ts";
import { resultOf, testQuery } from "../../helpers/versions.ts";

const NAME = "echo";

function current(lab: Lab): string | undefined {
  return lab.registry.findModel(NAME)?.currentVersion;
}

async function answer(lab: Lab, version: string, value: string): Promise<unknown> {
  const { query, settled } = testQuery(value);
  lab.serving.find(NAME, version)?.enqueue(query);
  return resultOf(await settled);
}

/** A replica that a former server started, and that outlived it. */
async function startLeftOver(
  { registry, runtime, bundles }: Lab,
  { version, id }: { readonly version: string; readonly id: string },
): Promise<RunningReplica> {
  const { bundle: hash } = registry.version(NAME, "1");
  const bundle = await bundles.get(hash);
  return runtime.start({ id, model: NAME, version, image: "scripted", bundle, limits: { cpus: 1 } });
}

/** A gate for a script: replicas of some version hang until it is opened. */
function holdScript(version: string): {
  readonly script: typeof echo;
  open(): void;
  readonly reached: Promise<void>;
} {
  const held = Promise.withResolvers<void>();
  const reached = Promise.withResolvers<void>();
  return {
    script: async (call) => {
      if (call.replica.startsWith(`${NAME}-${version}-`)) {
        reached.resolve();
        await held.promise;
      }
      return { outputs: call.inputs };
    },
    open: () => held.resolve(),
    reached: reached.promise,
  };
}

describe("a first deployment", () => {
  it("ends with the version serving, its application linked, and every step told in order", async () => {
    const lab = await openLab();
    const heard: DeploymentEvent[] = [];
    lab.deployments.onEvent((_, event) => heard.push(event));
    const ended = await lab.deploy("a", {
      name: NAME,
      version: "1",
      latencyObjectiveMs: 50,
      defaultOutput: null,
      replicas: 2,
      examples: [{ input: "x", output: "x" }],
    });
    expect(ended).toMatchObject({
      state: "succeeded",
      result: "deployed",
      application: NAME,
      model: NAME,
      version: "1",
    });
    expect(ended.endedAt).toBeDefined();
    expect(current(lab)).toBe("1");
    expect(lab.registry.application(NAME)).toEqual({
      name: NAME,
      inputType: "json",
      latencyObjectiveMs: 50,
      defaultOutput: null,
    });
    expect(lab.registry.linkOf(NAME)?.model).toBe(NAME);
    expect(lab.registry.version(NAME, "1")).toMatchObject({ desiredReplicas: 2 });
    expect(lab.serving.find(NAME, "1")?.readyCount).toBe(2);
    expect(await answer(lab, "1", "hello")).toBe("hello");

    const stored = await lab.events(ended);
    expect(stored).toEqual(heard);
    expect(stored.map((event) => event.sequence)).toEqual(stored.map((_, index) => index + 1));
    const steps = stored.map((event) => event.step);
    expect(steps.filter((step, index) => step !== steps[index - 1])).toEqual([
      "receive",
      "check",
      "store",
      "prepare",
      "start",
      "ready",
      "gate",
      "scale",
      "switch",
      "done",
    ]);
  });

  it("has every event stored before a listener hears it, and survives a listener that throws", async () => {
    const lab = await openLab();
    const missing: Promise<boolean>[] = [];
    lab.deployments.onEvent((deployment, event) => {
      const stored = lab.registry.events(deployment.id);
      missing.push(stored.then((events) => !events.some(({ sequence }) => sequence === event.sequence)));
      throw new Error("a listener's own fault");
    });
    expect(await lab.deploy("a", { name: NAME, version: "1" })).toMatchObject({ state: "succeeded" });
    expect(missing.length).toBeGreaterThan(8);
    expect(await Promise.all(missing)).not.toContain(true);
  });

  it("without an application leaves none, and says so", async () => {
    const lab = await openLab();
    const ended = await lab.deploy("a", { name: NAME, version: "1", application: null });
    expect(ended).toMatchObject({ state: "succeeded", application: "" });
    expect(lab.registry.applications()).toEqual([]);
  });

  it("can be followed from the start while it runs, and after its end", async () => {
    const hold = holdScript("1");
    const lab = await openLab({ script: hold.script });
    const bundle = await lab.add("a");
    const { id } = await lab.deployments.begin({ name: NAME, version: "1", bundle });
    await hold.reached;
    const live: DeploymentEvent[] = [];
    const following = (async () => {
      for await (const event of lab.deployments.follow(id)) live.push(event);
    })();
    const gone = new AbortController();
    const aborted = (async () => {
      for await (const event of lab.deployments.follow(id, gone.signal))
        if (event.step === "gate") gone.abort();
    })();
    await aborted;
    hold.open();
    await following;
    expect(live[0]?.sequence).toBe(1);
    expect(live.at(-1)?.step).toBe("done");
    expect(await Array.fromAsync(lab.deployments.follow(id))).toEqual(live);
    expect(await lab.deployments.wait(id)).toMatchObject({ state: "succeeded" });
  });
});

describe("a deployment over a serving version", () => {
  it("switches, keeps the replica count and the application's settings, and drains the former version", async () => {
    const lab = await openLab();
    await lab.deploy("a", { name: NAME, version: "1", latencyObjectiveMs: 50, defaultOutput: "none" });
    await lab.deployments.scale(NAME, 3);
    const ended = await lab.deploy("b", { name: NAME, version: "2" });
    expect(ended).toMatchObject({ state: "succeeded", result: "deployed" });
    expect(current(lab)).toBe("2");
    expect(lab.registry.application(NAME)).toMatchObject({ latencyObjectiveMs: 50, defaultOutput: "none" });
    expect(lab.registry.version(NAME, "2").desiredReplicas).toBe(3);
    expect(lab.registry.version(NAME, "1").desiredReplicas).toBe(0);
    expect(lab.serving.find(NAME, "2")?.readyCount).toBe(3);
    expect(lab.serving.find(NAME, "1")).toBeUndefined();
    const events = await lab.events(ended);
    expect(events.filter((event) => event.step === "drain")).toHaveLength(2);
  });

  it("has all its replicas ready before the switch", async () => {
    const lab = await openLab();
    await lab.deploy("a", { name: NAME, version: "1", replicas: 3 });
    const readyAtSwitch: number[] = [];
    lab.registry.onChange(() => readyAtSwitch.push(lab.serving.find(NAME, "2")?.readyCount ?? 0));
    await lab.deploy("b", { name: NAME, version: "2" });
    expect(readyAtSwitch).toEqual([3]);
  });

  it("does nothing when the same content serves with the same settings, and says so in one event", async () => {
    const lab = await openLab();
    await lab.deploy("a", { name: NAME, version: "1", latencyObjectiveMs: 50 });
    const started = lab.runtime.started.length;
    for (const request of [{ latencyObjectiveMs: 50 }, {}]) {
      const ended = await lab.deploy("a", { name: NAME, version: "1", ...request });
      expect(ended).toMatchObject({ state: "succeeded", result: "unchanged" });
      const events = await lab.events(ended);
      expect(events).toHaveLength(1);
      expect(events[0]?.message).toContain("nothing to do");
    }
    expect(lab.runtime.started).toHaveLength(started);
  });

  it("refuses other content under the same version and records nothing", async () => {
    const lab = await openLab();
    await lab.deploy("a", { name: NAME, version: "1" });
    const bundle = await lab.add("b");
    await expect(lab.deployments.begin({ name: NAME, version: "1", bundle })).rejects.toThrow(
      VersionExistsError,
    );
    expect(lab.registry.deployments()).toHaveLength(1);
    expect(await lab.bundles.find(lab.registry.version(NAME, "1").bundle)).toBeDefined();
  });

  it("applies other settings of the serving version without new replicas where that is possible", async () => {
    const lab = await openLab();
    await lab.deploy("a", { name: NAME, version: "1" });
    const ended = await lab.deploy("a", {
      name: NAME,
      version: "1",
      replicas: 2,
      latencyObjectiveMs: 20,
      examples: [{ input: 1, output: 1 }],
    });
    expect(ended).toMatchObject({ state: "succeeded", result: "deployed" });
    expect(lab.serving.find(NAME, "1")?.readyCount).toBe(2);
    expect(lab.runtime.started).toHaveLength(2);
    expect(lab.registry.application(NAME).latencyObjectiveMs).toBe(20);
    expect(lab.registry.version(NAME, "1")).toMatchObject({
      desiredReplicas: 2,
      settings: { examples: [{ input: 1 }] },
    });
    await lab.deploy("a", { name: NAME, version: "1", replicas: 1 });
    expect(lab.serving.find(NAME, "1")?.readyCount).toBe(1);
  });

  it("refuses other limits or batching of the serving version, naming them", async () => {
    const lab = await openLab();
    await lab.deploy("a", { name: NAME, version: "1" });
    const bundle = await lab.add("a");
    const refused = lab.deployments.begin({
      name: NAME,
      version: "1",
      bundle,
      cpus: 2,
      batching: { policy: "none" },
    });
    await expect(refused).rejects.toThrow(InvalidRequestError);
    await expect(refused).rejects.toThrow(/cpus, batching.*another version/);
    expect(await lab.bundles.find(bundle)).toBeDefined();
  });

  it("switches to a retired version when its content is deployed again, with new limits as well", async () => {
    const lab = await openLab();
    await lab.deploy("a", { name: NAME, version: "1" });
    await lab.deploy("b", { name: NAME, version: "2" });
    const ended = await lab.deploy("a", { name: NAME, version: "1", cpus: 2 });
    expect(ended).toMatchObject({ state: "succeeded", result: "deployed" });
    expect(current(lab)).toBe("1");
    expect(lab.registry.version(NAME, "1").settings.limits.cpus).toBe(2);
    expect(lab.serving.find(NAME, "2")).toBeUndefined();
  });

  it("takes over replicas that run already, and replaces them where the limits differ", async () => {
    const lab = await openLab();
    await lab.deploy("a", { name: NAME, version: "1" });
    await lab.deploy("b", { name: NAME, version: "2" });
    await lab.deployments.scale(NAME, 1, "1");
    const before = lab.runtime.started.length;
    await lab.deploy("a", { name: NAME, version: "1" });
    expect(lab.runtime.started).toHaveLength(before);
    await lab.deployments.scale(NAME, 1, "2");
    await lab.deploy("b", { name: NAME, version: "2", memoryMb: 512 });
    expect(lab.runtime.started).toHaveLength(before + 2);
    expect(lab.serving.find(NAME, "2")?.version.settings.limits.memoryMb).toBe(512);
  });

  it("repairs a serving version whose replicas are all gone", async () => {
    const lab = await openLab();
    await lab.deploy("a", { name: NAME, version: "1" });
    await lab.serving.close(NAME, "1", 0);
    expect(await lab.deploy("a", { name: NAME, version: "1" })).toMatchObject({ result: "deployed" });
    expect(await answer(lab, "1", "back")).toBe("back");
  });
});

describe("a deployment that fails", () => {
  it("at a start names step and cause, leaves the former version serving and nothing of its own", async () => {
    const lab = await openLab();
    await lab.deploy("a", { name: NAME, version: "1" });
    lab.runtime.startError = new Error("no more processes");
    const ended = await lab.deploy("b", { name: NAME, version: "2" });
    expect(ended).toMatchObject({ state: "failed", error: { step: "start", code: "INTERNAL" } });
    expect(ended.error?.message).toContain("no more processes");
    expect(current(lab)).toBe("1");
    expect(lab.registry.findVersion(NAME, "2")).toBeUndefined();
    expect(lab.serving.find(NAME, "2")).toBeUndefined();
    expect(await lab.bundles.find(ended.bundle)).toBeUndefined();
    expect(await answer(lab, "1", "still here")).toBe("still here");
    const last = (await lab.events(ended)).at(-1);
    expect(last).toMatchObject({ level: "error", step: "start" });
    expect(last?.message).toContain("version 1 goes on as before");
  });

  it("at the gate names example, place, expected and got, and reports the container's last lines", async () => {
    const lab = await openLab({
      script: ({ replica, inputs }) => {
        const started = lab.runtime.started.find(({ id }) => id === replica);
        started?.lines.push({ at: new Date().toISOString(), stream: "stdout", text: `saw ${inputs.length}` });
        return { outputs: inputs.map(() => ({ scores: [0.1, 0.9] })) };
      },
    });
    const ended = await lab.deploy("a", {
      name: NAME,
      version: "1",
      examples: [
        { input: 1, output: { scores: [0.1, 0.9] } },
        { input: 2, output: { scores: [0.1, 0.8] } },
      ],
    });
    expect(ended).toMatchObject({ state: "failed", error: { step: "gate", code: "GATE_FAILED" } });
    expect(ended.error?.message).toMatch(/example 2 .*output\.scores\[1\] is 0\.9, expected 0\.8/);
    expect(ended.error?.logTail).toContain("saw 1");
    expect(ended.error?.details).toEqual({
      example: 2,
      path: "output.scores[1]",
      expected: 0.8,
      got: 0.9,
      tolerance: 1e-4,
    });
    expect(lab.registry.models()).toEqual([]);
    expect(lab.registry.applications()).toEqual([]);
    expect(await lab.bundles.hashes()).toEqual([]);
  });

  it("keeps a bundle that another version, or another running deployment, needs", async () => {
    const hold = holdScript("1");
    const lab = await openLab({ script: hold.script });
    const bundle = await lab.add("same");
    const slow = await lab.deployments.begin({ name: NAME, version: "1", bundle });
    await hold.reached;
    lab.runtime.startError = new Error("not now");
    const other = await lab.deployments.begin({ name: "other", version: "1", bundle });
    expect(await lab.deployments.wait(other.id)).toMatchObject({ state: "failed" });
    expect(await lab.bundles.find(bundle)).toBeDefined();
    hold.open();
    expect(await lab.deployments.wait(slow.id)).toMatchObject({ state: "succeeded" });
    const again = await lab.deploy("same", { name: "other", version: "1" });
    expect(again).toMatchObject({ state: "failed" });
    expect(await lab.bundles.find(bundle)).toBeDefined();
  });

  it("brings the replicas of a running version back that it had replaced", async () => {
    const lab = await openLab();
    await lab.deploy("a", { name: NAME, version: "1" });
    await lab.deploy("b", { name: NAME, version: "2" });
    await lab.deployments.scale(NAME, 1, "1");
    lab.runtime.script = (call) =>
      call.replica.startsWith(`${NAME}-1-`) ? { outputs: call.inputs.map(() => "wrong") } : echo(call);
    const ended = await lab.deploy("a", {
      name: NAME,
      version: "1",
      cpus: 2,
      examples: [{ input: "x", output: "x" }],
    });
    expect(ended).toMatchObject({ state: "failed", error: { step: "gate" } });
    expect(lab.registry.version(NAME, "1")).toMatchObject({
      desiredReplicas: 1,
      settings: { limits: { cpus: 1 } },
    });
    await expect.poll(() => lab.serving.find(NAME, "1")?.readyCount).toBe(1);
    expect(lab.serving.find(NAME, "1")?.version.settings.limits.cpus).toBe(1);
    expect(current(lab)).toBe("2");
  });
});

describe("several deployments at once", () => {
  it("of one model conflict; of different models run side by side", async () => {
    const hold = holdScript("1");
    const lab = await openLab({ script: hold.script });
    const bundle = await lab.add("a");
    const first = await lab.deployments.begin({ name: NAME, version: "1", bundle });
    await hold.reached;
    const second = lab.deployments.begin({ name: NAME, version: "2", bundle });
    await expect(second).rejects.toThrow(DeploymentConflictError);
    await expect(second).rejects.toThrow(/version 1 is being deployed/);
    expect(await lab.bundles.find(bundle)).toBeDefined();
    const unwanted = await lab.add("c");
    const third = lab.deployments.begin({ name: NAME, version: "2", bundle: unwanted });
    await expect(third).rejects.toThrow(DeploymentConflictError);
    // Its caller may try again.
    expect(await lab.bundles.find(unwanted)).toBeDefined();
    await expect(lab.deployments.deleteModel(NAME)).rejects.toThrow(DeploymentConflictError);
    expect(await lab.deploy("b", { name: "other", version: "1" })).toMatchObject({ state: "succeeded" });
    hold.open();
    expect(await lab.deployments.wait(first.id)).toMatchObject({ state: "succeeded" });
    expect(await lab.deploy("a", { name: NAME, version: "2" })).toMatchObject({ state: "succeeded" });
  });

  it("begun in the same moment: one of them runs", async () => {
    const lab = await openLab();
    const bundle = await lab.add("a");
    const begun = await Promise.allSettled(
      ["1", "2", "3"].map((version) => lab.deployments.begin({ name: NAME, version, bundle })),
    );
    const accepted = begun.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
    expect(accepted).toHaveLength(1);
    expect(await lab.deployments.wait((accepted[0] as Deployment).id)).toMatchObject({ state: "succeeded" });
  });
});

describe("a request that cannot be met", () => {
  it("is refused with the wrong field, and leaves nothing", async () => {
    const lab = await openLab();
    const bundle = await lab.add("a");
    const begin = (more: object): Promise<unknown> =>
      lab.deployments.begin({ name: NAME, version: "1", bundle, ...more });
    await expect(begin({ replicas: -1 })).rejects.toThrow(InvalidOptionsError);
    await expect(begin({ replicas: -1 })).rejects.toThrow(/replicas/);
    await expect(begin({ latencyObjectiveMs: 0 })).rejects.toThrow(/latencyObjectiveMs/);
    await expect(begin({ name: "Not A Name" })).rejects.toThrow(/name/);
    await expect(begin({ batching: { policy: "fixed", maxBatchSize: 0, maxDelayMs: 1 } })).rejects.toThrow(
      /batching\.maxBatchSize/,
    );
    await expect(begin({ latency: 5 })).rejects.toThrow(/latency/);
    await expect(begin({ application: null, latencyObjectiveMs: 5 })).rejects.toThrow(InvalidOptionsError);
    expect(lab.registry.deployments()).toEqual([]);
  });

  it("for an unknown bundle or version says which", async () => {
    const lab = await openLab();
    const unknown = lab.deployments.begin({ name: NAME, version: "1", bundle: "f".repeat(64) });
    await expect(unknown).rejects.toThrow(BundleNotFoundError);
    await expect(lab.deployments.setVersion(NAME, "1")).rejects.toThrow(ModelNotFoundError);
    await lab.deploy("a", { name: NAME, version: "1" });
    await expect(lab.deployments.setVersion(NAME, "9")).rejects.toThrow(VersionNotFoundError);
    await expect(lab.deployments.scale(NAME, 1, "9")).rejects.toThrow(VersionNotFoundError);
    await expect(lab.deployments.scale(NAME, 1.5)).rejects.toThrow(InvalidOptionsError);
  });

  it("for an example that does not fit the contract names the example", async () => {
    const lab = await openLab();
    const bundle = await lab.add("a", { inputType: "doubles" });
    const refused = lab.deployments.begin({
      name: NAME,
      version: "1",
      bundle,
      examples: [{ input: [1] }, { input: "no" }],
    });
    await expect(refused).rejects.toThrow(InvalidInputError);
    await expect(refused).rejects.toThrow(/examples\[1\]/);
  });

  it("for an application of another input type, or linked to another model, is refused", async () => {
    const lab = await openLab();
    await lab.deploy("a", { name: NAME, version: "1" });
    const doubles = await lab.add("a", { inputType: "doubles" });
    await expect(lab.deployments.begin({ name: NAME, version: "2", bundle: doubles })).rejects.toThrow(
      InvalidRequestError,
    );
    const json = await lab.add("b");
    await expect(
      lab.deployments.begin({ name: "other", version: "1", bundle: json, application: NAME }),
    ).rejects.toThrow(InUseError);
  });
});

describe("setVersion", () => {
  it("rolls back through the gate, with the replica count of now", async () => {
    const lab = await openLab();
    await lab.deploy("a", { name: NAME, version: "1", examples: [{ input: 1, output: 1 }] });
    await lab.deploy("b", { name: NAME, version: "2" });
    await lab.deployments.scale(NAME, 2);
    const begun = await lab.deployments.setVersion(NAME, "1");
    expect(begun.application).toBe(NAME);
    const ended = await lab.deployments.wait(begun.id);
    expect(ended).toMatchObject({ state: "succeeded", result: "deployed", version: "1" });
    expect(current(lab)).toBe("1");
    expect(lab.serving.find(NAME, "1")?.readyCount).toBe(2);
    expect((await lab.events(ended)).some(({ message }) => message.includes("1 example"))).toBe(true);
    const again = await lab.deployments.setVersion(NAME, "1");
    expect(await lab.deployments.wait(again.id)).toMatchObject({ result: "unchanged" });
  });

  it("leaves the current version when the former one no longer passes its examples", async () => {
    const lab = await openLab();
    await lab.deploy("a", { name: NAME, version: "1", examples: [{ input: 1, output: 1 }] });
    await lab.deploy("b", { name: NAME, version: "2" });
    lab.runtime.script = ({ inputs }) => ({ outputs: inputs.map(() => "broken") });
    const begun = await lab.deployments.setVersion(NAME, "1");
    expect(await lab.deployments.wait(begun.id)).toMatchObject({
      state: "failed",
      error: { code: "GATE_FAILED" },
    });
    expect(current(lab)).toBe("2");
    expect(lab.registry.findVersion(NAME, "1")).toBeDefined();
  });
});

describe("scale", () => {
  it("changes the replicas of the current version, down to none and up again", async () => {
    const lab = await openLab();
    await lab.deploy("a", { name: NAME, version: "1" });
    await lab.deployments.scale(NAME, 3);
    expect(lab.serving.find(NAME, "1")?.readyCount).toBe(3);
    await lab.deployments.scale(NAME, 0);
    expect(lab.serving.find(NAME, "1")?.readyCount).toBe(0);
    expect(await answer(lab, "1", "x")).toBe("NO_REPLICA");
    expect(lab.registry.version(NAME, "1").desiredReplicas).toBe(0);
    await lab.deployments.scale(NAME, 1);
    expect(await answer(lab, "1", "x")).toBe("x");
  });

  it("runs a version that is not the current one, without switching to it, and stops it again", async () => {
    const lab = await openLab();
    await lab.deploy("a", { name: NAME, version: "1" });
    await lab.deploy("b", { name: NAME, version: "2" });
    await lab.deployments.scale(NAME, 2, "1");
    expect(lab.serving.find(NAME, "1")?.readyCount).toBe(2);
    expect(current(lab)).toBe("2");
    await lab.deployments.scale(NAME, 0, "1");
    expect(lab.serving.find(NAME, "1")).toBeUndefined();
  });

  it("to no replicas is kept by the next deployment, with a warning", async () => {
    const lab = await openLab();
    await lab.deploy("a", { name: NAME, version: "1" });
    await lab.deployments.scale(NAME, 0);
    const ended = await lab.deploy("b", { name: NAME, version: "2" });
    expect(lab.serving.find(NAME, "2")?.readyCount).toBe(0);
    expect((await lab.events(ended)).filter(({ level }) => level === "warning")).toHaveLength(1);
  });
});

describe("deletion", () => {
  it("of a version stops it and removes its bundle; the current one is in use", async () => {
    const lab = await openLab();
    await lab.deploy("a", { name: NAME, version: "1" });
    await lab.deploy("b", { name: NAME, version: "2" });
    const { bundle } = lab.registry.version(NAME, "1");
    await lab.deployments.scale(NAME, 1, "1");
    await expect(lab.deployments.deleteVersion(NAME, "2")).rejects.toThrow(InUseError);
    await lab.deployments.deleteVersion(NAME, "1");
    expect(lab.serving.find(NAME, "1")).toBeUndefined();
    expect(lab.registry.findVersion(NAME, "1")).toBeUndefined();
    expect(await lab.bundles.find(bundle)).toBeUndefined();
    expect(await answer(lab, "2", "x")).toBe("x");
  });

  it("does not wait for a container that came by itself and hangs, however long it may be silent", async () => {
    const lab = await openLab();
    const described = manifest({
      deployer: "clipper",
      loader: "clipper-rpc",
      container: { kind: "clipper-rpc" },
      inputType: "doubles",
    });
    const { hash: bundle } = await lab.bundles.receive(packManifest(described));
    const request = { name: NAME, version: "1", bundle, application: null, batchTimeoutMs: 600_000 };
    await lab.deployments.wait((await lab.deployments.begin(request)).id);
    const forget = vi.spyOn(lab.serving, "forget");
    await lab.deployments.deleteModel(NAME);
    expect(forget).toHaveBeenCalledExactlyOnceWith(NAME, "1", 30_000);
  });

  it("of a model takes all versions along, once nothing is linked to it", async () => {
    const lab = await openLab();
    await lab.deploy("a", { name: NAME, version: "1" });
    await lab.deploy("b", { name: NAME, version: "2" });
    await expect(lab.deployments.deleteModel(NAME)).rejects.toThrow(InUseError);
    expect(await answer(lab, "2", "x")).toBe("x");
    await lab.registry.unlink(NAME, NAME);
    await lab.deployments.deleteModel(NAME);
    expect(lab.registry.models()).toEqual([]);
    expect(lab.serving.all()).toEqual([]);
    expect(await lab.bundles.hashes()).toEqual([]);
  });
});

describe("close", () => {
  it("fails a running deployment cleanly and begins no other", async () => {
    const hold = holdScript("1");
    const lab = await openLab({ script: hold.script });
    const bundle = await lab.add("a");
    const { id } = await lab.deployments.begin({ name: NAME, version: "1", bundle });
    await hold.reached;
    const closing = lab.deployments.close();
    await expect(lab.deployments.begin({ name: "other", version: "1", bundle })).rejects.toThrow(
      ShuttingDownError,
    );
    await closing;
    expect(await lab.deployments.wait(id)).toMatchObject({
      state: "failed",
      error: { code: "DEPLOYMENT_INTERRUPTED", step: "gate" },
    });
    expect(lab.serving.all()).toEqual([]);
    expect(lab.registry.models()).toEqual([]);
    hold.open();
    await lab.deployments.close();
  });
});

describe("recover", () => {
  it("reopens what should run, and only that, while the server already answers", async () => {
    const store = new MemoryStore();
    const lab = await openLab({ store });
    await lab.deploy("a", { name: NAME, version: "1" });
    await lab.deploy("b", { name: NAME, version: "2", replicas: 2 });
    await lab.deploy("c", { name: "other", version: "1" });
    await lab.serving.closeAll(0);
    await lab.deployments.recover();
    await expect.poll(() => lab.serving.find(NAME, "2")?.readyCount).toBe(2);
    await expect.poll(() => lab.serving.find("other", "1")?.readyCount).toBe(1);
    expect(lab.serving.find(NAME, "1")).toBeUndefined();
  });

  it("ends a deployment that was cut off before its switch as interrupted, and removes its bundle", async () => {
    const lab = await openLab();
    await lab.deploy("a", { name: NAME, version: "1" });
    const bundle = await lab.add("b");
    const cutOff: Deployment = {
      id: "cut-off",
      application: NAME,
      model: NAME,
      version: "2",
      bundle,
      state: "running",
      startedAt: new Date().toISOString(),
    };
    await lab.registry.putDeployment(cutOff);
    await lab.registry.appendEvent("cut-off", {
      sequence: 1,
      at: cutOff.startedAt,
      step: "gate",
      level: "info",
      message: "running 1 example",
    });
    await lab.deployments.recover();
    expect(lab.registry.deployment("cut-off")).toMatchObject({
      state: "failed",
      error: { code: "DEPLOYMENT_INTERRUPTED", step: "gate" },
    });
    expect((await lab.registry.events("cut-off")).map(({ sequence }) => sequence)).toEqual([1, 2]);
    expect(await lab.bundles.find(bundle)).toBeUndefined();
    expect(current(lab)).toBe("1");
  });

  it("goes on when a version cannot be reopened", async () => {
    const lab = await openLab();
    await lab.deploy("a", { name: NAME, version: "1" });
    await lab.deploy("b", { name: "other", version: "1" });
    await lab.serving.closeAll(0);
    const lost = lab.registry.version(NAME, "1");
    await lab.bundles.remove(lost.bundle);
    await lab.deployments.recover();
    await expect.poll(() => lab.serving.find("other", "1")?.readyCount).toBe(1);
    expect(lab.serving.find(NAME, "1")).toBeUndefined();
    expect(lab.deployments.openingOf(lost).lastError).toContain(lost.bundle);
    await expect(lab.deployments.scale(NAME, 1)).rejects.toThrow(BundleNotFoundError);
  });

  it("tries a version that cannot be reopened again until it runs, and knows the last error meanwhile", async () => {
    const lab = await openLab();
    await lab.deploy("a", { name: NAME, version: "1" });
    await lab.serving.closeAll(0);
    const version = lab.registry.version(NAME, "1");
    const prepared = vi.spyOn(lab.runtime, "prepare").mockRejectedValue(new Error("no network"));
    await lab.deployments.recover();
    await expect
      .poll(() => lab.deployments.openingOf(version))
      .toEqual({ isOpening: false, lastError: expect.stringContaining("no network") as string });
    prepared.mockRestore();
    await expect.poll(() => lab.serving.find(NAME, "1")?.readyCount).toBe(1);
    expect(lab.deployments.openingOf(version).lastError).toBeUndefined();
  });

  it("gives up a version that should not run any more", async () => {
    const lab = await openLab();
    await lab.deploy("a", { name: NAME, version: "1" });
    await lab.serving.closeAll(0);
    const version = lab.registry.version(NAME, "1");
    vi.spyOn(lab.runtime, "prepare").mockRejectedValue(new Error("no network"));
    await lab.deployments.recover();
    await expect.poll(() => lab.deployments.openingOf(version).lastError).toContain("no network");
    await lab.deployments.scale(NAME, 0);
    expect(lab.deployments.openingOf(version)).toEqual({ isOpening: false, lastError: undefined });
  });

  it("serves from the replicas of a former server that still run, and stops those that no version wants", async () => {
    const lab = await openLab();
    const { registry, runtime, serving } = lab;
    await lab.deploy("a", { name: NAME, version: "1" });
    await serving.closeAll(0);
    const kept = await startLeftOver(lab, { version: "1", id: `${NAME}-1-r40` });
    const orphan = await startLeftOver(lab, { version: "7", id: `${NAME}-7-r41` });
    const prepared = vi.spyOn(runtime, "prepare").mockRejectedValueOnce(new Error("no network"));
    await lab.deployments.recover();
    await expect(orphan.exited).resolves.toMatchObject({ reason: "stopped" });
    // Also when the version could not be opened at once.
    await expect.poll(() => serving.find(NAME, "1")?.readyCount).toBe(1);
    expect(prepared).toHaveBeenCalledTimes(2);
    expect(serving.replicas().map(({ id }) => id)).toEqual([kept.id]);
    await lab.deployments.scale(NAME, 2);
    expect(serving.replicas().map(({ id }) => id)).toEqual([kept.id, `${NAME}-1-r42`]);
    expect(registry.version(NAME, "1").desiredReplicas).toBe(2);
  });

  it("stops replicas of a former server when the version is not to run any more before it was opened", async () => {
    const lab = await openLab();
    await lab.deploy("a", { name: NAME, version: "1" });
    await lab.serving.closeAll(0);
    const running = await startLeftOver(lab, { version: "1", id: `${NAME}-1-r40` });
    vi.spyOn(lab.runtime, "prepare").mockRejectedValue(new Error("no network"));
    await lab.deployments.recover();
    await lab.deployments.scale(NAME, 0);
    await expect(running.exited).resolves.toMatchObject({ reason: "stopped" });
  });

  it("lets the runtime forget a bundle before it is removed, and keeps one that could not be forgotten", async () => {
    const lab = await openLab();
    const [first, second] = [await lab.add("a"), await lab.add("b")];
    const forget = vi.fn((hash: string): Promise<void> => {
      return hash === first ? Promise.reject(new Error("no engine")) : Promise.resolve();
    });
    Object.assign(lab.runtime, { forget });
    await lab.deployments.recover();
    expect(forget.mock.calls.flat().toSorted()).toEqual([first, second].toSorted());
    expect(await lab.bundles.find(first)).toBeDefined();
    expect(await lab.bundles.find(second)).toBeUndefined();
  });
});
