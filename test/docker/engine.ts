// The Docker engine of the tests: a runtime on it, and a look at it behind the runtime's back.
import { inject } from "vitest";
import { docker, type DockerOptions } from "../../core/runtimes/docker/index.ts";
import { Engine } from "../../core/runtimes/engine.ts";
import type { Runtime } from "../../core/runtimes/runtime.ts";

/** Made by base-image.sh. */
export const BASE_IMAGE = "windjammer-test-base:24";

/** Whether there is an engine to test with. */
export const hasEngine: boolean = inject("noEngine") === "";

/** The Docker runtime on the base image of the tests. */
export function testDocker(options: DockerOptions = {}): Runtime {
  return docker({ baseImage: BASE_IMAGE, ...options });
}

export async function isRunning(container: string): Promise<boolean> {
  return (await (await Engine.connect(undefined)).inspect(container))?.isRunning === true;
}

export async function kill(container: string): Promise<void> {
  await (await Engine.connect(undefined)).kill(container, "SIGKILL");
}
