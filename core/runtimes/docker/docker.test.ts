// The Docker runtime passes the runtime suite, on a Unix socket and on a port.
import { describe } from "vitest";
import { runtimeSuite } from "../../../test/conformance/runtime.ts";
import { hasEngine, isRunning, kill, testDocker } from "../../../test/docker/engine.ts";

describe.skipIf(!hasEngine)("with an engine", () => {
  runtimeSuite({ name: "docker", makeRuntime: () => testDocker(), isRunning, kill });
  runtimeSuite({
    name: "docker (port)",
    makeRuntime: () => testDocker({ transport: "port" }),
    isRunning,
    kill,
  });
});
