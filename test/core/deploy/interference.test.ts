// What happens to a deployment while it runs: operators change things, scale, cancel; its time runs out; its server dies.
import { describe, expect, it, vi } from "vitest";
import { DeploymentConflictError, DeploymentNotFoundError } from "../../../core/errors.ts";
import { MemoryStore } from "../../../core/registry/memory-store.ts";
import type { Change } from "../../../core/registry/store.ts";
import type { Deployment } from "../../../core/types.ts";
import { echo, openLab, type Lab } from "../../helpers/deployment-lab.ts";
import { testQuery } from "../../helpers/versions.ts";

const NAME = "echo";

/** Version 1 serves; a deployment of version 2 waits at its gate until `open`. */
async function heldAtGate(more: object = {}): Promise<{ lab: Lab; id: string; open: () => void }> {
  const held = Promise.withResolvers<void>();
  const reached = Promise.withResolvers<void>();
  const lab = await openLab({
    script: async (call) => {
      if (call.replica.startsWith(`${NAME}-2-`)) {
        reached.resolve();
        await held.promise;
      }
      return echo(call);
    },
  });
  await lab.deploy("a", { name: NAME, version: "1", latencyObjectiveMs: 50, defaultOutput: "none" });
  const bundle = await lab.add("b");
  const { id } = await lab.deployments.begin({ name: NAME, version: "2", bundle, ...more });
  await reached.promise;
  return { lab, id, open: held.resolve };
}

function versionsThatRun(lab: Lab): readonly string[] {
  return lab.serving.all().map(({ version }) => version.version);
}

describe("an application that is changed while a deployment runs", () => {
  it("keeps the change, but for what the deployment names", async () => {
    const { lab, id, open } = await heldAtGate({ defaultOutput: "two" });
    await lab.registry.putApplication({ name: NAME, inputType: "json", latencyObjectiveMs: 20 });
    open();
    expect(await lab.deployments.wait(id)).toMatchObject({ state: "succeeded" });
    expect(lab.registry.application(NAME)).toEqual({
      name: NAME,
      inputType: "json",
      latencyObjectiveMs: 20,
      defaultOutput: "two",
    });
  });

  it("stays away when it was deleted: the deployment fails and says so", async () => {
    const { lab, id, open } = await heldAtGate();
    await lab.registry.deleteApplication(NAME);
    open();
    const ended = await lab.deployments.wait(id);
    expect(ended).toMatchObject({ state: "failed", error: { code: "DEPLOYMENT_CONFLICT", step: "switch" } });
    expect(ended.error?.message).toContain(`application "${NAME}" was deleted`);
    expect(lab.registry.applications()).toEqual([]);
    expect(lab.registry.model(NAME).currentVersion).toBe("1");
    expect(versionsThatRun(lab)).toEqual(["1"]);
  });
});

describe("scaling while a deployment runs", () => {
  it("changes the current version at once, and the new one takes over with as many", async () => {
    const { lab, id, open } = await heldAtGate();
    await lab.deployments.scale(NAME, 3);
    expect(lab.serving.find(NAME, "1")?.readyCount).toBe(3);
    open();
    expect(await lab.deployments.wait(id)).toMatchObject({ state: "succeeded" });
    expect(lab.serving.find(NAME, "2")?.readyCount).toBe(3);
    expect(lab.registry.version(NAME, "2")).toMatchObject({
      desiredReplicas: 3,
      settings: { replicas: 3 },
    });
    expect(lab.registry.version(NAME, "1").desiredReplicas).toBe(0);
  });

  it("leaves the count that the deployment names, and the version being deployed to it", async () => {
    const { lab, id, open } = await heldAtGate({ replicas: 1 });
    await lab.deployments.scale(NAME, 2);
    await expect(lab.deployments.scale(NAME, 1, "2")).rejects.toThrow();
    open();
    await lab.deployments.wait(id);
    expect(lab.registry.version(NAME, "2").desiredReplicas).toBe(1);
  });
});

describe("a later scale", () => {
  it("ends an earlier one that still waits, which says to what", async () => {
    const lab = await openLab();
    await lab.deploy("a", { name: NAME, version: "1" });
    const held = Promise.withResolvers<void>();
    const start = lab.runtime.start.bind(lab.runtime);
    vi.spyOn(lab.runtime, "start").mockImplementation(async (spec) => {
      await held.promise;
      return start(spec);
    });
    const earlier = lab.deployments.scale(NAME, 3);
    const refused = expect(earlier).rejects.toThrow(DeploymentConflictError);
    const told = expect(earlier).rejects.toThrow(/was scaled to 2 meanwhile/);
    await expect.poll(() => lab.registry.version(NAME, "1").desiredReplicas).toBe(3);
    const later = lab.deployments.scale(NAME, 2);
    await refused;
    await told;
    held.resolve();
    await later;
    expect(lab.registry.version(NAME, "1").desiredReplicas).toBe(2);
    await expect.poll(() => lab.serving.find(NAME, "1")?.readyCount).toBe(2);
  });

  it("does not meet the stopping of a version that is not the current one", async () => {
    const lab = await openLab();
    await lab.deploy("a", { name: NAME, version: "1" });
    await lab.deploy("b", { name: NAME, version: "2" });
    await lab.deployments.scale(NAME, 1, "1");
    const outcomes = await Promise.allSettled([
      lab.deployments.scale(NAME, 0, "1"),
      lab.deployments.scale(NAME, 2, "1"),
    ]);
    expect(outcomes.map(({ status }) => status)).toEqual(["fulfilled", "rejected"]);
    expect(outcomes[1]).toMatchObject({ reason: { code: "DEPLOYMENT_CONFLICT" } });
    expect(lab.serving.find(NAME, "1")).toBeUndefined();
    expect(lab.registry.version(NAME, "1").desiredReplicas).toBe(0);
  });
});

describe("more replicas for the running version, by a deployment", () => {
  it("come though its queue is full of queries that wait: nothing has to be tried again", async () => {
    const held = Promise.withResolvers<void>();
    let isHeld = false;
    const lab = await openLab({
      script: async (call) => {
        if (isHeld) await held.promise;
        return echo(call);
      },
    });
    const settings = { name: NAME, version: "1", examples: [{ input: 1, output: 1 }] };
    await lab.deploy("a", settings);
    isHeld = true;
    const served = lab.serving.find(NAME, "1");
    const waiting = Array.from({ length: 100 }, () => testQuery("x"));
    for (const { query } of waiting) served?.enqueue(query);
    expect(await lab.deploy("a", { ...settings, replicas: 3 })).toMatchObject({ result: "deployed" });
    expect(served?.readyCount).toBe(3);
    held.resolve();
    await Promise.all(waiting.map(({ settled }) => settled));
  });
});

describe("cancel", () => {
  it("ends a deployment before its switch, and undoes its steps", async () => {
    const { lab, id, open } = await heldAtGate();
    expect(await lab.deployments.cancel(id)).toMatchObject({
      state: "failed",
      error: { code: "DEPLOYMENT_INTERRUPTED", step: "gate", message: "the deployment was cancelled" },
    });
    expect(versionsThatRun(lab)).toEqual(["1"]);
    expect(lab.registry.findVersion(NAME, "2")).toBeUndefined();
    open();
    expect(await lab.deploy("b", { name: NAME, version: "2" })).toMatchObject({ state: "succeeded" });
  });

  it("stops what prepares it", async () => {
    const lab = await openLab();
    const prepare = vi.spyOn(lab.runtime, "prepare").mockReturnValue(new Promise(() => undefined));
    const bundle = await lab.add("a");
    const { id } = await lab.deployments.begin({ name: NAME, version: "1", bundle });
    await expect.poll(() => prepare.mock.calls.length).toBe(1);
    expect(await lab.deployments.cancel(id)).toMatchObject({ state: "failed", error: { step: "prepare" } });
    expect((prepare.mock.lastCall as unknown as [unknown, { signal: AbortSignal }])[1].signal.aborted).toBe(
      true,
    );
  });

  it("leaves a deployment that has switched or ended as it is, and does not know others", async () => {
    const lab = await openLab();
    const cancelled: Promise<Deployment>[] = [];
    lab.deployments.onEvent(({ id }, { message }) => {
      if (message.includes("serves model")) cancelled.push(lab.deployments.cancel(id));
    });
    const ended = await lab.deploy("a", { name: NAME, version: "1" });
    expect(ended.state).toBe("succeeded");
    expect(await Promise.all(cancelled)).toMatchObject([{ state: "succeeded", result: "deployed" }]);
    expect(await lab.deployments.cancel(ended.id)).toEqual(ended);
    await expect(lab.deployments.cancel("none")).rejects.toThrow(DeploymentNotFoundError);
  });
});

describe("prepareTimeoutMs", () => {
  it("ends a preparation that takes too long, and what runs of it", async () => {
    const lab = await openLab();
    const prepare = vi.spyOn(lab.runtime, "prepare").mockReturnValue(new Promise(() => undefined));
    const ended = await lab.deploy("a", { name: NAME, version: "1", prepareTimeoutMs: 20 });
    expect(ended).toMatchObject({
      state: "failed",
      error: {
        code: "PACKAGE_INSTALL_FAILED",
        step: "prepare",
        details: { model: NAME, version: "1", prepareTimeoutMs: 20 },
      },
    });
    expect(ended.error?.message).toContain("longer than 20 ms");
    expect(ended.error?.message).toContain("install its packages beforehand");
    const [, { signal }] = prepare.mock.lastCall as unknown as [unknown, { signal: AbortSignal }];
    expect(signal.aborted).toBe(true);
    prepare.mockRestore();
    expect(await lab.deploy("a", { name: NAME, version: "1" })).toMatchObject({ state: "succeeded" });
  });
});

/** Keeps what is committed. */
class WatchedStore extends MemoryStore {
  readonly commits: (readonly Change[])[] = [];

  override async commit(changes: readonly Change[]): Promise<void> {
    this.commits.push(changes);
    return super.commit(changes);
  }
}

describe("the switch", () => {
  it("ends the record in its own commit, whatever kind of deployment it is", async () => {
    const store = new WatchedStore();
    const lab = await openLab({ store });
    const ended = [
      await lab.deploy("a", { name: NAME, version: "1" }),
      await lab.deploy("b", { name: NAME, version: "2" }),
      await lab.deploy("b", { name: NAME, version: "2", latencyObjectiveMs: 20 }),
      await lab.deployments.wait((await lab.deployments.setVersion(NAME, "1")).id),
    ];
    const switches = store.commits.filter((changes) =>
      changes.some((change) => "put" in change && change.put === "models"),
    );
    expect(
      switches.map((changes) =>
        changes.flatMap((change) => ("put" in change && change.put === "deployments" ? [change.record] : [])),
      ),
    ).toMatchObject(ended.map(({ id }) => [{ id, state: "succeeded", result: "deployed" }]));
  });
});

describe("bundles that nothing refers to", () => {
  it("are kept while they are young, and go after that; the ones in use stay", async () => {
    const lab = await openLab({ keepUnusedBundlesMs: 3_600_000 });
    await lab.deploy("a", { name: NAME, version: "1" });
    await lab.deploy("b", { name: NAME, version: "2" });
    const { bundle } = lab.registry.version(NAME, "1");
    await lab.add("c");
    await lab.deployments.deleteVersion(NAME, "1");
    expect(await lab.bundles.hashes()).toHaveLength(3);
    expect(await lab.deploy("a", { name: "other", version: "1" })).toMatchObject({
      state: "succeeded",
      bundle,
    });
    await lab.deployments.recover();
    expect((await lab.bundles.hashes()).toSorted()).toEqual(
      [bundle, lab.registry.version(NAME, "2").bundle].toSorted(),
    );
  });
});
