// The registry: its rules, that a commit is all or nothing in memory too, and what listeners see.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, describe, expect, onTestFinished, test } from "vitest";
import {
  ApplicationNotFoundError,
  DeploymentConflictError,
  DeploymentNotFoundError,
  DiskFullError,
  InUseError,
  InvalidRequestError,
  ModelNotFoundError,
  ShuttingDownError,
  VersionExistsError,
  VersionNotFoundError,
} from "../../../core/errors.ts";
import { MemoryStore } from "../../../core/registry/memory-store.ts";
import { Registry } from "../../../core/registry/registry.ts";
import { MAX_DEPLOYMENTS } from "../../../core/registry/rules.ts";
import { SqliteStore } from "../../../core/registry/sqlite-store.ts";
import type { Change } from "../../../core/registry/store.ts";
import { aDeployment, anApplication, anEvent, aVersion } from "./records.ts";

/** A memory store whose commits can be held back or refused, and are recorded. */
class ProbedStore extends MemoryStore {
  readonly commits: (readonly Change[])[] = [];
  refusal: Error | undefined;
  gate: Promise<void> = Promise.resolve();

  override async commit(changes: readonly Change[]): Promise<void> {
    await this.gate;
    if (this.refusal !== undefined) throw this.refusal;
    this.commits.push(changes);
    await super.commit(changes);
  }
}

let store: ProbedStore;
let registry: Registry;

beforeEach(async () => {
  store = new ProbedStore();
  registry = await Registry.open(store);
});

/** Publishes version 1 of "digits" with an application of the same name. */
async function publishDigits(): Promise<void> {
  await registry.publish({
    version: aVersion("digits", "1"),
    application: anApplication("digits"),
    retire: true,
  });
}

describe("publishing", () => {
  test("stores version, model, application and link in one commit", async () => {
    await publishDigits();
    expect(store.commits).toHaveLength(1);
    expect(registry.model("digits").currentVersion).toBe("1");
    expect(registry.version("digits", "1")).toEqual(aVersion("digits", "1"));
    expect(registry.application("digits")).toEqual(anApplication("digits"));
    expect(registry.linkOf("digits")).toEqual({ application: "digits", model: "digits", weight: 1 });
  });

  test("without an application touches none", async () => {
    await registry.publish({ version: aVersion("digits", "1"), retire: true });
    expect(registry.applications()).toEqual([]);
    expect(registry.links()).toEqual([]);
  });

  test("retires the former version only when asked", async () => {
    await publishDigits();
    await registry.publish({ version: aVersion("digits", "2"), retire: false });
    expect(registry.version("digits", "1").desiredReplicas).toBe(1);
    await registry.publish({ version: aVersion("digits", "3"), retire: true });
    expect(registry.version("digits", "2").desiredReplicas).toBe(0);
    expect(registry.version("digits", "1").desiredReplicas).toBe(1);
    expect(registry.model("digits").currentVersion).toBe("3");
    expect(registry.versions("digits").map((version) => version.version)).toEqual(["3", "2", "1"]);
  });

  test("of the same content takes the new settings and keeps the time of creation", async () => {
    await publishDigits();
    const again = aVersion("digits", "1", { desiredReplicas: 4, createdAt: "2030-01-01T00:00:00.000Z" });
    await registry.publish({ version: again, retire: true });
    expect(registry.version("digits", "1")).toMatchObject({
      desiredReplicas: 4,
      createdAt: "2026-01-01T00:00:00.000Z",
    });
  });

  test("of other content under a version that exists is refused", async () => {
    await publishDigits();
    const other = aVersion("digits", "1", { bundle: "f".repeat(64) });
    const publishing = registry.publish({ version: other, retire: true });
    await expect(publishing).rejects.toThrow(VersionExistsError);
    await expect(publishing).rejects.toThrow(/version "1" of model "digits" exists with other content/u);
    expect(store.commits).toHaveLength(1);
  });

  test("of an older version makes it the current one again", async () => {
    await publishDigits();
    await registry.publish({ version: aVersion("digits", "2"), retire: true });
    await registry.publish({ version: aVersion("digits", "1"), retire: true });
    expect(registry.model("digits").currentVersion).toBe("1");
    expect(registry.version("digits", "2").desiredReplicas).toBe(0);
    expect(registry.version("digits", "1").desiredReplicas).toBe(1);
  });

  test("refuses an application of another input type, naming both", async () => {
    const publishing = registry.publish({
      version: aVersion("digits", "1", { inputType: "json" }),
      application: anApplication("digits", { inputType: "doubles" }),
      retire: true,
    });
    await expect(publishing).rejects.toThrow(InvalidRequestError);
    await expect(publishing).rejects.toThrow(
      /application "digits" takes doubles, but version "1" of model "digits" takes json/u,
    );
    expect(registry.models()).toEqual([]);
  });

  test("refuses a version whose input type another linked application does not have", async () => {
    await publishDigits();
    await registry.putApplication(anApplication("other"));
    await registry.link("other", "digits");
    const publishing = registry.publish({
      version: aVersion("digits", "2", { inputType: "json" }),
      application: anApplication("digits", { inputType: "json" }),
      retire: true,
    });
    await expect(publishing).rejects.toThrow(/takes doubles/u);
    expect(registry.application("digits").inputType).toBe("doubles");
  });

  test("never changes the input type of an application that is there", async () => {
    await publishDigits();
    await registry.unlink("digits", "digits");
    const publishing = registry.publish({
      version: aVersion("digits", "2", { inputType: "json" }),
      application: anApplication("digits", { inputType: "json" }),
      retire: true,
    });
    await expect(publishing).rejects.toThrow(InvalidRequestError);
    expect(registry.application("digits").inputType).toBe("doubles");
  });

  test("merges the named fields into the application as it is at that moment", async () => {
    await publishDigits();
    await registry.putApplication(anApplication("digits", { latencyObjectiveMs: 20, defaultOutput: "none" }));
    await registry.publish({
      version: aVersion("digits", "2"),
      application: anApplication("digits", { defaultOutput: 0 }),
      retire: true,
    });
    expect(registry.application("digits")).toEqual(
      anApplication("digits", { latencyObjectiveMs: 20, defaultOutput: 0 }),
    );
  });

  test("does not bring back an application that was known and has been deleted", async () => {
    await publishDigits();
    const publication = {
      version: aVersion("digits", "2"),
      application: anApplication("digits"),
      isKnownApplication: true,
      retire: true,
    };
    registry.checkPublish(publication);
    await registry.deleteApplication("digits");
    await expect(registry.publish(publication)).rejects.toThrow(DeploymentConflictError);
    expect(registry.applications()).toEqual([]);
    expect(registry.model("digits").currentVersion).toBe("1");
  });

  test("keeps the replica count of that moment where asked, and ends the deployment in the same commit", async () => {
    await publishDigits();
    await registry.setDesiredReplicas("digits", "1", 5);
    const commits = store.commits.length;
    const deployment = aDeployment("d", { state: "succeeded" });
    const version = aVersion("digits", "2");
    await registry.publish({ version, keepsReplicas: true, retire: true, deployment });
    expect(store.commits).toHaveLength(commits + 1);
    expect(registry.version("digits", "2")).toMatchObject({ desiredReplicas: 5, settings: { replicas: 5 } });
    expect(registry.version("digits", "1").desiredReplicas).toBe(0);
    expect(registry.deployment("d")).toEqual(deployment);
  });

  test("can be checked beforehand, which changes nothing", async () => {
    await publishDigits();
    const commits = store.commits.length;
    registry.checkPublish({ version: aVersion("digits", "2"), retire: true });
    const other = { version: aVersion("digits", "1", { bundle: "f".repeat(64) }), retire: true };
    expect(() => registry.checkPublish(other)).toThrow(VersionExistsError);
    expect(store.commits).toHaveLength(commits);
    expect(registry.model("digits").currentVersion).toBe("1");
  });

  test("refuses an application that is linked to another model", async () => {
    await publishDigits();
    const publishing = registry.publish({
      version: aVersion("letters", "1"),
      application: anApplication("digits"),
      retire: true,
    });
    await expect(publishing).rejects.toThrow(InUseError);
    await expect(publishing).rejects.toThrow(/linked to model "digits"; unlink it first/u);
    expect(registry.findModel("letters")).toBeUndefined();
  });
});

describe("names", () => {
  const bad = [
    "",
    "Digits",
    "-digits",
    "digits-",
    "di gits",
    "../digits",
    "digits/1",
    "דיגיט",
    "a".repeat(101),
    "a\nb",
  ];

  test.each(bad)("refuses the application and model name %j", async (name) => {
    const wishes = [
      registry.putApplication(anApplication(name)),
      registry.publish({ version: aVersion(name, "1"), retire: true }),
      registry.publish({ version: aVersion("digits", "1"), application: anApplication(name), retire: true }),
    ];
    for (const wish of wishes) {
      await expect(wish).rejects.toThrow(InvalidRequestError);
      await expect(wish).rejects.toThrow(/name .* is not allowed; use a-z/u);
    }
    expect(store.commits).toEqual([]);
  });

  test.each(["", "-1", ".1", "1/2", "1 2", "v".repeat(65), "גרסה"])(
    "refuses the version %j",
    async (version) => {
      const publishing = registry.publish({ version: aVersion("digits", version), retire: true });
      await expect(publishing).rejects.toThrow(/version .* is not allowed; begin with a letter or digit/u);
      await expect(publishing).rejects.toThrow(InvalidRequestError);
    },
  );

  test("cuts a huge name in its message", async () => {
    const error: unknown = await registry
      .putApplication(anApplication("x".repeat(1_000_000)))
      .catch((refusal: unknown) => refusal);
    expect(String(error).length).toBeLessThan(300);
  });

  test("are of any length and letters that the patterns allow", async () => {
    const longest = `a${"-_9".repeat(33)}`;
    await registry.publish({ version: aVersion(longest, `V${".-_".repeat(21)}`), retire: true });
    expect(registry.model(longest).currentVersion).toHaveLength(64);
  });
});

describe("links", () => {
  test("link an application to a model, again without a commit", async () => {
    await registry.publish({ version: aVersion("digits", "1"), retire: true });
    await registry.putApplication(anApplication("app"));
    await registry.link("app", "digits");
    const commits = store.commits.length;
    await registry.link("app", "digits");
    expect(store.commits).toHaveLength(commits);
    expect(registry.links()).toEqual([{ application: "app", model: "digits", weight: 1 }]);
  });

  test("to a second model take the place of the first, in one commit", async () => {
    await publishDigits();
    await registry.publish({ version: aVersion("letters", "1"), retire: true });
    const commits = store.commits.length;
    await registry.link("digits", "letters");
    expect(store.commits).toHaveLength(commits + 1);
    expect(registry.links()).toEqual([{ application: "digits", model: "letters", weight: 1 }]);
    expect(registry.linkOf("digits")?.model).toBe("letters");
  });

  test("need equal input types", async () => {
    await registry.publish({ version: aVersion("digits", "1"), retire: true });
    await registry.putApplication(anApplication("app", { inputType: "strings" }));
    await expect(registry.link("app", "digits")).rejects.toThrow(
      /application "app" takes strings, but version "1" of model "digits" takes doubles/u,
    );
  });

  test("keep an application from taking another input type", async () => {
    await publishDigits();
    await expect(registry.putApplication(anApplication("digits", { inputType: "json" }))).rejects.toThrow(
      InvalidRequestError,
    );
    await registry.putApplication(anApplication("digits", { latencyObjectiveMs: 20 }));
    expect(registry.application("digits").latencyObjectiveMs).toBe(20);
    await registry.unlink("digits", "digits");
    await registry.putApplication(anApplication("digits", { inputType: "json" }));
  });

  test("that are not there cannot be taken away", async () => {
    await publishDigits();
    await registry.publish({ version: aVersion("letters", "1"), retire: true });
    await expect(registry.unlink("digits", "letters")).rejects.toThrow(
      /not linked to model "letters", but to model "digits"/u,
    );
    await expect(registry.unlink("none", "letters")).rejects.toThrow(ApplicationNotFoundError);
    await expect(registry.unlink("digits", "none")).rejects.toThrow(ModelNotFoundError);
    await expect(registry.link("none", "digits")).rejects.toThrow(ApplicationNotFoundError);
    await expect(registry.link("digits", "none")).rejects.toThrow(ModelNotFoundError);
  });

  test("go with their application", async () => {
    await publishDigits();
    await registry.deleteApplication("digits");
    expect(registry.links()).toEqual([]);
    expect(registry.linkOf("digits")).toBeUndefined();
    expect(registry.findModel("digits")).toBeDefined();
  });
});

describe("deleting", () => {
  test("the current version is refused, another one goes", async () => {
    await publishDigits();
    await registry.publish({ version: aVersion("digits", "2"), retire: true });
    await expect(registry.deleteVersion("digits", "2")).rejects.toThrow(InUseError);
    await registry.deleteVersion("digits", "1");
    expect(registry.findVersion("digits", "1")).toBeUndefined();
    await expect(registry.deleteVersion("digits", "1")).rejects.toThrow(VersionNotFoundError);
  });

  test("a model is refused while applications are linked, naming them; then it goes with its versions", async () => {
    await publishDigits();
    await registry.publish({ version: aVersion("digits", "2"), retire: true });
    await registry.publish({ version: aVersion("digits-2", "1"), retire: true });
    await registry.putApplication(anApplication("other"));
    await registry.link("other", "digits");
    const deleting = registry.deleteModel("digits");
    await expect(deleting).rejects.toThrow(InUseError);
    await expect(deleting).rejects.toThrow(/linked to application "digits", "other"; unlink/u);

    await registry.unlink("digits", "digits");
    await registry.deleteApplication("other");
    await registry.deleteModel("digits");

    expect(registry.versions()).toEqual([aVersion("digits-2", "1")]);
    expect(registry.models().map((model) => model.name)).toEqual(["digits-2"]);
    expect(registry.findApplication("digits")).toBeDefined();
  });

  test("what is not there is refused", async () => {
    await expect(registry.deleteApplication("none")).rejects.toThrow(ApplicationNotFoundError);
    await expect(registry.deleteModel("none")).rejects.toThrow(ModelNotFoundError);
    await expect(registry.deleteVersion("none", "1")).rejects.toThrow(ModelNotFoundError);
  });
});

describe("what is not found", () => {
  test("says that there are none yet", () => {
    expect(() => registry.application("x")).toThrow(/no application named "x"; there are none yet/u);
    expect(() => registry.model("x")).toThrow(/deploy one first/u);
  });

  test("names what there is, and what was probably meant", async () => {
    await publishDigits();
    await registry.putApplication(anApplication("spam"));
    expect(() => registry.application("digit")).toThrow(/did you mean "digits"\? there are: digits, spam/u);
    expect(() => registry.application("weather")).toThrow(
      'no application named "weather"; there are: digits, spam',
    );
    expect(() => registry.version("digits", "3")).toThrow(
      /model "digits" has no version "3"; there are: 1$/u,
    );
    expect(() => registry.version("digist", "3")).toThrow(ModelNotFoundError);
  });

  test("does not list many", async () => {
    for (let i = 0; i < 11; i++) await registry.putApplication(anApplication(`application-${i}`));
    expect(() => registry.application("x")).toThrow(/there are 11, list them/u);
    expect(() => registry.application("aplication-7")).toThrow(/did you mean "application-7"\?$/u);
  });

  test("has a class for each kind, and is undefined for the find calls", () => {
    expect(() => registry.application("x")).toThrow(ApplicationNotFoundError);
    expect(() => registry.model("x")).toThrow(ModelNotFoundError);
    expect(() => registry.version("x", "1")).toThrow(ModelNotFoundError);
    expect(() => registry.deployment("x")).toThrow(DeploymentNotFoundError);
    expect(registry.findApplication("constructor")).toBeUndefined();
    expect(registry.findModel("__proto__")).toBeUndefined();
    expect(registry.findVersion("x", "1")).toBeUndefined();
    expect(registry.versions("x")).toEqual([]);
  });
});

describe("replicas", () => {
  test("are set for one version, and only when they change", async () => {
    await publishDigits();
    await registry.setDesiredReplicas("digits", "1", 3);
    await registry.setDesiredReplicas("digits", "1", 3);
    expect(store.commits).toHaveLength(2);
    expect(registry.version("digits", "1").desiredReplicas).toBe(3);
    expect(registry.version("digits", "1").settings.replicas).toBe(1);
  });

  test.each([-1, 1.5, Number.NaN, Infinity])("refuses %d of them", async (replicas) => {
    await publishDigits();
    await expect(registry.setDesiredReplicas("digits", "1", replicas)).rejects.toThrow(InvalidRequestError);
    const version = aVersion("digits", "2", { desiredReplicas: replicas });
    await expect(registry.publish({ version, retire: true })).rejects.toThrow(InvalidRequestError);
  });
});

describe("writes", () => {
  test("end when whoever listens has done what it does with them", async () => {
    const heard = Promise.withResolvers<void>();
    registry.onChange(() => heard.promise);
    let isEnded = false;
    const write = publishDigits().then(() => (isEnded = true));
    await expect.poll(() => registry.findModel("digits")?.currentVersion).toBe("1");
    expect(isEnded).toBe(false);
    heard.resolve();
    await write;
  });

  test("that fail to commit change nothing in memory and tell nobody", async () => {
    await publishDigits();
    let calls = 0;
    registry.onChange(() => calls++);
    store.refusal = new DiskFullError("no space");
    const second = { version: aVersion("digits", "2"), retire: true };
    await expect(registry.publish(second)).rejects.toThrow(DiskFullError);
    expect(registry.model("digits").currentVersion).toBe("1");
    expect(registry.findVersion("digits", "2")).toBeUndefined();
    expect(calls).toBe(0);

    store.refusal = undefined;
    await registry.publish(second);
    expect(registry.model("digits").currentVersion).toBe("2");
    expect(calls).toBe(1);
  });

  test("are seen by reads only when they are durable", async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    store.gate = promise;
    const publishing = publishDigits();
    expect(registry.findModel("digits")).toBeUndefined();
    resolve();
    await publishing;
    expect(registry.findModel("digits")).toBeDefined();
  });

  test("never fall between another's check and its commit", async () => {
    const outcomes = await Promise.allSettled(
      Array.from({ length: 20 }, (_, index) =>
        registry.publish({
          version: aVersion("digits", "1", { bundle: String(index).padEnd(64, "0") }),
          retire: true,
        }),
      ),
    );
    expect(outcomes.filter((outcome) => outcome.status === "fulfilled")).toHaveLength(1);
    expect(store.commits).toHaveLength(1);
    expect(registry.version("digits", "1").bundle).toBe("0".repeat(64));
  });

  test("link an application to one model, however many ask at the same time: the last one counts", async () => {
    await registry.putApplication(anApplication("app"));
    const models = ["a", "b", "c", "d"];
    for (const model of models) await registry.publish({ version: aVersion(model, "1"), retire: true });
    const outcomes = await Promise.allSettled(models.map((model) => registry.link("app", model)));
    expect(new Set(outcomes.map((outcome) => outcome.status))).toEqual(new Set(["fulfilled"]));
    expect(registry.links().map(({ model }) => model)).toEqual(["d"]);
  });

  test("hold what a restart would read, not the caller's object", async () => {
    const output = ["a"];
    await registry.putApplication(anApplication("app", { defaultOutput: output, cache: undefined } as never));
    output[0] = "b";
    expect(registry.application("app").defaultOutput).toEqual(["a"]);
    expect(Object.keys(registry.application("app"))).not.toContain("cache");
  });

  test("refuse what cannot be JSON", async () => {
    const circular: unknown[] = [];
    circular.push(circular);
    const application = anApplication("app", { defaultOutput: circular as never });
    await expect(registry.putApplication(application)).rejects.toThrow(InvalidRequestError);
  });

  test("after close are refused; those begun before are kept", async () => {
    const publishing = publishDigits();
    const closing = registry.close();
    await expect(registry.putApplication(anApplication("late"))).rejects.toThrow(ShuttingDownError);
    await Promise.all([publishing, closing, registry.close()]);
    const reopened = await Registry.open(store);
    expect(reopened.model("digits").currentVersion).toBe("1");
    expect(reopened.findApplication("late")).toBeUndefined();
  });
});

describe("listeners", () => {
  test("are called once a commit, after it, and not for deployments", async () => {
    const seen: (string | undefined)[] = [];
    const stop = registry.onChange(() => seen.push(registry.findModel("digits")?.currentVersion));
    await publishDigits();
    await registry.putDeployment(aDeployment("d1"));
    await registry.appendEvent("d1", anEvent(1));
    await registry.publish({ version: aVersion("digits", "2"), retire: true });
    stop();
    await registry.setDesiredReplicas("digits", "2", 5);
    expect(seen).toEqual(["1", "2"]);
  });
});

function at(second: number): string {
  return new Date(Date.UTC(2026, 0, 1, 0, 0, second)).toISOString();
}

describe("deployments", () => {
  test("are listed newest first, with their events in order", async () => {
    await registry.putDeployment(aDeployment("d1", { startedAt: "2026-01-01T00:00:01.000Z" }));
    await registry.putDeployment(aDeployment("d2", { startedAt: "2026-01-01T00:00:02.000Z" }));
    await registry.putDeployment(aDeployment("d3", { startedAt: "2026-01-01T00:00:02.000Z" }));
    const appending = [1, 2, 3].map((sequence) => registry.appendEvent("d1", anEvent(sequence)));
    expect((await registry.events("d1")).map((event) => event.sequence)).toEqual([1, 2, 3]);
    await Promise.all(appending);
    expect(registry.deployments().map(({ id }) => id)).toEqual(["d3", "d2", "d1"]);
    await expect(registry.events("none")).rejects.toThrow(DeploymentNotFoundError);
    await expect(registry.appendEvent("none", anEvent(1))).rejects.toThrow(DeploymentNotFoundError);
  });

  test("beyond the last 200 are dropped with their events, running ones never", async () => {
    await registry.putDeployment(aDeployment("running", { state: "running", startedAt: at(0) }));
    for (let index = 1; index <= MAX_DEPLOYMENTS + 5; index++) {
      await registry.putDeployment(aDeployment(`d${index}`, { startedAt: at(index) }));
      await registry.appendEvent(`d${index}`, anEvent(1));
    }
    const kept = registry.deployments().map(({ id }) => id);
    expect(kept).toHaveLength(MAX_DEPLOYMENTS);
    expect(kept.at(-1)).toBe("running");
    expect(kept.at(-2)).toBe("d7");
    expect(await store.events("d6")).toEqual([]);
    expect(await registry.events("d7")).toHaveLength(1);

    await registry.putDeployment(aDeployment("d7", { state: "failed", startedAt: at(7) }));
    expect(registry.deployments()).toHaveLength(MAX_DEPLOYMENTS);
  });
});

test("all of it is there after a restart", async () => {
  const folder = await mkdtemp(join(tmpdir(), "windjammer-registry-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  {
    await using durable = await Registry.open(new SqliteStore(folder));
    await durable.publish({
      version: aVersion("digits", "1"),
      application: anApplication("digits"),
      retire: true,
    });
    await durable.publish({ version: aVersion("digits", "2"), retire: true });
    await durable.putDeployment(aDeployment("d1", { state: "running" }));
    await durable.appendEvent("d1", anEvent(1));
  }
  await using durable = await Registry.open(new SqliteStore(folder));
  expect(durable.versions("digits").map((version) => [version.version, version.desiredReplicas])).toEqual([
    ["2", 1],
    ["1", 0],
  ]);
  expect(durable.linkOf("digits")?.model).toBe("digits");
  expect(durable.deployment("d1").state).toBe("running");
  expect(await durable.events("d1")).toEqual([anEvent(1)]);
});

test("a registry that follows another one has the same records, change by change", async () => {
  await publishDigits();
  await using follower = await Registry.open(new MemoryStore());
  const changes: number[] = [];
  follower.onChange((some) => changes.push(some.length));
  follower.follow(registry.snapshot());
  registry.onChange((some) => follower.follow(structuredClone(some)));
  const same = (): void => {
    for (const of of ["applications", "models", "versions", "links"] as const)
      expect(follower[of]()).toEqual(registry[of]());
  };
  same();
  await registry.publish({ version: aVersion("digits", "2"), retire: true });
  same();
  expect(follower.model("digits").currentVersion).toBe("2");
  await registry.deleteApplication("digits");
  same();
  expect(follower.linkOf("digits")).toBeUndefined();
  expect(changes.length).toBe(3);
});
