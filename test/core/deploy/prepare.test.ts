// The limit of time of a preparation: what it says of where it had come to, and what helps.
import { expect, it } from "vitest";
import { manifest } from "../../../core/deploy/deployer.ts";
import { prepareWithin } from "../../../core/deploy/prepare.ts";
import { ImageBuildError } from "../../../core/errors.ts";
import { docker } from "../../../core/runtimes/docker/index.ts";
import type { Runtime } from "../../../core/runtimes/runtime.ts";

it("says of an image how far its build had come, and what helps there", async () => {
  const runtime: Pick<Runtime, "abilities" | "prepare"> = {
    abilities: docker().abilities,
    prepare: (_bundle, { report }) => {
      report("step 3/9: RUN npm ci");
      return new Promise(() => undefined);
    },
  };
  const described = manifest({ deployer: "test", loader: "function", inputType: "doubles", model: {} });
  const what = { version: { model: "digits", version: "1" }, bundle: { manifest: described } } as Parameters<
    typeof prepareWithin
  >[1];
  const signal = new AbortController().signal;
  const failure = prepareWithin(runtime, what, { report: () => {}, signal, timeoutMs: 20 });
  await expect(failure).rejects.toThrow(ImageBuildError);
  await expect(failure).rejects.toThrow(/had come to: step 3\/9: RUN npm ci.*build its image beforehand/);
});
