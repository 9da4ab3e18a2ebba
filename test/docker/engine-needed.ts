// Set-up of the tests that need a Docker engine: finds one, or says why they are skipped; makes the base image.
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { TestProject } from "vitest/node";
import { Engine, type ImageState } from "../../core/runtimes/engine.ts";

declare module "vitest" {
  interface ProvidedContext {
    /** Why there is no engine; empty when there is one. */
    noEngine: string;
  }
}

const BASE_IMAGE = "windjammer-test-base:24";

/** With WINDJAMMER_REQUIRE_DOCKER=1 a missing engine fails the run. @returns what tidies up after the suite */
export default async function setup(project: TestProject): Promise<(() => Promise<void>) | undefined> {
  try {
    const engine = await Engine.connect(undefined);
    if ((await engine.findImage(BASE_IMAGE)) === undefined) makeBaseImage();
    project.provide("noEngine", "");
    const before = new Set((await ourImages(engine)).map(({ id }) => id));
    return async () => {
      const made = (await ourImages(engine)).filter(({ id }) => !before.has(id));
      for (const { id, tags } of made)
        for (const name of tags.length === 0 ? [id] : tags) await engine.removeImage(name);
    };
  } catch (error) {
    const why = (error as Error).message;
    if (process.env["WINDJAMMER_REQUIRE_DOCKER"] === "1") throw error;
    console.warn(`Docker tests are skipped: ${why} (test/docker/start-engine.sh starts one)`);
    project.provide("noEngine", why);
    return undefined;
  }
}

/** Images of models, and the stages that were only made to build them. */
async function ourImages(engine: Engine): Promise<readonly ImageState[]> {
  const [bundles, stages] = await Promise.all(
    ["windjammer.bundle", "windjammer.stage"].map((label) => engine.images({ [label]: undefined })),
  );
  return [...(bundles ?? []), ...(stages ?? [])];
}

function makeBaseImage(): void {
  const script = fileURLToPath(new URL("base-image.sh", import.meta.url));
  execFileSync(script, [BASE_IMAGE], { stdio: ["ignore", "ignore", "inherit"] });
}
