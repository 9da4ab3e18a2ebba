import { describe, expect, it } from "vitest";
import { UnsupportedModelError } from "../../../core/errors.ts";
import { docker } from "../../../core/runtimes/docker/index.ts";
import { processRuntime } from "../../../core/runtimes/process/index.ts";
import type { ContainerSource } from "../../../containers/protocol.ts";
import type { Runtime } from "../../../core/runtimes/runtime.ts";
import { openLab, type Lab } from "../../helpers/deployment-lab.ts";

/** A lab whose runtime says that it can do no more than `real` can. */
async function labLike({ name, abilities }: Runtime): Promise<Lab> {
  const lab = await openLab();
  Object.defineProperties(lab.runtime, { name: { value: name }, abilities: { value: abilities } });
  return lab;
}

function begin(lab: Lab, bundle: string): Promise<unknown> {
  return lab.deployments.begin({ name: "echo", version: "1", bundle });
}

describe("a bundle whose container the server's runtime cannot run", () => {
  it.each<[ContainerSource, Runtime, string]>([
    [{ kind: "image", image: "triton:1" }, processRuntime(), "the docker runtime runs it"],
    [{ kind: "dockerfile" }, processRuntime(), "the docker runtime builds and runs it"],
    [{ kind: "command", command: ["./serve"] }, docker(), "the process runtime runs it"],
  ])(
    "is refused before anything is recorded, with the runtime that can: %j",
    async (container, runtime, who) => {
      const lab = await labLike(runtime);
      const refused = begin(lab, await lab.add("a", { container }));
      await expect(refused).rejects.toThrow(UnsupportedModelError);
      await expect(refused).rejects.toThrow(who);
      await expect(refused).rejects.toThrow(`the ${runtime.name} runtime runs node`);
      expect(lab.registry.deployments()).toEqual([]);
    },
  );

  it("is not one that runs elsewhere: it serves under every runtime", async () => {
    const lab = await labLike(processRuntime());
    await begin(lab, await lab.add("a", { container: { kind: "url", urls: ["http://127.0.0.1:1"] } }));
    expect(lab.registry.deployments()).toHaveLength(1);
  });
});
