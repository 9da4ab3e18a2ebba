// Set-up of the tests that need a Docker engine: finds one, or says why they are skipped; makes the base image.
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { TestProject } from "vitest/node";
import { Engine } from "../../core/runtimes/engine.ts";

declare module "vitest" {
  interface ProvidedContext {
    /** Why there is no engine; empty when there is one. */
    noEngine: string;
  }
}

const BASE_IMAGE = "windjammer-test-base:24";

/** With WINDJAMMER_REQUIRE_DOCKER=1 a missing engine fails the run. */
export default async function setup(project: TestProject): Promise<void> {
  try {
    const engine = await Engine.connect(undefined);
    if ((await engine.findImage(BASE_IMAGE)) === undefined) makeBaseImage();
    project.provide("noEngine", "");
  } catch (error) {
    const why = (error as Error).message;
    if (process.env["WINDJAMMER_REQUIRE_DOCKER"] === "1") throw error;
    console.warn(`Docker tests are skipped: ${why} (test/docker/start-engine.sh starts one)`);
    project.provide("noEngine", why);
  }
}

function makeBaseImage(): void {
  const script = fileURLToPath(new URL("base-image.sh", import.meta.url));
  execFileSync(script, [BASE_IMAGE], { stdio: ["ignore", "ignore", "inherit"] });
}
