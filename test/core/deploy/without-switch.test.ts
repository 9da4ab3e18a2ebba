// Deployments without a switch: the version is ready beside the one that serves.
import { describe, expect, it } from "vitest";
import { InvalidOptionsError, InvalidRequestError } from "../../../core/errors.ts";
import { openLab, type Lab } from "../../helpers/deployment-lab.ts";
import { resultOf, testQuery } from "../../helpers/versions.ts";

const NAME = "echo";
const aside = { name: NAME, version: "2", switch: false } as const;

/** With version 1 serving, in two replicas. */
async function openServing(): Promise<Lab> {
  const lab = await openLab();
  await lab.deploy("a", { name: NAME, version: "1", replicas: 2, latencyObjectiveMs: 50 });
  return lab;
}

function states(lab: Lab): readonly (readonly [version: string, desired: number, ready: number])[] {
  return lab.registry
    .versions(NAME)
    .map(
      ({ version, desiredReplicas }) =>
        [version, desiredReplicas, lab.serving.find(NAME, version)?.readyCount ?? 0] as const,
    )
    .toReversed();
}

describe("a deployment without a switch", () => {
  it("ends with the version ready, as many replicas as the one that serves has, and nothing else changed", async () => {
    const lab = await openServing();
    const { models, applications, links } = {
      models: lab.registry.models(),
      applications: lab.registry.applications(),
      links: lab.registry.links(),
    };
    const ended = await lab.deploy("b", { ...aside, examples: [{ input: "x", output: "x" }] });
    expect(ended).toMatchObject({ state: "succeeded", result: "ready", application: NAME, version: "2" });
    expect(lab.registry.deployment(ended.id)).toEqual(ended);
    expect(lab.registry.models()).toEqual(models);
    expect(lab.registry.applications()).toEqual(applications);
    expect(lab.registry.links()).toEqual(links);
    expect(states(lab)).toEqual([
      ["1", 2, 2],
      ["2", 2, 2],
    ]);
    const { query, settled } = testQuery("hello");
    lab.serving.find(NAME, "2")?.enqueue(query);
    expect(resultOf(await settled)).toBe("hello");
    const events = await lab.events(ended);
    expect(events.map(({ step }) => step)).toContain("gate");
    expect(events.map(({ step }) => step)).not.toContain("switch");
    expect(events.at(-1)?.message).toBe("version 2 of model echo is ready; version 1 goes on serving");
  });

  it("is of the application that it names, where the model answers several", async () => {
    const lab = await openServing();
    await lab.registry.putApplication({ name: "zebra", inputType: "json" });
    await lab.registry.link("zebra", NAME);
    expect(await lab.deploy("b", { ...aside, application: "zebra" })).toMatchObject({
      result: "ready",
      application: "zebra",
    });
  });

  it("is switched to later: the running replicas are taken, the gate runs again, the former version stops", async () => {
    const lab = await openServing();
    await lab.deploy("b", { ...aside, replicas: 1 });
    expect(states(lab)).toEqual([
      ["1", 2, 2],
      ["2", 1, 1],
    ]);
    const replica = lab.serving.find(NAME, "2")?.replicas()[0]?.id;
    const { id } = await lab.deployments.setVersion(NAME, "2");
    expect(await lab.deployments.wait(id)).toMatchObject({ state: "succeeded", result: "deployed" });
    expect(lab.registry.model(NAME).currentVersion).toBe("2");
    expect(states(lab)).toEqual([
      ["1", 0, 0],
      ["2", 2, 2],
    ]);
    expect(
      lab.serving
        .find(NAME, "2")
        ?.replicas()
        .map((each) => each.id),
    ).toContain(replica);
  });

  it("of the same again changes nothing; other content under the same name is refused", async () => {
    const lab = await openServing();
    await lab.deploy("b", aside);
    expect(await lab.deploy("b", aside)).toMatchObject({ state: "succeeded", result: "unchanged" });
    expect(await lab.deploy("b", { ...aside, replicas: 1 })).toMatchObject({ result: "ready" });
    expect(states(lab)).toEqual([
      ["1", 2, 2],
      ["2", 1, 1],
    ]);
    await expect(lab.deploy("c", aside)).rejects.toThrow("exists with other content");
  });

  it("of a version that serves already is as any other", async () => {
    const lab = await openServing();
    const again = { name: NAME, version: "1", switch: false } as const;
    expect(await lab.deploy("a", again)).toMatchObject({ result: "unchanged" });
    expect(await lab.deploy("a", { ...again, replicas: 1 })).toMatchObject({ result: "deployed" });
    expect(states(lab)).toEqual([["1", 1, 1]]);
  });

  it("of no replica is tried and stopped, and starts when it is switched to", async () => {
    const lab = await openServing();
    expect(await lab.deploy("b", { ...aside, replicas: 0 })).toMatchObject({ result: "ready" });
    expect(states(lab)).toEqual([
      ["1", 2, 2],
      ["2", 0, 0],
    ]);
    await lab.deployments.wait((await lab.deployments.setVersion(NAME, "2")).id);
    expect(states(lab)).toEqual([
      ["1", 0, 0],
      ["2", 2, 2],
    ]);
  });

  it("that the gate refuses leaves nothing of the version", async () => {
    const lab = await openServing();
    const ended = await lab.deploy("b", { ...aside, examples: [{ input: 1, output: 2 }] });
    expect(ended).toMatchObject({ state: "failed", error: { code: "GATE_FAILED", step: "gate" } });
    expect(states(lab)).toEqual([["1", 2, 2]]);
    expect(await lab.runtime.list()).toHaveLength(2);
  });

  it("that is cancelled at its gate leaves nothing of the version", async () => {
    const reached = Promise.withResolvers<void>();
    const lab = await openLab({
      script: ({ inputs, replica }) => {
        if (!replica.startsWith(`${NAME}-2-`)) return { outputs: inputs };
        reached.resolve();
        return new Promise(() => {});
      },
    });
    await lab.deploy("a", { name: NAME, version: "1" });
    const bundle = await lab.add("b");
    const { id } = await lab.deployments.begin({ ...aside, bundle, examples: [{ input: 1 }] });
    await reached.promise;
    expect(await lab.deployments.cancel(id)).toMatchObject({
      state: "failed",
      error: { code: "DEPLOYMENT_INTERRUPTED", step: "gate" },
    });
    expect(states(lab)).toEqual([["1", 1, 1]]);
    expect(await lab.runtime.list()).toHaveLength(1);
  });

  it("leaves it running while another version is switched to", async () => {
    const lab = await openServing();
    await lab.deploy("b", aside);
    expect(await lab.deploy("c", { name: NAME, version: "3" })).toMatchObject({ result: "deployed" });
    expect(states(lab)).toEqual([
      ["1", 0, 0],
      ["2", 2, 2],
      ["3", 2, 2],
    ]);
    await lab.deployments.deleteVersion(NAME, "2");
    expect(states(lab).map(([version]) => version)).toEqual(["1", "3"]);
  });
});

describe("a deployment without a switch is refused", () => {
  it("for the first version of a model, with nothing recorded", async () => {
    const lab = await openLab();
    const refused = lab.deploy("a", { ...aside, version: "1" });
    await expect(refused).rejects.toThrow(InvalidOptionsError);
    await expect(refused).rejects.toThrow(
      "switch: model echo has no version that serves, so its first one, 1, cannot stand beside it; leave switch: false out (with application: null it serves no application)",
    );
    expect(lab.registry.models()).toEqual([]);
    expect(lab.registry.deployments()).toEqual([]);
  });

  it.each([
    ["another objective", { latencyObjectiveMs: 60 }, /^latencyObjectiveMs: /],
    ["an application that there is not", { application: "other" }, /^application: .*application other/],
    ["a default output that is not there", { defaultOutput: null }, /^defaultOutput: /],
  ])("where it wants %s; what is as asked may be said", async (...[, wish, message]) => {
    const lab = await openServing();
    await expect(lab.deploy("b", { ...aside, ...wish })).rejects.toThrow(message);
    expect(lab.registry.versions(NAME)).toHaveLength(1);
    expect(await lab.deploy("b", { ...aside, latencyObjectiveMs: 50, application: NAME })).toMatchObject({
      result: "ready",
    });
  });

  it("when it could never be switched to: its input type is not its application's", async () => {
    const lab = await openServing();
    const bundle = await lab.add("b", { inputType: "doubles" });
    await expect(lab.deployments.begin({ ...aside, bundle })).rejects.toThrow(InvalidRequestError);
  });
});
