// A deployment whose disk fills up at any of its events: all of it happens, or nothing.
import { describe, expect, it } from "vitest";
import { DiskFullError } from "../../../core/errors.ts";
import { MemoryStore } from "../../../core/registry/memory-store.ts";
import type { Change } from "../../../core/registry/store.ts";
import type { DeploymentEvent } from "../../../core/types.ts";
import { openLab } from "../../helpers/deployment-lab.ts";

/** Takes so many writes, and none after that. */
class FillingStore extends MemoryStore {
  writesLeft = Infinity;

  override async commit(changes: readonly Change[]): Promise<void> {
    this.#write();
    return super.commit(changes);
  }

  override async appendEvent(deployment: string, event: DeploymentEvent): Promise<void> {
    this.#write();
    return super.appendEvent(deployment, event);
  }

  #write(): void {
    if (this.writesLeft === 0) throw new DiskFullError("no space left on the disk (a test)");
    this.writesLeft--;
  }
}

/** More than a deployment makes. */
const MOST_WRITES = 24;

/** Deploys version 2 over version 1 with room for so many writes; gives what serves then. */
async function deployWith(writes: number): Promise<string> {
  const store = new FillingStore();
  const lab = await openLab({ store });
  await lab.deploy("a", { name: "echo", version: "1" });
  const bundle = await lab.add("b");
  store.writesLeft = writes;
  const { id } = await lab.deployments.begin({ name: "echo", version: "2", bundle, replicas: 2 });
  const ended = await lab.deployments.wait(id);
  const current = lab.registry.model("echo").currentVersion;
  expect(ended.state).toBe(current === "2" ? "succeeded" : "failed");
  if (current === "1") expect(ended.error?.code).toBe("DISK_FULL");
  expect(lab.serving.all().map(({ version }) => version.version)).toEqual([current]);
  expect(lab.serving.find("echo", current)?.readyCount).toBe(Number(current));
  expect(lab.registry.versions("echo").map(({ version }) => version)).toEqual(
    current === "2" ? ["2", "1"] : ["1"],
  );
  expect(await lab.bundles.hashes()).toHaveLength(Number(current));
  const isWhole = store.writesLeft > 0;

  // Space again: a restart tidies the record up, and the model can be deployed.
  store.writesLeft = Infinity;
  await lab.deployments.recover();
  expect(lab.registry.deployment(id).state).toBe(ended.state);
  const again = (await lab.bundles.find(bundle))?.hash ?? (await lab.add("b"));
  const repeated = await lab.deployments.begin({ name: "echo", version: "2", bundle: again });
  expect(await lab.deployments.wait(repeated.id)).toMatchObject({ state: "succeeded" });
  await lab.close();
  return isWhole ? "all written" : current;
}

describe("a disk that is full after so many writes of a deployment", () => {
  it("leaves the former version serving before the switch, the new one behind it, and nothing half done", async () => {
    const writes = Array.from({ length: MOST_WRITES }, (_, index) => index + 1);
    const outcomes = await Promise.all(writes.map((count) => deployWith(count)));
    expect(outcomes.indexOf("all written")).toBeGreaterThan(12);
    expect(outcomes).toEqual(outcomes.toSorted());
    expect(new Set(outcomes)).toEqual(new Set(["1", "2", "all written"]));
  });

  it("refuses a deployment at once when even its record cannot be written", async () => {
    const store = new FillingStore();
    const lab = await openLab({ store });
    const bundle = await lab.add("a");
    store.writesLeft = 0;
    const refused = lab.deployments.begin({ name: "echo", version: "1", bundle });
    await expect(refused).rejects.toThrow(DiskFullError);
    store.writesLeft = Infinity;
    expect(await lab.deploy("a", { name: "echo", version: "1" })).toMatchObject({ state: "succeeded" });
  });
});
